import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { describeOptions, readConfig, withFileSettings, type Config } from "../runtime/config.ts";
import type { RuntimeError } from "../runtime/errors.ts";

function read(
  args: readonly string[] = [],
  env: Record<string, string> = {},
  home = "/home/nobody",
): Config {
  return readConfig({ args, env, cwd: "/work", home });
}

test("readConfig() gives defaults where nothing is said, and knows that it did", () => {
  const config = read();
  assert.equal(config.port, 8080);
  assert.equal(config.host, "0.0.0.0");
  assert.equal(config.endpoint, "https://huggingface.co");
  assert.equal(config.reference, undefined);
  assert.equal(config.origins.port, "default");
  assert.equal(config.hubCache, "/home/nobody/.cache/huggingface/hub");
  assert.equal(config.cache, "/home/nobody/.cache/hubserve");
  assert.ok(Object.isFrozen(config));
});

test("readConfig() lets flags win over the environment, and hubserve's own variables over the shared ones", () => {
  const env = { PORT: "1", HUBSERVE_PORT: "2" };
  assert.equal(read([], { PORT: "1" }).port, 1);
  assert.equal(read([], env).port, 2);
  const config = read(["--port", "3"], env);
  assert.equal(config.port, 3);
  assert.equal(config.origins.port, "--port");
  assert.equal(read([], env).origins.port, "HUBSERVE_PORT");
});

test("readConfig() reads the variables that users of the Hub know", () => {
  const config = read([], {
    HF_MODEL_ID: "owner/name",
    HF_REVISION: "v1",
    HF_TOKEN: "",
    HF_HUB_TOKEN: "hf_second",
    HF_ENDPOINT: "http://hub.local:1234/",
    HF_HUB_OFFLINE: "1",
    HF_MODEL_DIR: "/models",
    HF_TASK: "fill-mask",
    HF_HOME: "/hf",
  });
  assert.equal(config.modelId, "owner/name");
  assert.equal(config.revision, "v1");
  assert.equal(config.token, "hf_second", "an empty variable is not set");
  assert.equal(config.endpoint, "http://hub.local:1234");
  assert.equal(config.offline, true);
  assert.equal(config.modelDir, "/models");
  assert.equal(config.task, "fill-mask");
  assert.equal(config.hubCache, "/hf/hub");
  assert.equal(read([], { HF_HOME: "/hf", HF_HUB_CACHE: "/cache" }).hubCache, "/cache");
  assert.equal(read([], { XDG_CACHE_HOME: "/x" }).hubCache, "/x/huggingface/hub");
});

test("readConfig() finds the token that `hf auth login` stored", () => {
  const home = mkdtempSync(join(tmpdir(), "hubserve-"));
  writeFileSync(join(home, "token"), "hf_stored\n");
  assert.equal(read([], { HF_HOME: home }).token, "hf_stored");
  assert.equal(read([], { HF_TOKEN_PATH: join(home, "token") }).token, "hf_stored");
  assert.equal(read([], { HF_HOME: home, HF_TOKEN: "hf_own" }).token, "hf_own");
  rmSync(home, { recursive: true });
});

test("readConfig() takes the compatibility switch of Hugging Face's own server", () => {
  assert.equal(read([], { API_INFERENCE_COMPAT: "true" }).dialect, "hf-inference");
  assert.equal(read(["--dialect", "toolkit"], { API_INFERENCE_COMPAT: "true" }).dialect, "toolkit");
});

test("readConfig() reads durations, sizes and lists", () => {
  const config = read([
    "--request-timeout=500ms",
    "--drain-delay",
    "2m",
    "--max-body-size",
    "1.5MiB",
    "--include",
    "*.json,a",
    "--include",
    "b",
  ]);
  assert.equal(config.requestTimeoutMs, 500);
  assert.equal(config.drainDelayMs, 120_000);
  assert.equal(config.maxBodyBytes, 1_572_864);
  assert.deepEqual(config.include, ["*.json", "a", "b"]);
  assert.equal(
    read(["--request-timeout", "30"]).requestTimeoutMs,
    30_000,
    "a bare number is seconds",
  );
});

test("readConfig() leaves open what the machine or the model decides", () => {
  const { workers, minWorkers, maxWorkers, threads, batchSize, workerMaxRssBytes } = read();
  assert.deepEqual(
    [workers, minWorkers, maxWorkers, threads, batchSize, workerMaxRssBytes],
    Array.from({ length: 6 }),
  );
  assert.equal(read().maxBatchDelayMs, 0);
});

test("readConfig() reads the options of workers and batches", () => {
  const config = read(
    ["--min-workers=1", "--max-workers", "4", "--batch-size", "8", "--worker-max-rss=2GiB"],
    { HUBSERVE_MAX_BATCH_DELAY: "5ms", WORKERS: "2" },
  );
  assert.deepEqual([config.minWorkers, config.workers, config.maxWorkers], [1, 2, 4]);
  assert.equal(config.batchSize, 8);
  assert.equal(config.maxBatchDelayMs, 5);
  assert.equal(config.workerMaxRssBytes, 2_147_483_648);
});

const FILE = "model-config.yaml";

