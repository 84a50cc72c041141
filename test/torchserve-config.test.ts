import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readConfig, withFileSettings, type Config } from "../runtime/config.ts";
import { findLastSnapshot } from "../runtime/torchserve-config.ts";

const root = mkdtempSync(join(tmpdir(), "hubserve-config-"));
after(() => rmSync(root, { recursive: true, force: true }));

let count = 0;

/** Reads a configuration in a folder that holds this `config.properties`. */
function read(properties: string, args: readonly string[] = [], env: Record<string, string> = {}) {
  const cwd = join(root, String(++count));
  mkdirSync(cwd);
  writeFileSync(join(cwd, "config.properties"), properties);
  return readConfig({ args, env, cwd, home: root });
}

const warningsOf = (config: Config): readonly string[] => config.configFile?.warnings ?? [];

const KSERVE = `inference_address=http://0.0.0.0:8085
management_address=http://0.0.0.0:8086
metrics_address=http://0.0.0.0:8087
job_queue_size=7
max_request_size=1000
default_workers_per_model=3
default_response_timeout=60
default_startup_timeout=30
enable_model_api=TRUE
disable_token_authorization=true
token_expiration_min=5
allowed_urls=https://models.example.com/.*
load_models=a.mar,b=c.mar
model_store=/mnt/models/model-store
`;

test("config.properties gives each option that it has a key for, and says so as the origin", () => {
  const config = read(KSERVE);
  const expected = {
    host: "0.0.0.0",
    port: 8085,
    managementHost: "0.0.0.0",
    managementPort: 8086,
    metricsHost: "0.0.0.0",
    metricsPort: 8087,
    jobQueueSize: 7,
    maxBodyBytes: 1000,
    workers: 3,
    requestTimeoutMs: 60_000,
    startupTimeoutMs: 30_000,
    enableModelApi: true,
    disableTokenAuth: true,
    tokenExpirationMs: 300_000,
    allowedUrls: ["https://models.example.com/.*"],
    models: ["a.mar", "b=c.mar"],
    modelStore: "/mnt/models/model-store",
  };
  for (const [name, value] of Object.entries(expected)) {
    assert.deepEqual(config[name as keyof typeof expected], value, name);
  }
  assert.equal(config.origins.port, "inference_address in config.properties");
  assert.equal(config.origins.jobQueueSize, "job_queue_size in config.properties");
  assert.deepEqual(warningsOf(config), []);
});

test("a flag goes over a variable, a variable over the file, the file over the default", () => {
  const file = "job_queue_size=7";
  assert.equal(read("").jobQueueSize, 100);
  assert.equal(read(file).jobQueueSize, 7);
  const env = { HUBSERVE_JOB_QUEUE_SIZE: "8" };
  assert.equal(read(file, [], env).jobQueueSize, 8);
  const config = read(file, ["--job-queue-size", "9"], env);
  assert.equal(config.jobQueueSize, 9);
  assert.equal(config.origins.jobQueueSize, "--job-queue-size");
});

test("what a model's own file says goes over the server's file, and under variables", () => {
  const own = { file: "model-config.yaml", settings: { jobQueueSize: 5, minWorkers: 1 } };
  const file = "job_queue_size=7\ndefault_workers_per_model=4\nenable_envvars_config=true";
  const config = withFileSettings(read(file), own);
  assert.equal(config.jobQueueSize, 5);
  assert.equal(config.minWorkers, 1);
  assert.equal(config.origins.jobQueueSize, "model-config.yaml");
  const env = { TS_JOB_QUEUE_SIZE: "8" };
  assert.equal(withFileSettings(read(file, [], env), own).jobQueueSize, 8);
});

test("--ts-config and TS_CONFIG_FILE name another file; one that is not there stops the start", () => {
  const path = join(root, "other.properties");
  writeFileSync(path, "job_queue_size=3");
  const usual = "job_queue_size=4";
  assert.equal(read(usual, ["--ts-config", path]).jobQueueSize, 3);
  assert.equal(read(usual, [], { TS_CONFIG_FILE: path }).jobQueueSize, 3);
  assert.equal(read(usual).jobQueueSize, 4);
  assert.throws(() => read(usual, ["--ts-config", "/nowhere/x"]), {
    code: "INVALID_OPTION",
    message: "Cannot read /nowhere/x: ENOENT",
  });
});

