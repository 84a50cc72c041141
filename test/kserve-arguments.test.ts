import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readConfig, type Config } from "../runtime/config.ts";
import { isFromKServe, readKServeArguments } from "../runtime/kserve-arguments.ts";
import { silentLog } from "../runtime/observe/log.ts";
import { chooseModels } from "../runtime/startup-models.ts";
import { readTorchServeVolume } from "../runtime/torchserve-volume.ts";

const root = mkdtempSync(join(tmpdir(), "hubserve-kserve-"));
after(() => rmSync(root, { recursive: true, force: true }));

function read(line: string, env: Record<string, string> = {}): Config {
  return readConfig({ args: line === "" ? [] : line.split(" "), env, cwd: root, home: root });
}

const KNOWN = [
  { flag: "port", takesValue: true },
  { flag: "model-name", takesValue: true },
  { flag: "model-dir", takesValue: true },
  { flag: "dtype", takesValue: true },
  { flag: "task", takesValue: true },
  { flag: "offline", takesValue: false },
];

const READ: readonly (readonly [given: string, args: string, ignored?: readonly string[]])[] = [
  ["--model_name=bert --http_port=8080", "--model-name=bert --port=8080"],
  ["--model_name bert --http_port 8080", "--model-name=bert --port=8080"],
  ["--model-name bert --http-port=8080", "--model-name=bert --port=8080"],
  ["serve --model_dir /mnt/models", "serve --model-dir=/mnt/models"],
  ["--offline --model_name a", "--offline --model-name=a"],
  ["--offline true --model_name a", "--offline=true --model-name=a"],
  ["--model_name a --trust_remote_code --port 1", "--model-name=a --port=1", ["trust_remote_code"]],
  ["--max_model_len 512 --model_name a", "--model-name=a", ["max_model_len"]],
  ["--max_model_len=512 --model_name=a=b", "--model-name=a=b", ["max_model_len"]],
  ["--dtype=float32 --task sequence_classification", "--dtype=fp32 --task=text-classification"],
  ["--dtype auto --task=text-classification", "--task=text-classification"],
  ["--model_name a -- --rest_of it", "--model-name=a -- --rest_of it"],
];
for (const [given, args, ignored = []] of READ) {
  test(`readKServeArguments() reads "${given}"`, () => {
    const found = readKServeArguments(given.split(" "), KNOWN);
    assert.equal(found.args.join(" "), args);
    const names = found.warnings.map((text) => /^Ignoring --([^:]+):/.exec(text)?.[1]);
    assert.deepEqual(names, ignored);
  });
}

test("the last of several values wins, as KServe appends the service's arguments to the runtime's", () => {
  const config = read(
    "--model_name=runtime --http_port=8080 --model_name service --http-port 9000",
  );
  assert.equal(config.modelName, "service");
  assert.equal(config.port, 9000);
  assert.equal(config.origins.port, "--port");
});

test("a flag that is not known is a warning under KServe and an error on a person's command line", () => {
  const { notices } = read("--model_name=a --log_config_file=/x --drain_dely=5s");
  assert.deepEqual(
    notices.map(({ text }) => text),
    [
      "Ignoring --log_config_file: it is no option of hubserve",
      'Ignoring --drain_dely: it is no option of hubserve; did you mean "--drain-delay"',
    ],
  );
  assert.throws(() => read("--model-name=a --drain-dely=5s"), /"--drain-dely" is not one/);
  assert.throws(() => read("--prot 80"), /"--prot" is not one; did you mean "--port"/);
  assert.equal(read("--prot 80", { K_SERVICE: "bert" }).notices[0]?.level, "warn");
});

test("a value that cannot be read stays an error under KServe", () => {
  assert.throws(() => read("--model_name=a --http_port=http"), /Cannot read --port: found "http"/);
  assert.throws(() => read("--model_name=a/b"), /Cannot read --model-name/);
});

test("warnings do not repeat the values of flags that are not known", () => {
  const { warnings } = readKServeArguments(["--api_key=s3cret", "--pass", "s3cret"], KNOWN);
  assert.equal(warnings.length, 2);
  assert.doesNotMatch(warnings.join(), /s3cret/);
});

test("isFromKServe() takes KServe's spellings and Knative's variable, and no others", () => {
  assert.ok(isFromKServe(["--model_name=a"], {}));
  assert.ok(isFromKServe(["serve", "--http_port", "80"], {}));
  assert.ok(isFromKServe([], { K_SERVICE: "bert" }));
  assert.ok(!isFromKServe(["--model-name=a", "--port", "80"], {}));
  assert.ok(!isFromKServe(["--drain_dely"], { K_SERVICE: "" }));
});

