/**
 * Runs `docs/from-torchserve.md`: its blocks in order, in one folder, against the real program.
 *
 * What is not on this machine is played: `torch-model-archiver` by `hubserve archive --runtime python`, and
 * `optimum-cli` by handing out a finished export of the test models.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { z } from "zod";
import { modelPath } from "../support/goldens.ts";
import { ROOT } from "../support/hubserve.ts";

const run = promisify(execFile);
const PAGE = readFileSync(join(ROOT, "docs/from-torchserve.md"), "utf8");

const BLOCKS = [...PAGE.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(
  ([, language, text = ""]) => ({
    language,
    text: text.trim(),
  }),
);

const root = mkdtempSync(join(tmpdir(), "hubserve-from-torchserve-"));
const work = join(root, "work");
let env: NodeJS.ProcessEnv;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((settle) => server.listen(0, "127.0.0.1", settle));
  const { port } = server.address() as AddressInfo; // it listens on a port
  await new Promise<void>((settle) => server.close(() => settle()));
  return port;
}

/** A program on the path, written in the shell. */
function program(name: string, script: string): void {
  mkdirSync(join(root, "bin"), { recursive: true });
  writeFileSync(join(root, "bin", name), `#!/bin/bash\nset -e\n${script}\n`, { mode: 0o755 });
}

/** What `optimum-cli export onnx` writes for a model: one flat folder. */
function finishedExport(model: string, folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const file of ["config.json", "tokenizer.json", "tokenizer_config.json"])
    cpSync(join(modelPath(model), file), join(folder, file));
  cpSync(join(modelPath(model), "onnx/model.onnx"), join(folder, "model.onnx"));
}

function place(path: string, content: string): void {
  mkdirSync(join(work, path, ".."), { recursive: true });
  writeFileSync(join(work, path), content);
}

before(async () => {
  const hubserve = `"${process.execPath}" --import "${import.meta.resolve("tsx")}" "${join(ROOT, "runtime/cli.ts")}"`;
  program("npx", `[ "$1" = hubserve ]; shift\nexec ${hubserve} "$@"`);
  program("torch-model-archiver", `exec ${hubserve} archive --runtime python "$@" > /dev/null`);
  const take = (model: string): string => `cp -r "${join(root, "exports", model)}"`;
  program(
    "optimum-cli",
    `case "$*" in
"export onnx --model Transformer_model --task text-classification "*) ${take("seqcls-bert-2way")} "$7" ;;
"export onnx --model model_related_data --task token-classification "*) ${take("ner-bert")} "$7" ;;
*) exit 2 ;;
esac`,
  );
  for (const model of ["seqcls-bert-2way", "ner-bert"])
    finishedExport(model, join(root, "exports", model));

  place("Transformer_model/pytorch_model.bin", "weights");
  place("Transformer_model/config.json", "{}");
  place("Transformer_handler_generalized.py", "import torch");
  place(
    "Seq_classification_artifacts/index_to_name.json",
    '{"0": "Not Accepted", "1": "Accepted"}',
  );
  place(
    "model-config.yaml",
    "minWorkers: 1\nmaxWorkers: 1\nhandler:\n  mode: sequence_classification\n  do_lower_case: true\n" +
      '  num_labels: "2"\n  save_mode: pretrained\n  max_length: 150\n  captum_explanation: true\n  embedding_name: bert\n',
  );
  place("config.properties", "job_queue_size=50\ndefault_workers_per_model=1\nvmargs=-Xmx1g\n");
  const { id2label } = z
    .object({ id2label: z.record(z.string(), z.string()) })
    .parse(JSON.parse(readFileSync(join(modelPath("ner-bert"), "config.json"), "utf8")));
  place("model_related_data/labels_file.txt", `${Object.values(id2label).join("\n")}\n`);
  for (const file of ["pytorch_model.bin", "bert_config.json", "vocab.txt"])
    place(`model_related_data/${file}`, "x");
  place("model_related_data/bert_for_token_classification_config.json", "{}");
  for (const file of ["model.py", "ner_torchserve_handler.py"]) place(file, "import torch");

  const [inference, management, metrics] = [await freePort(), await freePort(), await freePort()];
  env = {
    ...Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(?:HF_|HUBSERVE_|TS_|NODE_)/.test(name)),
    ),
    PATH: `${join(root, "bin")}:${process.env["PATH"]}`,
    XDG_CACHE_HOME: join(root, "cache"),
    HUBSERVE_PORT: String(inference),
    HUBSERVE_MANAGEMENT_PORT: String(management),
    HUBSERVE_METRICS_PORT: String(metrics),
  };
});

after(async () => {
  await shell("npx hubserve stop").catch(() => undefined); // where a block failed before its own stop
  rmSync(root, { recursive: true, force: true });
});

function shell(command: string) {
  const placed = command
    .replaceAll("http://localhost:8080", `http://localhost:${env["HUBSERVE_PORT"]}`)
    .replaceAll("http://localhost:8081", `http://localhost:${env["HUBSERVE_MANAGEMENT_PORT"]}`)
    .replaceAll("http://localhost:8082", `http://localhost:${env["HUBSERVE_METRICS_PORT"]}`)
    .replaceAll(/^curl/gm, "curl -sS");
  return run("bash", ["-euc", placed], { cwd: work, env });
}

/** What is shown, with numbers to the digits that are shown. */
function assertShown(actual: unknown, shown: unknown): void {
  if (typeof shown === "number" && typeof actual === "number") {
    assert.ok(Math.abs(actual - shown) < 1e-4, `${actual}, the page says ${shown}`);
  } else if (typeof shown === "object" && shown !== null) {
    assert.ok(typeof actual === "object" && actual !== null, JSON.stringify(actual));
    assert.deepEqual(Object.keys(actual), Object.keys(shown));
    for (const [key, value] of Object.entries(shown))
      assertShown((actual as Record<string, unknown>)[key], value);
  } else assert.equal(actual, shown);
}

test("the page has its three walks, from an old archive or handler to an answer", () => {
  const commands = BLOCKS.filter(({ language }) => language === "sh").map(({ text }) => text);
  assert.ok(commands.length >= 15, `found ${commands.length}`);
  for (const model of ["BERTSeqClassification", "ner_model", "shout"])
    assert.ok(commands.some((text) => text.includes(`/predictions/${model}`)));
});

for (const [index, { language, text }] of BLOCKS.entries()) {
  // A file's first line is its name.
  if (language === "ts") before(() => place(/^\/\/ (\S+)$/m.exec(text)?.[1] ?? "", text));
  if (language !== "sh") continue;
  const shown = BLOCKS[index + 1];
  test(`block ${index} of the page does what the page says: ${text.split("\n")[0]?.slice(0, 90)}`, async () => {
    if (shown?.language === "text" && shown.text.startsWith("Cannot ")) {
      await assert.rejects(shell(text), (error: { code?: number; stderr?: string }) => {
        assert.equal(error.code, 1);
        assert.ok(error.stderr?.includes(shown.text), error.stderr);
        return true;
      });
      return;
    }
    const { stdout } = await shell(text);
    if (shown?.language === "text") assert.equal(stdout.trim().split("\n").at(-1), shown.text);
    if (shown?.language === "json") assertShown(JSON.parse(stdout), JSON.parse(shown.text));
  });
}
