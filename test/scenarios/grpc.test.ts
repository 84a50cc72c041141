/**
 * gRPC on the real program: a real child behind it, a client that leaves, the end of the server, and Google's own library.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createServer } from "node:net";
import { text as textOf } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { z } from "zod";

import { modelPath } from "../support/goldens.ts";
import { connect, grpcTargetOf, refusal, texts, type GrpcClient } from "../support/grpc.ts";
import { ROOT, runHubserve, startHubserve, type Hubserve } from "../support/hubserve.ts";

const ODD_JOBS = "test/fixtures/repositories/odd-jobs";
const ARGS = ["serve", ODD_JOBS, "--workers", "1", "--grpc-port", "0"];

let server: Hubserve;
let client: GrpcClient;

before(async () => {
  server = await startHubserve({ args: [...ARGS, "--log-level", "debug"] });
  client = connect(await grpcTargetOf(server));
  await server.line(/Ready after/);
});

after(async () => {
  await client[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** A handler's payload as one text. */
function job(inputs: object): object {
  return { inputs: [texts("any", JSON.stringify({ inputs }))] };
}

const Inferred = z.object({
  outputs: z.tuple([z.object({ contents: z.object({ bytes_contents: z.tuple([z.any()]) }) })]),
});

/** What the handler's JSON says. */
async function answerOf(call: ReturnType<GrpcClient["call"]>): Promise<Record<string, unknown>> {
  const { outputs } = Inferred.parse((await call).message);
  return z
    .record(z.string(), z.unknown())
    .parse(JSON.parse(String(outputs[0].contents.bytes_contents[0])));
}

test("a custom handler gets the payload, the id and the trace, and its answer comes back as JSON", async () => {
  const metadata = { "x-request-id": "mine-7", "x-mine": "1", authorization: "Bearer hf_client" };
  const answer = await answerOf(client.call("ModelInfer", job({ do: "echo" }), { metadata }));
  const data = z.record(z.string(), z.unknown()).parse(answer["data"]);
  assert.deepEqual(data["inputs"], { do: "echo" });
  assert.equal(answer["requestId"], "mine-7");
  const headers = z.record(z.string(), z.string()).parse(answer["headers"]);
  assert.equal(headers["x-mine"], "1");
  assert.equal(headers["authorization"], undefined);
});

test("what a handler throws is told without its path, its stack and its secrets", async () => {
  await assert.rejects(
    client.call("ModelInfer", job({ do: "refuse" })),
    refusal("INVALID_ARGUMENT", /^Cannot do it: "count" must be positive$/),
  );
  await assert.rejects(client.call("ModelInfer", job({ do: "throw" })), (error: unknown) => {
    const { details, code } = z.object({ details: z.string(), code: z.int() }).parse(error);
    assert.equal(code, 13); // INTERNAL
    assert.doesNotMatch(details, /hf_abc|\/odd-jobs|\n|\bat /);
    return true;
  });
  await assert.rejects(
    client.call("ModelInfer", job({ do: "exit" })),
    refusal("INTERNAL", /tried on 2 workers and each of them died/),
  );
});

test("a client that leaves, or whose deadline passes, aborts the handler's signal", async () => {
  const asleep = job({ do: "sleep", ms: 60_000 });
  const controller = new AbortController();
  const left = client.call("ModelInfer", asleep, {
    metadata: { "x-request-id": "left-1" },
    signal: controller.signal,
  });
  const isCancelled = assert.rejects(left, refusal("CANCELLED", /./));
  await server.line(/asleep.*left-1/);
  controller.abort();
  await isCancelled;
  await assert.rejects(
    client.call("ModelInfer", asleep, {
      metadata: { "x-request-id": "late-1" },
      deadlineMs: 500,
    }),
    refusal("DEADLINE_EXCEEDED", /./),
  );
  const answer = await answerOf(client.call("ModelInfer", job({ do: "echo" })));
  assert.deepEqual(
    z
      .array(z.string())
      .parse(answer["aborted"])
      .filter((id) => /^(?:left|late)-1$/.test(id)),
    ["left-1", "late-1"],
  );
});

test("a stream is gathered, and one that never ends ends with its client's deadline", async () => {
  const { message } = await client.call("ModelInfer", job({ do: "stream", count: 3 }));
  const [output] = z
    .tuple([
      z.object({
        shape: z.array(z.string()),
        contents: z.object({ bytes_contents: z.array(z.any()) }),
      }),
    ])
    .parse(message["outputs"]);
  assert.deepEqual(output.contents.bytes_contents.map(String), ["1", "2", "3"]);
  assert.deepEqual(output.shape, ["3"]);
  await assert.rejects(
    client.call("ModelInfer", job({ do: "endless" }), { deadlineMs: 500 }),
    refusal("DEADLINE_EXCEEDED", /./),
  );
  const answer = await answerOf(client.call("ModelInfer", job({ do: "echo" })));
  assert.ok(z.array(z.string()).parse(answer["aborted"]).includes("endless"));
});

test("both doors count, each in its own metrics", async () => {
  await client.call("ServerReady");
  const page = await (await fetch(`${server.url}/metrics`)).text();
  assert.match(
    page,
    /hubserve_grpc_calls_total{method="inference.GRPCInferenceService\/ServerReady",code="OK"} \d/,
  );
});