test("variables TS_<KEY> count once enable_envvars_config says so", () => {
  const env = { TS_INFERENCE_ADDRESS: "http://127.0.0.1:9", TS_ALLOWED_URLS: "https://a/.*" };
  const file = "inference_address=http://127.0.0.1:1";
  assert.equal(read(file, [], env).port, 1);
  const config = read(`${file}\nenable_envvars_config=true`, [], env);
  assert.equal(config.port, 9);
  assert.equal(config.origins.port, "TS_INFERENCE_ADDRESS");
  assert.deepEqual(
    config.allowedUrls,
    [],
    "a list of allowed URLs is not to be widened by accident",
  );
  const both = "enable_envvars_config=true\nuse_env_allowed_urls=true";
  assert.deepEqual(read(both, [], env).allowedUrls, ["https://a/.*"]);
});

test("$$NAME$$ is the variable's value, also within others; one that is not set stops the start", () => {
  const file = "inference_address=http://$$HOST$$:$$PORT_NUMBER$$";
  const config = read(file, [], { HOST: "127.0.0.1", PORT_NUMBER: "99" });
  assert.equal(config.host, "127.0.0.1");
  assert.equal(config.port, 99);
  assert.throws(() => read(file, [], { HOST: "a" }), {
    message:
      "Cannot read inference_address in config.properties: Invalid Environment Variable PORT_NUMBER",
  });
});

test("keys without meaning here are named in one warning, misspelt ones with what was meant", () => {
  const file =
    "vmargs=-Xmx4g\nnumber_of_netty_threads=4\njob_queue_sise=3\ninstall_py_dep_per_model=true";
  assert.deepEqual(warningsOf(read(file)), [
    "Ignoring vmargs, number_of_netty_threads, job_queue_sise (did you mean job_queue_size), " +
      "install_py_dep_per_model in config.properties: they change nothing in hubserve",
  ]);
});

const REFUSED: readonly (readonly [properties: string, message: string])[] = [
  [
    "job_queue_size=many",
    'Cannot read job_queue_size in config.properties: found "many", wanted a whole number from 0 to 1000000',
  ],
  [
    "inference_address=https://0.0.0.0:8443",
    'Cannot read inference_address in config.properties: found "https://0.0.0.0:8443", ' +
      "wanted an address such as http://127.0.0.1:8080, as TLS is left to a proxy",
  ],
  [
    "management_address=unix:/tmp/x",
    'Cannot read management_address in config.properties: found "unix:/tmp/x", wanted an address such as http://127.0.0.1:8081',
  ],
  [
    "default_response_timeout=soon",
    'Cannot read default_response_timeout in config.properties: found "soon", wanted a whole number of seconds',
  ],
  [
    'models={"a": {"1.0": {}}}',
    'Cannot read models in config.properties: "a.1.0.marName" does not fit (Invalid input: expected string, received undefined)',
  ],
  ["a=\\u12", "Cannot read config.properties: wanted four hexadecimal digits behind \\u"],
];
for (const [properties, message] of REFUSED) {
  test(`config.properties with ${properties} is refused with a sentence`, () => {
    assert.throws(() => read(properties), { code: "INVALID_OPTION", message });
  });
}

test("models and model_snapshot are read, over several lines", () => {
  const file = `models={\\
  "bert": {\\
    "1.0": {"defaultVersion": true, "marName": "bert.mar", "minWorkers": 1, "maxWorkers": 2,\\
      "batchSize": 4, "maxBatchDelay": 50, "responseTimeout": 120}\\
  }\\
}
model_snapshot={"name":"x.cfg","modelCount":1,"created":1,"models":{"b":{"2.0":{"marName":"b.mar"}}}}`;
  const { configFile } = read(file);
  assert.equal(configFile?.models?.["bert"]?.["1.0"]?.batchSize, 4);
  assert.equal(configFile?.snapshot?.["b"]?.["2.0"]?.marName, "b.mar");
});

test("the last snapshot goes over ./config.properties, unless a file, a model or --no-config-snapshots is named", () => {
  const cwd = join(root, "with-snapshots");
  mkdirSync(join(cwd, "logs/config"), { recursive: true });
  writeFileSync(join(cwd, "config.properties"), "job_queue_size=1");
  const names = ["20261121035909123-startup.cfg", "20261121040000000-snapshot.cfg", "zzz.cfg"];
  for (const [index, name] of names.entries())
    writeFileSync(join(cwd, "logs/config", name), `job_queue_size=${index + 2}`);
  assert.equal(
    findLastSnapshot(join(cwd, "logs/config")),
    join(cwd, "logs/config", names[1] ?? ""),
  );
  const size = (args: readonly string[]) =>
    readConfig({ args, env: {}, cwd, home: root }).jobQueueSize;
  assert.equal(size([]), 3);
  assert.equal(size(["--no-config-snapshots"]), 1);
  assert.equal(size(["./model"]), 1);
  assert.equal(size(["--ts-config", "config.properties"]), 1);
  assert.equal(size(["--snapshots", "elsewhere"]), 1);
});
