import assert from "node:assert/strict";
import { test } from "node:test";
import { planStart } from "../runtime/start.ts";

const READ: readonly (readonly [line: string, args: string, isForeground?: boolean])[] = [
  [
    "--start --ncs --model-store model_store/ --models ner_model.mar",
    "--no-config-snapshots --model-store model_store/ --models=ner_model.mar",
  ],
  ["--models a.mar b=c.mar --ts-config f", "--models=a.mar,b=c.mar --ts-config f"],
  ["--models=all --model-store=/mnt/store", "--models=all --model-store=/mnt/store"],
  ["--models all --foreground", "--models=all", true],
  ["--dt --model-api-enabled", "--disable-token-auth --enable-model-api"],
  ["--disable-token-auth --enable-model-api", "--disable-token-auth --enable-model-api"],
  ["--no-config-snapshots ./folder --port 9", "--no-config-snapshots ./folder --port 9"],
  ["", ""],
];
for (const [line, args, isForeground = false] of READ) {
  test(`planStart() reads torchserve's "${line}"`, () => {
    const plan = planStart(line.split(" ").filter((word) => word !== ""));
    assert.equal(plan.args.join(" "), args);
    assert.equal(plan.isForeground, isForeground);
    assert.deepEqual(plan.ignored, []);
  });
}

test("planStart() leaves out what means nothing here, with its value", () => {
  const line =
    "--log-config log4j.xml --workflow-store=wf --models a.mar --ppath p --cpp-log-config c";
  assert.deepEqual(planStart(line.split(" ")), {
    args: ["--models=a.mar"],
    isForeground: false,
    ignored: ["--log-config", "--workflow-store", "--ppath", "--cpp-log-config"],
  });
});