test("on SIGTERM health says so, what runs is finished, and watches are let go", async () => {
  await using ending = await startHubserve({
    args: [...ARGS, "--log-level", "debug", "--drain-delay", "1s"],
  });
  const target = await grpcTargetOf(ending);
  await using caller = connect(target);
  await using health = connect(target, "health");
  await ending.line(/Ready after/);
  const watch = health.stream("Watch", { service: "" })[Symbol.asyncIterator]();
  assert.equal((await watch.next()).value["status"], "SERVING");
  const metadata = { "x-request-id": "last-1" };
  const last = caller.call("ModelInfer", job({ do: "sleep", ms: 2500 }), { metadata });
  await ending.line(/asleep.*last-1/);
  ending.kill("SIGTERM");
  assert.equal((await watch.next()).value["status"], "NOT_SERVING");
  assert.deepEqual((await caller.call("ServerReady")).message, { ready: false }); // still let in
  await assert.rejects(watch.next(), refusal("UNAVAILABLE", /shutting down/));
  assert.match(
    String(Inferred.parse((await last).message).outputs[0].contents.bytes_contents[0]),
    /slept/,
  );
  assert.equal(await ending.exited, 0);
  assert.ok(!ending.lines.some((line) => /cut off/.test(line)), ending.lines.join("\n"));
});

test("a port that is taken ends the start, and says which flag names another", async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = z.object({ port: z.int() }).parse(other.address());
  const args = [
    "serve",
    ODD_JOBS,
    "--host",
    "127.0.0.1",
    "--port",
    "0",
    "--grpc-port",
    String(port),
  ];
  const { code, stderr } = await runHubserve({ args });
  other.close();
  assert.notEqual(code, 0);
  assert.match(
    stderr,
    new RegExp(
      `Cannot listen on 127.0.0.1:${port} for gRPC: it is taken; name another with --grpc-port`,
    ),
  );
  assert.doesNotMatch(stderr, /\n\s+at |No address added/);
});

test("without a port nothing of gRPC is loaded", async () => {
  const script = `
    await import(${JSON.stringify(new URL("../../runtime/serve.ts", import.meta.url).href)});
    const { createRequire } = await import("node:module");
    console.log(Object.keys(createRequire(import.meta.url).cache).filter((file) => file.includes("@grpc")).length);
  `;
  const args = ["--import", "tsx", "--input-type=module", "--eval", script];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" });
  assert.equal(stdout.trim(), "0", stderr);
});

const PYTHON = process.env["PYTHON"] ?? "python3";
const SCRIPT = fileURLToPath(new URL("../support/grpc-python-client.py", import.meta.url));

const noPython =
  spawnSync(PYTHON, ["-c", "import grpc, google.protobuf"]).status === 0
    ? false
    : `${PYTHON} has no grpcio and protobuf; name one that has as PYTHON`;

const PythonAnswer = z.union([
  z.object({ response: z.record(z.string(), z.any()), metadata: z.record(z.string(), z.string()) }),
  z.object({ code: z.string(), details: z.string() }),
]);

async function askPython(
  target: string,
  calls: readonly object[],
): Promise<readonly z.infer<typeof PythonAnswer>[]> {
  const child = spawn(PYTHON, [SCRIPT], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(JSON.stringify({ target, calls }));
  const lines = (await textOf(child.stdout)).trim().split("\n");
  return lines.map((line) => PythonAnswer.parse(JSON.parse(line)));
}

test(
  "Google's Python library finds the service by reflection and uses it",
  { skip: noPython },
  async () => {
    await using classifier = await startHubserve({
      args: [
        modelPath("seqcls-bert-2way"),
        "--dtype",
        "fp32",
        "--workers",
        "1",
        "--grpc-port",
        "0",
      ],
    });
    const target = await grpcTargetOf(classifier);
    await classifier.line(/Ready after/);
    const input = {
      name: "text",
      datatype: "BYTES",
      shape: ["1"],
      contents: { bytes_contents: [Buffer.from("I love you").toString("base64")] },
    };
    const [live, metadata, inferred, unknown, malformed, late] = await askPython(target, [
      { method: "ServerLive" },
      { method: "ModelMetadata" },
      {
        method: "ModelInfer",
        request: { id: "1", inputs: [input] },
        metadata: { "x-request-id": "py-1" },
      },
      { method: "ModelInfer", request: { model_name: "other", inputs: [input] } },
      { method: "ModelInfer", request: { inputs: [{ ...input, shape: ["2"] }] } },
      { method: "ModelInfer", request: { inputs: [input] }, timeout: 0.000_001 },
    ]);
    assert.ok(live && "response" in live && live.response["live"] === true);
    assert.ok(metadata && "response" in metadata);
    assert.equal(metadata.response["platform"], "onnxruntime");
    assert.ok(inferred && "response" in inferred);
    assert.equal(inferred.metadata["x-request-id"], "py-1");
    assert.equal(inferred.response["id"], "1");
    const answer = Buffer.from(
      inferred.response["outputs"][0].contents.bytes_contents[0],
      "base64",
    );
    const rest = await (await classifier.post("I love you")).json();
    assert.deepEqual([JSON.parse(String(answer))], z.array(z.unknown()).parse(rest));
    assert.deepEqual(
      [unknown, malformed, late].map((each) => each && "code" in each && each.code),
      ["NOT_FOUND", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED"],
    );
  },
);