test("withFileSettings() puts a repository's settings over defaults and under flags and variables", () => {
  const config = read(["--job-queue-size", "7"], { HUBSERVE_BATCH_SIZE: "2" });
  const settings = { jobQueueSize: 1, batchSize: 1, requestTimeoutMs: 5000, minWorkers: 2 };
  const settled = withFileSettings(config, { file: FILE, settings });
  assert.deepEqual(
    [settled.jobQueueSize, settled.batchSize, settled.requestTimeoutMs, settled.minWorkers],
    [7, 2, 5000, 2],
  );
  assert.deepEqual(
    [settled.origins.jobQueueSize, settled.origins.batchSize, settled.origins.requestTimeoutMs],
    ["--job-queue-size", "HUBSERVE_BATCH_SIZE", FILE],
  );
  assert.equal(settled.origins.port, "default");
  assert.ok(Object.isFrozen(settled) && Object.isFrozen(settled.origins));
  assert.equal(config.requestTimeoutMs, 120_000, "the first is left as it was");
  assert.equal(config.origins.requestTimeoutMs, "default");
});

test("withFileSettings() takes --workers for both bounds", () => {
  const settings = { minWorkers: 1, maxWorkers: 8 };
  const settled = withFileSettings(read(["--workers", "3"]), { file: FILE, settings });
  assert.deepEqual(
    [settled.workers, settled.minWorkers, settled.maxWorkers],
    [3, undefined, undefined],
  );
});

test("withFileSettings() lets a repository's bound yield to a given one that it contradicts", () => {
  const low = withFileSettings(read(["--max-workers", "2"]), {
    file: FILE,
    settings: { minWorkers: 4, maxWorkers: 8 },
  });
  assert.deepEqual([low.minWorkers, low.maxWorkers], [2, 2]);
  const high = withFileSettings(read([], { HUBSERVE_MIN_WORKERS: "6" }), {
    file: FILE,
    settings: { minWorkers: 1, maxWorkers: 4 },
  });
  assert.deepEqual([high.minWorkers, high.maxWorkers], [6, 6]);
});

test("readConfig() takes a reference and further words from between the flags", () => {
  const config = read(["--port", "1", "owner/name", "--offline", '{"inputs": 1}']);
  assert.equal(config.reference, "owner/name");
  assert.deepEqual(config.words, ['{"inputs": 1}']);
  assert.equal(config.offline, true);
});

const REFUSED: readonly [args: string[], env: Record<string, string>, sentence: string][] = [
  [["--prot", "1"], {}, 'Cannot read the options: "--prot" is not one; did you mean "--port"'],
  [
    ["--zzzzzz"],
    {},
    'Cannot read the options: "--zzzzzz" is not one; `hubserve help options` lists them',
  ],
  [["-x"], {}, 'Cannot read the options: "-x" is not one; `hubserve help options` lists them'],
  [["--port"], {}, 'Cannot read "--port": it takes a value, --port <port>'],
  [
    ["--port", "99999"],
    {},
    'Cannot read --port: found "99999", wanted a whole number from 0 to 65535',
  ],
  [["--port", "1.5"], {}, 'Cannot read --port: found "1.5", wanted a whole number from 0 to 65535'],
  [[], { PORT: "http" }, 'Cannot read PORT: found "http", wanted a whole number from 0 to 65535'],
  [
    ["--request-timeout", "soon"],
    {},
    'Cannot read --request-timeout: found "soon", wanted a duration of at most 24 days such as "30s", "500ms" or "2m"',
  ],
  [
    ["--max-body-size", "0"],
    {},
    'Cannot read --max-body-size: found "0", wanted a size such as "64MiB" or a number of bytes',
  ],
  [
    ["--dialect", "latin"],
    {},
    'Cannot read --dialect: found "latin", wanted one of auto, toolkit, hf-inference',
  ],
  [
    [],
    { HF_ENDPOINT: "file:///etc" },
    'Cannot read HF_ENDPOINT: found "file:///etc", wanted an http(s) URL',
  ],
  [
    [],
    { HF_HUB_OFFLINE: "maybe" },
    'Cannot read HF_HUB_OFFLINE: found "maybe", wanted true or false',
  ],
  [
    ["--min-workers", "4", "--max-workers", "2"],
    {},
    "Cannot use --min-workers: found 4, wanted at most 2, as --max-workers says",
  ],
  [
    ["--max-workers", "2"],
    { WORKERS: "3" },
    "Cannot use WORKERS: found 3, wanted at most 2, as --max-workers says",
  ],
  [
    ["--token", "hf_x"],
    {},
    'Cannot take "--token": arguments can be read by every user of a machine; set the variable HF_TOKEN',
  ],
];

for (const [args, env, sentence] of REFUSED) {
  test(`readConfig() refuses ${JSON.stringify([...args, env])} with one sentence`, () => {
    assert.throws(
      () => read(args, env),
      (error: RuntimeError) => error.code === "INVALID_OPTION" && error.message === sentence,
    );
  });
}

test("every option has a meaning, a flag of its own and readable variables", () => {
  const rows = describeOptions();
  assert.equal(new Set(rows.map(({ row }) => row.flag)).size, rows.length);
  for (const { row, variables } of rows) {
    assert.match(row.flag, /^[a-z]+(-[a-z]+)*$/);
    assert.ok(row.meaning.length > 10, row.flag);
    for (const variable of variables) assert.match(variable, /^[A-Z][A-Z_]*$/);
  }
});
