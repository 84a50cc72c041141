/**
 * A repository on the Hub, from its name to its answer: the real program against a Hub on this machine.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  filesFromFolder,
  startHubServer,
  type HubFiles,
  type HubServer,
} from "../support/hub-server.ts";
import { ROOT, runHubserve, startHubserve } from "../support/hubserve.ts";

const MODELS = join(ROOT, "test/fixtures/models");
const TEXT = "Bloomberg has decided to publish a new report on the global economy.";

let hub: HubServer;
let home: string;

before(async () => {
  const model = await filesFromFolder(join(MODELS, "seqcls-bert-2way"));
  const handler =
    "export class EndpointHandler {\n  constructor(path: string) {}\n  call(data: unknown) {\n    return { echo: data };\n  }\n}\n";
  const withWaste: HubFiles = {
    ...model,
    "model.safetensors": { lfs: "x".repeat(10_000) },
    "pytorch_model.bin": { lfs: "y" },
  };
  hub = await startHubServer({
    repositories: {
      "owner/classifier": { files: withWaste, revisions: { "v1.0": withWaste } },
      "owner/handler": {
        files: { "handler.ts": handler, "README.md": "---\ntags: [endpoints-template]\n---\n" },
      },
      "owner/secret": { files: model, private: true },
      "owner/weightless": {
        files: {
          "config.json": '{"architectures":["BertForSequenceClassification"]}',
          "model.safetensors": { lfs: "x" },
        },
      },
    },
    tokens: { hf_goodTokenForTests: ["owner/secret"] },
  });
});

after(async () => {
  await hub.close();
  rmSync(home, { recursive: true, force: true });
});

home = mkdtempSync(join(tmpdir(), "hubserve-home-"));

function environment(more: Record<string, string> = {}): Record<string, string> {
  return { HF_ENDPOINT: hub.url, HF_HOME: home, HUBSERVE_CACHE: join(home, "hubserve"), ...more };
}

test("a Hub repository is downloaded, served by its task, and kept in the standard cache", async () => {
  await using server = await startHubserve({ args: ["owner/classifier@v1.0"], env: environment() });
  await server.line(/Ready after/);
  const [{ label, score }] = (await (await server.post(TEXT)).json()) as [
    { label: string; score: number },
  ];
  assert.equal(label, "Accepted");
  assert.ok(score > 0.5);
  const info = (await (await fetch(`${server.url}/info`)).json()) as Record<string, unknown>;
  assert.equal(info["model_id"], "owner/classifier");
  assert.match(String(info["model_sha"]), /^[0-9a-f]{40}$/);
  assert.equal(info["model_dtype"], "q8");
  const snapshots = join(home, "hub", "models--owner--classifier", "snapshots");
  const files = readdirSync(join(snapshots, readdirSync(snapshots)[0]!), { recursive: true }).map(
    String,
  );
  assert.ok(files.includes("onnx/model_quantized.onnx"));
  assert.ok(
    !files.some((file) => /safetensors|\.bin$|onnx\/model\.onnx$/.test(file)),
    files.join(" "),
  );
});

test("a second start fetches no file again, and an offline one asks nobody", async () => {
  const before = hub.requests.length;
  await using again = await startHubserve({
    env: environment({ HF_MODEL_ID: "owner/classifier", HF_REVISION: "v1.0" }),
  });
  await again.line(/Ready after/);
  assert.ok(!hub.requests.slice(before).some(({ url }) => url.includes("/resolve/")));
  const offline = hub.requests.length;
  await using alone = await startHubserve({
    args: ["hf://owner/classifier@v1.0"],
    env: environment({ HF_HUB_OFFLINE: "1" }),
  });
  await alone.line(/Ready after/);
  assert.equal(hub.requests.length, offline);
});

test("when the Hub cannot be reached the cached revision serves, with a warning", async () => {
  await using server = await startHubserve({
    args: ["owner/classifier@v1.0"],
    env: environment({ HF_ENDPOINT: "http://127.0.0.1:9" }),
  });
  await server.line(/Ready after/);
  assert.ok(
    server.lines.some((line) => /WARN .*owner\/classifier/.test(line)),
    server.lines.join("\n"),
  );
});

test("a Hub repository's own handler.ts answers", async () => {
  await using server = await startHubserve({ args: ["owner/handler"], env: environment() });
  await server.line(/Ready after/);
  assert.deepEqual(await (await server.post("a")).json(), { echo: { inputs: "a" } });
});

test("a private repository needs a token, which is never printed", async () => {
  const refused = await runHubserve({ args: ["owner/secret", "--port", "0"], env: environment() });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /HF_TOKEN/);
  const token = "hf_goodTokenForTests";
  await using server = await startHubserve({
    args: ["owner/secret", "--log-level", "debug"],
    env: environment({ HF_TOKEN: token }),
  });
  await server.line(/Ready after/);
  assert.ok(!server.lines.some((line) => line.includes(token)));
});

test("a repository that is not there, and one without ONNX weights, each get their sentence", async () => {
  const unknown = await runHubserve({ args: ["owner/nowhere", "--port", "0"], env: environment() });
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /owner\/nowhere/);
  const weightless = await runHubserve({
    args: ["owner/weightless", "--port", "0"],
    env: environment(),
  });
  assert.equal(weightless.code, 1);
  assert.match(weightless.stderr, /ONNX/);
});
