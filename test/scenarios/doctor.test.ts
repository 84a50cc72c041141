/**
 * `hubserve doctor`: what it finds, how it says so, and its exit code.
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { examineNode, examineProcessor } from "../../runtime/commands/doctor-machine.ts";
import type { Finding } from "../../runtime/commands/finding.ts";
import { makeRepository } from "../support/handler-repository.ts";
import { filesFromFolder, startHubServer, type HubServer } from "../support/hub-server.ts";
import { ROOT, runHubserve } from "../support/hubserve.ts";

const TOKEN = "hf_writer000";
const MODELS = join(ROOT, "test/fixtures/models");

let hub: HubServer;

before(async () => {
  const model = await filesFromFolder(join(MODELS, "seqcls-bert-2way"));
  hub = await startHubServer({
    repositories: { "owner/name": { files: model, task: "text-classification" } },
    tokens: { [TOKEN]: ["owner/name"] },
    writers: { [TOKEN]: "owner" },
  });
});
after(async () => hub.close());

async function doctor(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number | string; findings: readonly Finding[]; stderr: string }> {
  await using home = await makeRepository({});
  const { code, stdout, stderr } = await runHubserve({
    args: ["doctor", ...args, "--json", "--port", "0"],
    env: { HF_ENDPOINT: hub.url, HF_HOME: home.path, XDG_CACHE_HOME: home.path, ...env },
  });
  assert.ok(stdout.startsWith("{"), stderr);
  const { ok, findings } = JSON.parse(stdout) as { ok: boolean; findings: Finding[] };
  assert.equal(code, ok ? 0 : 1);
  assert.ok(findings.every(({ level, mend }) => level === "ok" || mend !== undefined));
  return { code, findings, stderr };
}

function texts(findings: readonly Finding[], level: Finding["level"]): string {
  return findings
    .filter((finding) => finding.level === level)
    .map(({ text }) => text)
    .join("\n");
}

test("a sound machine with a model of the Hub: nothing fails, nothing is downloaded but small files", async () => {
  const before = hub.requests.length;
  const { findings } = await doctor(["owner/name"], { HF_TOKEN: TOKEN });
  assert.equal(texts(findings, "fail"), "");
  const ok = texts(findings, "ok");
  for (const part of [
    /^Node \d+\./m,
    /^onnxruntime \S+ can be loaded$/m,
    /^The Hub answers at http:\/\/127\.0\.0\.1/m,
    /^The token from HF_TOKEN is owner's, role write$/m,
    /^The default handler serves text-classification, as the model card says$/m,
    /^Weights: q8, [\d.]+ kB; fp32 are there too$/m,
    /^Memory: \d+ workers? want about/m,
  ]) {
    assert.match(ok, part);
  }
  assert.ok(hub.requests.slice(before).every(({ url }) => !url.includes(".onnx")));
  assert.ok(!JSON.stringify(findings).includes(TOKEN));
});

test("what would fail is found: a refused token, a taken port, a model that is not there", async () => {
  const refused = await doctor([], { HF_TOKEN: "hf_unknown00" });
  assert.equal(refused.code, 1);
  assert.match(
    texts(refused.findings, "fail"),
    /^The Hub refuses the token from HF_TOKEN \(401\)$/,
  );

  const missing = await doctor(["owner/missing"]);
  assert.match(texts(missing.findings, "fail"), /"owner\/missing".*no such model/);

  const squatter = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => squatter.once("listening", resolve));
  const { port } = squatter.address() as AddressInfo;
  const taken = await runHubserve({
    args: ["doctor", "--host", "127.0.0.1", "--port", String(port), "--offline"],
    env: { NO_COLOR: "1" },
  });
  squatter.close();
  assert.equal(taken.code, 1);
  assert.match(taken.stdout, /^ {2}fail {2}Cannot listen on .*\n {8}Stop what listens there/m);
  assert.match(taken.stdout, /1 would fail/);
});

test("without a Hub there is a warning and no failure: folders are served without it", async () => {
  const { code, findings } = await doctor([join(MODELS, "minilm-embed")], {
    HF_ENDPOINT: "http://127.0.0.1:49151",
  });
  assert.equal(code, 0);
  assert.match(texts(findings, "warn"), /cannot be reached: .*ECONNREFUSED/);
  assert.match(texts(findings, "ok"), /The default handler serves feature-extraction/);
});

test("a handler is compiled and its packages looked for, and no line of it runs", async () => {
  await using repository = await makeRepository({
    "handler.ts": 'throw new Error("ran");\nexport class EndpointHandler { call() {} }\n',
    "requirements.json": '{ "dependencies": { "left-pad": "^1" } }',
  });
  const sound = await doctor([repository.path]);
  assert.match(texts(sound.findings, "ok"), /^handler\.ts compiles, 1 file$/m);
  assert.match(texts(sound.findings, "warn"), /asks for left-pad, not installed yet/);

  await repository.write("requirements.json", "{}");
  await repository.write("handler.ts", "export class {\n");
  const broken = await doctor([repository.path]);
  assert.match(texts(broken.findings, "fail"), /Cannot compile the handler: handler\.ts:1/);
});

test("a repository that nothing could serve is told what it lacks", async () => {
  await using empty = await makeRepository({ "handler.py": "" });
  const nothing = await doctor([empty.path]);
  assert.match(texts(nothing.findings, "fail"), /neither a handler\.ts nor a config\.json/);
  assert.match(texts(nothing.findings, "warn"), /handler\.py is Python and is not run/);

  await using bare = await makeRepository({
    "config.json": '{"architectures": ["BertForSequenceClassification"]}',
    "model.safetensors": "",
  });
  const fails = texts((await doctor([bare.path])).findings, "fail");
  assert.match(fails, /tokenizer\.json is missing/);
  assert.match(fails, /no weights to serve: found no ONNX file/);
});

test("examineProcessor() reads what makes int8 fast, on both kinds of processors", () => {
  const levelOf = (flags: string, arch = "x64"): string =>
    examineProcessor(`flags\t\t: fpu ${flags}\n`, arch).level;
  assert.equal(levelOf("avx2 avx512f avx512_vnni"), "ok");
  assert.equal(levelOf("avx2 avx_vnni"), "ok");
  assert.equal(levelOf("avx2"), "warn");
  assert.equal(levelOf("sse4_2"), "warn");
  assert.equal(examineProcessor("Features\t: fp asimd asimddp i8mm\n", "arm64").level, "ok");
  assert.equal(examineProcessor("Features\t: fp asimd\n", "arm64").level, "warn");
  assert.equal(examineProcessor(undefined, "arm64").level, "ok");
  assert.equal(examineNode("20.18.3").level, "fail");
  assert.equal(examineNode("20.19.0").level, "ok");
  assert.equal(examineNode("26.0.0").level, "ok");
});
