/**
 * The Management API against TorchServe's recorded behaviour: statuses, sentences, types and keys in their order.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { createModels } from "../../runtime/engine/models.ts";
import { RuntimeError } from "../../runtime/errors.ts";
import { createManagementApp, isManagementPath } from "../../runtime/http/management-app.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { createMetrics } from "../../runtime/observe/metrics.ts";
import {
  createFakeLauncher,
  type FakeLauncher,
  type FakeLauncherOptions,
} from "../support/fake-launcher.ts";

type Options = Partial<Omit<FakeLauncherOptions, "models">> & {
  readonly manner?: "mended" | "original";
  readonly isModelApiEnabled?: boolean;
  readonly removalTimeoutMs?: number;
};

interface Door {
  readonly launcher: FakeLauncher;
  readonly ask: (
    method: string,
    path: string,
    body?: unknown,
  ) => Promise<{
    status: number;
    text: string;
    // oxlint-disable-next-line typescript/no-explicit-any -- compared with what was recorded, key by key
    body: any;
    headers: Headers;
  }>;
}

const STORE = {
  "echo.mar": { name: "echo", version: "1.0" },
  "echo_v2.mar": { name: "echo", version: "2.0" },
  "other.mar": { name: "other" },
  "owner/hub": { name: "hub", isOnHub: true },
};

function open({
  manner = "mended",
  isModelApiEnabled = true,
  removalTimeoutMs,
  ...more
}: Options = {}): Door {
  const models = createModels();
  const launcher = createFakeLauncher({ models, store: STORE, ...more });
  const app = createManagementApp({
    models,
    launcher,
    metrics: createMetrics(),
    isModelApiEnabled,
    manner,
    version: "0.0.0",
    log: silentLog(),
    ...(removalTimeoutMs !== undefined && { removalTimeoutMs }),
  });
  return {
    launcher,
    async ask(method, path, body) {
      const json = { "content-type": "application/json" };
      const response = await app.request(path, {
        method,
        ...(body !== undefined && { body: JSON.stringify(body), headers: json }),
      });
      const text = await response.text();
      const read: unknown = JSON.parse(text);
      return { status: response.status, text, body: read, headers: response.headers };
    },
  };
}

/** A door behind which `echo` has two versions with a worker each. */
async function openTwo(options: Options = {}): Promise<Door> {
  const door = open(options);
  for (const url of ["echo.mar", "echo_v2.mar"])
    await door.ask("POST", `/models?url=${url}&initial_workers=1`);
  return door;
}

type Row = readonly [request: string, status: number, said: string, type?: string];

async function assertRows({ ask }: Door, rows: readonly Row[]): Promise<void> {
  for (const [request, status, said, type] of rows) {
    const [method = "", path = ""] = request.split(" ");
    const answer = await ask(method, path);
    const expected = type === undefined ? { status: said } : { code: status, type, message: said };
    assert.deepEqual(answer.body, expected, request);
    assert.equal(answer.status, status, request);
  }
}

const NO_METHOD = "Requested method is not allowed, please refer to API document.";
const NO_RESOURCE = "Requested resource is not found, please refer to API document.";