test("PORT is honoured, and an argument goes over it", () => {
  assert.equal(read("", { PORT: "9001" }).port, 9001);
  assert.equal(read("--http_port 8080", { PORT: "9001" }).port, 8080);
  assert.equal(read("").host, "0.0.0.0");
});

test("STORAGE_URI says that the model is mounted, unless a folder is named", () => {
  const env = { STORAGE_URI: "hf://owner/name" };
  assert.equal(read("", env).modelDir, "/mnt/models");
  assert.equal(read("", env).origins.modelDir, "STORAGE_URI");
  assert.equal(read("--model_dir=/elsewhere", env).modelDir, "/elsewhere");
  assert.equal(read("").modelDir, undefined);
});

test("MODEL_INIT_MODE=async waits for the files", () => {
  assert.equal(read("", { MODEL_INIT_MODE: "async" }).waitForFiles, true);
  assert.equal(read("", { MODEL_INIT_MODE: "sync" }).waitForFiles, false);
  assert.equal(read("--wait-for-files").waitForFiles, true);
  assert.throws(() => read("", { MODEL_INIT_MODE: "late" }), /true, false, async or sync/);
});

/** What KServe's TorchServe samples have, under another port than ours. */
const PROPERTIES = `inference_address=http://0.0.0.0:8085
management_address=http://0.0.0.0:8085
metrics_address=http://0.0.0.0:8082
grpc_inference_port=7070
enable_metrics_api=true
metrics_format=prometheus
number_of_netty_threads=4
job_queue_size=10
enable_envvars_config=true
install_py_dep_per_model=true
model_store=/mnt/models/model-store
model_snapshot={"name":"startup.cfg","modelCount":1,"models":{"bert":{"1.0":{"defaultVersion":true,"marName":"BERTSeqClassification.mar","minWorkers":1,"maxWorkers":5,"batchSize":1,"maxBatchDelay":10,"responseTimeout":120}}}}
`;

function makeVolume(name: string, archives: readonly string[], properties?: string): string {
  const folder = join(root, name);
  mkdirSync(join(folder, "model-store"), { recursive: true });
  for (const archive of archives) writeFileSync(join(folder, "model-store", archive), "");
  if (properties !== undefined) {
    mkdirSync(join(folder, "config"));
    writeFileSync(join(folder, "config/config.properties"), properties);
  }
  return folder;
}

test("a TorchServe volume at --model_dir is served as its snapshot says, on our own port", () => {
  const folder = makeVolume("volume", ["BERTSeqClassification.mar"], PROPERTIES);
  const config = read(`--model_name=x --model_dir=${folder} --http_port=8080`);
  assert.equal(config.modelStore, join(folder, "model-store"));
  assert.equal(config.modelDir, undefined);
  assert.equal(config.port, 8080);
  assert.equal(config.host, "0.0.0.0");
  assert.equal(config.jobQueueSize, 10);
  assert.equal(config.managementPort, "off");
  assert.equal(config.metricsPort, "off");
  assert.equal(config.noConfigSnapshots, true);
  assert.match(
    config.notices[0]?.text ?? "",
    /^Found TorchServe's volume: .*without its addresses$/,
  );
  const chosen = chooseModels(config, silentLog());
  assert.deepEqual(
    chosen?.map(({ name, version, source }) => [name, version, source]),
    [["bert", "1.0", "BERTSeqClassification.mar"]],
  );
  assert.equal(chosen?.[0]?.served?.maxWorkers, 5);
});

test("a TorchServe volume without a configuration is served whole, HF_MODEL_DIR names one too", () => {
  const folder = makeVolume("bare", ["a.mar", "b.mar"]);
  const config = read("", { HF_MODEL_DIR: folder });
  assert.deepEqual(config.models, ["all"]);
  assert.deepEqual(
    chooseModels(config, silentLog())?.map(({ source }) => source),
    ["a.mar", "b.mar"],
  );
  assert.deepEqual(read(`--model_dir=${folder} --models a.mar`).models, ["a.mar"]);
  assert.equal(read(`--model_dir=${folder} --management-port 8081`).managementPort, 8081);
});

test("a reference or a store that is named wins over a TorchServe volume", () => {
  const folder = makeVolume("ignored", ["a.mar"]);
  assert.equal(read(`./other --model-dir ${folder}`).modelStore, undefined);
  assert.equal(read(`--model-dir ${folder} --model-store mine`).modelStore, "mine");
});

test("readTorchServeVolume() takes no other folder for one", () => {
  assert.equal(readTorchServeVolume(makeVolume("empty", []), {}), undefined);
  assert.equal(readTorchServeVolume(makeVolume("texts", ["readme.txt"]), {}), undefined);
  assert.equal(readTorchServeVolume(join(root, "absent"), {}), undefined);
  assert.ok(readTorchServeVolume(makeVolume("told", [], PROPERTIES), {}));
});