test("POST /models says what TorchServe says", async () => {
  const door = open();
  await assertRows(door, [
    ["POST /models", 400, "Parameter url is required.", "BadRequestException"],
    ["POST /models?url=", 404, "empty url", "ModelNotFoundException"],
    ["POST /models?url=nope.mar", 404, "Model not found at: nope.mar", "ModelNotFoundException"],
    [
      "POST /models?url=../x.mar",
      404,
      "Relative path is not allowed in url: ../x.mar",
      "ModelNotFoundException",
    ],
    [
      "POST /models?url=echo.mar&runtime=python4",
      400,
      "Invalid RuntimeType value: python4",
      "BadRequestException",
    ],
    [
      "POST /models?url=echo.mar",
      200,
      'Model "echo" Version: 1.0 registered with 0 initial workers. Use scale workers API to add workers for the model.',
    ],
    [
      "POST /models?url=echo.mar",
      409,
      "Model version 1.0 is already registered for model echo",
      "ConflictStatusException",
    ],
    [
      "POST /models?url=echo_v2.mar&initial_workers=2",
      200,
      'Model "echo" Version: 2.0 registered with 2 initial workers',
    ],
    [
      "POST /models?url=other.mar&model_name=mine&initial_workers=1&synchronous=false",
      202,
      "Processing worker updates...",
    ],
    ["POST /models?url=owner/hub&synchronous=FALSE", 202, "Processing worker updates..."],
    ["POST /models/echo", 405, NO_METHOD, "MethodNotAllowedException"],
    ["PATCH /models", 405, NO_METHOD, "MethodNotAllowedException"],
    ["GET /", 405, NO_METHOD, "MethodNotAllowedException"],
    ["GET /nowhere", 404, NO_RESOURCE, "ResourceNotFoundException"],
  ]);
});

test("POST /models reads a JSON body as it reads a query, and hands on what was said alone", async () => {
  const { ask, launcher } = open();
  const body = { url: "echo.mar", initial_workers: 1, batch_size: "4", max_batch_delay: 50 };
  const { status } = await ask("POST", "/models", { ...body, response_timeout: 5 });
  assert.equal(status, 200);
  await ask("POST", "/models?url=other.mar&startup_timeout=7");
  const [first, second] = launcher.requests;
  assert.deepEqual(first?.settings, {
    reference: "echo.mar",
    minWorkers: 1,
    maxWorkers: 1,
    batchSize: 4,
    maxBatchDelayMs: 50,
    requestTimeoutMs: 5000,
  });
  assert.equal(first?.isFromStart, false);
  assert.equal(first?.isLazy, false);
  assert.deepEqual(second?.settings, { reference: "other.mar", startupTimeoutMs: 7000 });
  assert.equal(second?.isLazy, "unless-told", "the model's own files may say how many workers");
  await ask("POST", "/models?url=other.mar&model_name=x&initial_workers=0");
  assert.equal(launcher.requests[2]?.isLazy, true);
});

test("a value that does not fit is named, and in the original's manner as if it were not there", async () => {
  const path = "/models?url=echo.mar&batch_size=many";
  const mended = await open().ask("POST", path);
  assert.equal(mended.status, 400);
  assert.equal(
    mended.body.message,
    'Cannot read the parameter batch_size: found "many", wanted a whole number from 1 to 1024',
  );
  const original = open({ manner: "original" });
  assert.equal((await original.ask("POST", path)).status, 200);
  assert.deepEqual(original.launcher.requests[0]?.settings, { reference: "echo.mar" });
  for (const [manner, status, workers] of [
    ["mended", 400, 1],
    ["original", 200, 1],
  ] as const) {
    const { ask } = await openTwo({ manner });
    for (const text of ["", "one", "1.5"]) {
      const path = `/models/echo?min_worker=${text}&synchronous=true`;
      assert.equal((await ask("PUT", path)).status, status, `${manner} ${path}`);
    }
    assert.equal((await ask("GET", "/models/echo")).body[0].minWorkers, workers);
  }
  const { status } = await open().ask("POST", "/models?url=echo.mar&model_name=a%2Fb");
  assert.equal(status, 400, "a name is one part of a path");
});

test("what cannot be fetched says so, with the reason outside the original's manner", async () => {
  const url = "https://evil.example/x.mar";
  const cases = [
    [
      "FORBIDDEN",
      404,
      `Given URL ${url} does not match any allowed URL(s)`,
      "ModelNotFoundException",
    ],
    ["DOWNLOAD_FAILED", 400, `Failed to download archive from: ${url}`, "DownloadArchiveException"],
  ] as const;
  for (const [code, status, message, type] of cases) {
    const refusals = { [url]: new RuntimeError(code, `Cannot fetch "${url}": its host is asleep`) };
    for (const manner of ["mended", "original"] as const) {
      const answer = await open({ refusals, manner }).ask("POST", `/models?url=${url}`);
      const isMended = manner === "mended" && code === "DOWNLOAD_FAILED";
      const said = isMended ? `${message} (its host is asleep)` : message;
      assert.deepEqual(answer.body, { code: status, type, message: said });
    }
  }
  const there = { [url]: new RuntimeError("CONFLICT", "Model file already exists x.mar") };
  const expected = {
    mended: [409, "ConflictStatusException"],
    original: [500, "InternalServerException"],
  };
  for (const manner of ["mended", "original"] as const) {
    const { body } = await open({ refusals: there, manner }).ask("POST", `/models?url=${url}`);
    const [code, type] = expected[manner];
    assert.deepEqual(body, { code, type, message: "Model file already exists x.mar" });
  }
});

test("an archive's manifest is refused with TorchServe's sentence alone", async () => {
  const source = "bad.mar";
  for (const sentence of [
    "Missing Model entry in manifest file.",
    "Model name is not defined.",
    "Model version is not defined.",
    "Runtime is not defined or invalid.",
  ]) {
    const text = `Cannot open the archive "${source}": ${sentence}`;
    const refusals = { [source]: new RuntimeError("REPOSITORY_INVALID", text) };
    const { body } = await open({ refusals }).ask("POST", `/models?url=${source}`);
    assert.deepEqual(body, { code: 400, type: "InvalidModelException", message: sentence });
  }
  const own = `Cannot open the archive "${source}": it is damaged (no end)`;
  const refusals = { [source]: new RuntimeError("REPOSITORY_INVALID", own) };
  const { body } = await open({ refusals }).ask("POST", `/models?url=${source}`);
  assert.deepEqual(body, { code: 400, type: "InvalidModelException", message: own });
});

test("a registration may name its handler", async () => {
  const { ask, launcher } = open();
  await ask("POST", "/models?url=echo.mar&handler=mine:handle");
  assert.equal(launcher.requests[0]?.settings?.handler, "mine:handle");
});

test("workflows are not there, and say so", async () => {
  for (const path of ["/workflows", "/workflows/w"]) {
    for (const method of ["GET", "POST"]) {
      assert.deepEqual((await open().ask(method, path)).body, {
        code: 501,
        type: "InternalServerException",
        message: "Cannot answer: workflows are not served here; a handler may call other models",
      });
    }
  }
  const { body } = await open({ manner: "original" }).ask("GET", "/workflows");
  assert.equal(body.type, "ResourceNotFoundException");
});

test("a model whose workers do not start is unregistered again, and what was fetched for it goes", async () => {
  const failures = { other: new RuntimeError("WORKER_DIED", "Cannot load the model: it died") };
  for (const manner of ["mended", "original"] as const) {
    const { ask, launcher } = open({ failures, manner });
    const { status, body } = await ask("POST", "/models?url=other.mar&initial_workers=1");
    assert.equal(status, 500);
    assert.equal(body.type, "InternalServerException");
    const sentence = "Failed to start workers for model other version: 1.0";
    const reason = manner === "mended" ? " (Cannot load the model: it died)" : "";
    assert.equal(body.message, sentence + reason);
    assert.equal((await ask("GET", "/models/other")).status, 404);
    assert.deepEqual(launcher.discarded, ["other.mar"]);
  }
});

test("a conflict takes away what was fetched for it", async () => {
  const { ask, launcher } = open();
  await ask("POST", "/models?url=echo.mar");
  assert.equal((await ask("POST", "/models?url=echo.mar")).status, 409);
  assert.deepEqual(launcher.discarded, ["echo.mar"]);
});

test("without --enable-model-api models can be scaled and not registered or removed", async () => {
  const door = open({ isModelApiEnabled: false });
  door.launcher.launch({ name: "echo", version: "1.0" });
  await assertRows(door, [
    ["POST /models?url=echo.mar", 405, NO_METHOD, "MethodNotAllowedException"],
    ["DELETE /models/echo", 405, NO_METHOD, "MethodNotAllowedException"],
    ["DELETE /models/echo/1.0", 405, NO_METHOD, "MethodNotAllowedException"],
    ["PUT /models/echo?synchronous=true", 200, "Workers scaled to 1 for model: echo"],
    [
      "PUT /models/echo/1.0/set-default",
      200,
      'Default version successfully updated for model "echo" to "1.0"',
    ],
  ]);
});

test("PUT /models/{model} says what TorchServe says", async () => {
  await assertRows(await openTwo(), [
    ["PUT /models/echo?min_worker=2", 202, "Processing worker updates..."],
    ["PUT /models/echo?min_worker=2&synchronous=true", 200, "Workers scaled to 2 for model: echo"],
    [
      "PUT /models/echo/1.0?synchronous=true",
      200,
      "Workers scaled to 1 for model: echo, version: 1.0",
    ],
    [
      "PUT /models/echo?model_version=2.0&synchronous=true",
      200,
      "Workers scaled to 1 for model: echo, version: 2.0",
    ],
    [
      "PUT /models/echo?min_worker=2&max_worker=1",
      400,
      "max_worker cannot be less than min_worker.",
      "BadRequestException",
    ],
    ["PUT /models/nosuch", 404, "Model not found: nosuch", "ModelNotFoundException"],
    [
      "PUT /models/echo/9.9",
      404,
      "Model version: 9.9 does not exist for model: echo",
      "ModelVersionNotFoundException",
    ],
    [
      "PUT /models/nosuch/1.0/set-default",
      404,
      "Model not found: nosuch",
      "ModelNotFoundException",
    ],
    [
      "PUT /models/echo/7.7/set-default",
      404,
      "Model version 7.7 does not exist for model echo",
      "ModelVersionNotFoundException",
    ],
  ]);
});

test("DELETE /models/{model} says what TorchServe says", async () => {
  await assertRows(await openTwo(), [
    ["DELETE /models/nosuch", 404, "Model not found: nosuch", "ModelNotFoundException"],
    [
      "DELETE /models/echo/7.7",
      404,
      "Model version: 7.7 does not exist for model: echo",
      "ModelVersionNotFoundException",
    ],
    [
      "DELETE /models/echo",
      403,
      "Cannot remove default version for model echo",
      "InvalidModelVersionException",
    ],
    [
      "DELETE /models/echo/1.0",
      403,
      "Cannot remove default version for model echo",
      "InvalidModelVersionException",
    ],
    ["DELETE /models/echo/2.0", 200, 'Model "echo" unregistered'],
    ["DELETE /models/echo", 200, 'Model "echo" unregistered'],
    ["GET /models/echo", 404, "Model not found: echo", "ModelNotFoundException"],
  ]);
});

test("a removal that takes too long is a 408, and goes on", async () => {
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const door = await openTwo({ mayEnd: () => ended, removalTimeoutMs: 1 });
  await assertRows(door, [
    [
      "DELETE /models/echo/2.0",
      408,
      "Timed out while cleaning resources: echo",
      "RequestTimeoutException",
    ],
    [
      "GET /models/echo/2.0",
      404,
      "Model version: 2.0 does not exist for model: echo",
      "ModelVersionNotFoundException",
    ],
  ]);
  end();
});

test("GET /models/{model} has TorchServe's keys in its order", async () => {
  const { ask } = await openTwo();
  const { body, text, headers } = await ask("GET", "/models/echo/2.0");
  assert.deepEqual(Object.entries(body[0]), [
    ["modelName", "echo"],
    ["modelVersion", "2.0"],
    ["modelUrl", "echo_v2.mar"],
    ["runtime", "node"],
    ["minWorkers", 1],
    ["maxWorkers", 1],
    ["batchSize", 1024],
    ["maxBatchDelay", 0],
    ["responseTimeout", 120],
    ["startupTimeout", 600],
    ["maxRetryTimeoutInSec", 300],
    ["clientTimeoutInMills", 0],
    ["parallelType", ""],
    ["parallelLevel", 0],
    ["deviceType", "cpu"],
    ["continuousBatching", false],
    ["useJobTicket", false],
    ["useVenv", false],
    ["stateful", false],
    ["sequenceMaxIdleMSec", 0],
    ["sequenceTimeoutMSec", 0],
    ["maxNumSequence", 0],
    ["maxSequenceJobQueueSize", 0],
    ["loadedAtStartup", false],
    [
      "workers",
      [
        {
          id: "9000",
          startTime: "1970-01-01T00:00:00.000Z",
          status: "READY",
          memoryUsage: 5,
          pid: 100,
          gpu: false,
          gpuUsage: "N/A",
        },
      ],
    ],
    ["jobQueueStatus", { remainingCapacity: 10, pendingRequests: 0 }],
  ]);
  assert.match(text, /^\[\n {2}\{\n {4}"modelName": "echo",\n[\s\S]*\n\]\n$/);
  assert.equal(headers.get("content-type"), "application/json");
  assert.equal(headers.get("pragma"), "no-cache");
  assert.equal(headers.get("cache-control"), "no-cache; no-store, must-revalidate, private");
  assert.equal(headers.get("expires"), "Thu, 01 Jan 1970 00:00:00 UTC");
  assert.ok(headers.get("x-request-id"));
});

test("GET /models/{model} describes the default version, all of them, or adds what the model says of itself", async () => {
  const { ask } = await openTwo();
  const versions = async (path: string): Promise<string[]> =>
    (await ask("GET", path)).body.map(({ modelVersion }: { modelVersion: string }) => modelVersion);
  assert.deepEqual(await versions("/models/echo"), ["1.0"]);
  assert.deepEqual(await versions("/models/echo/all"), ["1.0", "2.0"]);
  assert.equal((await ask("GET", "/models/nosuch/all")).status, 404);
  assert.equal((await ask("GET", "/models/echo/9")).body.type, "ModelVersionNotFoundException");
  const { body } = await ask("GET", "/models/echo?customized=true");
  assert.deepEqual(body[0].customizedMetadata, { handler: "handler.ts", task: "fill-mask" });
  await ask("POST", "/models?url=other.mar");
  assert.deepEqual((await ask("GET", "/models/other?customized=true")).body, {
    code: 503,
    type: "ServiceUnavailableException",
    message:
      'Model "other" has no worker to serve describe request. Please use scale workers API to add workers.',
  });
});

test("GET /models lists a row for each name, page by page", async () => {
  const { ask } = await openTwo();
  await ask("POST", "/models?url=other.mar&model_name=aaa");
  await ask("POST", "/models?url=other.mar&model_name=zzz");
  await ask("PUT", "/models/echo/2.0/set-default");
  const rows = [
    { modelName: "aaa", modelUrl: "other.mar" },
    { modelName: "echo", modelUrl: "echo_v2.mar" },
    { modelName: "zzz", modelUrl: "other.mar" },
  ];
  const pages: readonly (readonly [string, unknown])[] = [
    ["", { models: rows }],
    ["?limit=1", { nextPageToken: "1", models: rows.slice(0, 1) }],
    ["?limit=1&next_page_token=1", { nextPageToken: "2", models: rows.slice(1, 2) }],
    ["?limit=1&next_page_token=2", { models: rows.slice(2) }],
    ["?limit=3", { models: rows }],
    ["?limit=-1", { models: rows }],
    ["?limit=101&next_page_token=-5", { models: rows }],
    ["?next_page_token=9", { models: [] }],
  ];
  for (const [query, page] of pages)
    assert.deepEqual((await ask("GET", `/models${query}`)).body, page, query);
  const { text } = await ask("GET", "/models?limit=1");
  assert.match(text, /^\{\n {2}"nextPageToken": "1",\n {2}"models": \[\n/);
});

test("in the original's manner the last page has a token that leads nowhere", async () => {
  const { ask } = await openTwo({ manner: "original" });
  assert.deepEqual((await ask("GET", "/models?limit=1")).body, {
    nextPageToken: "1",
    models: [{ modelName: "echo", modelUrl: "echo.mar" }],
  });
  const past = await ask("GET", "/models?next_page_token=1");
  assert.deepEqual(past.body, { models: [] });
});

test("PUT /models/{model}/traffic shares requests out, and a version that goes ends the sharing", async () => {
  const { ask } = await openTwo();
  assert.deepEqual((await ask("GET", "/models/echo/traffic")).body, { "1.0": 100 });
  const weights = { "1.0": 90, "2.0": 10 };
  const { status, body } = await ask("PUT", "/models/echo/traffic", weights);
  assert.equal(status, 200);
  assert.deepEqual(body, weights);
  assert.deepEqual((await ask("GET", "/models/echo/traffic")).body, weights);
  for (const [sent, code] of [
    [{ "3.0": 1 }, 404],
    [{ "1.0": -1 }, 400],
    [{ "1.0": 0 }, 400],
    [{ "1.0": "many" }, 400],
    [[1], 400],
  ] as const)
    assert.equal((await ask("PUT", "/models/echo/traffic", sent)).status, code);
  assert.deepEqual((await ask("GET", "/models/echo/traffic")).body, weights, "it stayed as it was");
  assert.deepEqual((await ask("PUT", "/models/echo/traffic", {})).body, { "1.0": 100 });
  await ask("PUT", "/models/echo/traffic", weights);
  await ask("DELETE", "/models/echo/2.0");
  assert.deepEqual((await ask("GET", "/models/echo/traffic")).body, { "1.0": 100 });
  assert.equal((await ask("PUT", "/models/nosuch/traffic", {})).status, 404);
});

test("GET /v1/models/{model} says whether it answers", async () => {
  const door = await openTwo();
  assert.deepEqual((await door.ask("GET", "/v1/models/echo")).body, { name: "echo", ready: true });
  await door.ask("PUT", "/models/echo?min_worker=0&synchronous=true");
  assert.deepEqual((await door.ask("GET", "/v1/models/echo")).body, { name: "echo", ready: false });
  await assertRows(door, [
    ["POST /v1/models/echo", 405, NO_METHOD, "MethodNotAllowedException"],
    ["GET /v1/models/nosuch", 404, "Model not found: nosuch", "ModelNotFoundException"],
  ]);
});

test("OPTIONS describes the port, or one model's part of it", async () => {
  const { ask } = open();
  const { body } = await ask("OPTIONS", "/");
  assert.equal(body.openapi, "3.0.1");
  assert.deepEqual((await ask("GET", "/api-description")).body, body);
  const parameters = body.paths["/models"].post.parameters as { name: string; schema: unknown }[];
  const size = parameters.find(({ name }) => name === "batch_size");
  assert.deepEqual(size?.schema, { type: "integer", minimum: 1, maximum: 1024 });
  const one = (await ask("OPTIONS", "/models/echo")).body;
  assert.ok(Object.keys(one.paths).includes("/models/echo/{model_version}/set-default"));
  assert.ok(Object.keys(one.paths).every((path) => path.startsWith("/models/echo")));
});

test("a refusal closes its connection, an answer keeps it", async () => {
  const { ask } = await openTwo();
  assert.equal((await ask("GET", "/models/nosuch")).headers.get("connection"), "close");
  assert.equal((await ask("GET", "/models/echo")).headers.get("connection"), null);
});

test("on a port that both share, models and keys are managed and invocations are not", () => {
  for (const path of ["/models", "/models/", "/models/m", "/models/m/1.0/set-default", "/token"])
    assert.ok(isManagementPath(path), path);
  for (const path of ["/", "/models/m/invoke", "/predictions/m", "/modelsx", "/v1/models/m"])
    assert.ok(!isManagementPath(path), path);
});
