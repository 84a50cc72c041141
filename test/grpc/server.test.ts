/**
 * The gRPC port itself: what it answers of server and models, health, reflection, and how it ends.
 */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import {
  credentials,
  loadPackageDefinition,
  type Client,
  type ClientDuplexStream,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import protobuf from "protobufjs";

import { createModels } from "../../runtime/engine/models.ts";
import { INFERENCE_PROTO } from "../../runtime/grpc/inference-proto.ts";
import { readyModels } from "../support/app-matrix.ts";
import { createFakeLauncher } from "../support/fake-launcher.ts";
import { connect, openTestGate, refusal, SPECIFICATION, texts } from "../support/grpc.ts";

test("our messages are the specification's: every name, number and type of it", () => {
  const specified = new protobuf.Root().loadSync(SPECIFICATION, { keepCase: true }).resolveAll();
  const ours = protobuf.parse(INFERENCE_PROTO, { keepCase: true }).root.resolveAll();
  let count = 0;
  const compare = (namespace: protobuf.NamespaceBase): void => {
    for (const each of namespace.nestedArray) {
      if (each instanceof protobuf.Type) {
        const own = ours.lookupType(each.fullName);
        for (const field of each.fieldsArray) {
          const found = own.fieldsById[field.id];
          const shapeOf = (one: protobuf.Field | undefined): readonly unknown[] => [
            one?.type,
            one?.repeated,
            one?.map,
            one?.packed,
            one?.partOf?.name,
            one?.name,
          ];
          assert.deepEqual(shapeOf(found), shapeOf(field), field.fullName);
          count++;
        }
      }
      if (each instanceof protobuf.Service) {
        const own = ours.lookupService(each.fullName);
        for (const method of each.methodsArray) {
          const found = own.methods[method.name];
          assert.equal(found?.requestType, method.requestType);
          assert.equal(found.responseType, method.responseType);
          count++;
        }
      }
      if (each instanceof protobuf.Namespace) compare(each);
    }
  };
  compare(specified);
  assert.ok(count > 60, `compared only ${count}`);
});

test("the server and its models are described", async () => {
  const models = readyModels(undefined, {
    handler: "default",
    task: "text-classification",
    dtype: "fp32",
  });
  await using gate = await openTestGate({ models, version: "1.2.3" });
  await using client = connect(gate.url);
  const ask = async (method: string, request = {}): Promise<unknown> =>
    (await client.call(method, request)).message;
  assert.deepEqual(await ask("ServerLive"), { live: true });
  assert.deepEqual(await ask("ServerReady"), { ready: true });
  assert.deepEqual(await ask("ModelReady", { name: "owner/name" }), { ready: true });
  assert.deepEqual(await ask("ModelReady", { name: "owner/name", version: "1.0" }), {
    ready: true,
  });
  assert.deepEqual(await ask("ServerMetadata"), {
    name: "hubserve",
    version: "1.2.3",
    extensions: ["model_repository"],
  });
  assert.deepEqual(await ask("ModelMetadata", { name: "owner/name" }), {
    name: "owner/name",
    versions: ["1.0"],
    platform: "onnxruntime",
    inputs: [{ name: "text", datatype: "BYTES", shape: ["-1"] }],
    outputs: [{ name: "predict", datatype: "BYTES", shape: ["-1"] }],
    properties: { task: "text-classification", dtype: "fp32" },
  });
});

test("nothing is ready while the model starts", async () => {
  const models = createModels();
  models.register("late").progress("Downloading owner/late");
  await using gate = await openTestGate({ models });
  await using client = connect(gate.url);
  await using health = connect(gate.url, "health");
  assert.deepEqual((await client.call("ServerLive")).message, { live: true });
  assert.deepEqual((await client.call("ServerReady")).message, { ready: false });
  assert.deepEqual((await client.call("ModelReady", { name: "late" })).message, { ready: false });
  await assert.rejects(
    client.call("ModelMetadata", { name: "late" }),
    refusal("UNAVAILABLE", /Downloading/),
  );
  assert.equal((await health.call("Check")).message["status"], "NOT_SERVING");
});

test("health follows readiness, for the server and for the inference service by name", async () => {
  const models = readyModels();
  await using gate = await openTestGate({ models });
  await using health = connect(gate.url, "health");
  for (const service of ["", "inference.GRPCInferenceService"])
    assert.equal((await health.call("Check", { service })).message["status"], "SERVING");
  await assert.rejects(
    health.call("Check", { service: "other" }),
    refusal("NOT_FOUND", /wanted "" or "inference.GRPCInferenceService"/),
  );
  const { statuses } = (await health.call("List")).message as { statuses: object };
  assert.deepEqual(Object.keys(statuses), ["", "inference.GRPCInferenceService"]);

  const seen: unknown[] = [];
  for await (const { status } of health.stream("Watch", { service: "" })) {
    seen.push(status);
    if (seen.length === 2) break;
    (models.find() as ReturnType<typeof models.register>).draining(); // the register's own hand
  }
  assert.deepEqual(seen, ["SERVING", "NOT_SERVING"]);
  assert.equal((await health.call("Check")).message["status"], "NOT_SERVING");
  for await (const { status } of health.stream("Watch", { service: "other" })) {
    assert.equal(status, "SERVICE_UNKNOWN");
    break;
  }
});

interface Reflected {
  readonly list_services_response?: { readonly service: readonly { readonly name: string }[] };
  readonly file_descriptor_response?: { readonly file_descriptor_proto: readonly Buffer[] };
}

for (const version of ["v1", "v1alpha"]) {
  test(`reflection ${version} lists the services, and describes the messages as they are`, async () => {
    await using gate = await openTestGate();
    const proto = `node_modules/@grpc/reflection/build/proto/grpc/reflection/${version}/reflection.proto`;
    const loaded = loadPackageDefinition(loadSync(proto, { keepCase: true, oneofs: true }));
    const reflection = (loaded["grpc"] as never)["reflection"][version] as unknown as {
      ServerReflection: new (...options: unknown[]) => Client & {
        ServerReflectionInfo(): ClientDuplexStream<object, Reflected>;
      };
    };
    const client = new reflection.ServerReflection(gate.url, credentials.createInsecure());
    const stream = client.ServerReflectionInfo();
    const answers = stream[Symbol.asyncIterator]();
    const ask = async (request: object): Promise<Reflected> => {
      stream.write(request);
      return (await answers.next()).value as Reflected;
    };
    const { list_services_response: list } = await ask({ list_services: "" });
    const names = list?.service.map(({ name }) => name) ?? [];
    for (const wanted of ["inference.GRPCInferenceService", "grpc.health.v1.Health"])
      assert.ok(names.includes(wanted), names.join());

    const { file_descriptor_response: file } = await ask({
      file_containing_symbol: "inference.ModelInferRequest",
    });
    const text = Buffer.concat(file?.file_descriptor_proto ?? []).toString("latin1");
    for (const field of ["raw_input_contents", "fp32_contents", "triton_model_name"])
      assert.ok(text.includes(field), field);
    stream.end();
    client.close();
  });
}

test("the repository is listed; loading and unloading take the right to", async () => {
  const models = createModels();
  const launcher = createFakeLauncher({ models, store: { small: {}, other: {} } });
  launcher.launch({ name: "first" });
  await using gate = await openTestGate({ models, repository: { launcher } });
  await using client = connect(gate.url, "ours");
  const index = async (request = {}): Promise<unknown> =>
    (await client.call("RepositoryIndex", request)).message["models"];
  const first = { name: "first", version: "1.0", state: "READY", reason: "" };
  assert.deepEqual(await index(), [first]);

  // KServe's field, then Triton's, whose first one names a repository.
  const { message } = await client.call("RepositoryModelLoad", { model_name: "small" });
  assert.deepEqual(message, { model_name: "small", isLoaded: true });
  await client.call("RepositoryModelLoad", { model_name: "shelf", triton_model_name: "other" });
  assert.deepEqual(
    models.list.map(({ name }) => name),
    ["first", "small", "other"],
  );

  const unloaded = await client.call("RepositoryModelUnload", { model_name: "first" });
  assert.deepEqual(unloaded.message, { model_name: "first", isUnloaded: true });
  const [now] = (await index()) as readonly { readonly state: string }[];
  assert.equal(now?.state, "UNAVAILABLE");
  const ready = (await index({ ready: true })) as readonly { readonly name: string }[];
  assert.deepEqual(
    ready.map(({ name }) => name),
    ["small", "other"],
  );
  await client.call("RepositoryModelLoad", {
    model_name: "third",
    parameters: { url: { string_param: "small" } },
  });
  assert.equal(models.find("third").origin, "small");
  await assert.rejects(
    client.call("RepositoryModelLoad", { model_name: "x", parameters: { config: {} } }),
    refusal("INVALID_ARGUMENT", /there is no parameter "config", wanted "url" or none/),
  );
  await assert.rejects(client.call("RepositoryModelLoad"), refusal("INVALID_ARGUMENT", /empty/));
  await assert.rejects(
    client.call("RepositoryModelUnload", { model_name: "nobody" }),
    refusal("NOT_FOUND", /"nobody"/),
  );

  await using closed = await openTestGate({ models });
  await using stranger = connect(closed.url, "ours");
  for (const method of ["RepositoryModelLoad", "RepositoryModelUnload"])
    await assert.rejects(
      stranger.call(method, { model_name: "small" }),
      refusal("PERMISSION_DENIED", /--enable-model-api/),
    );
});

test("shut() finishes what runs, ends watches, and lets nobody in", async () => {
  let finish: (() => void) | undefined;
  const models = readyModels(async () => {
    await new Promise<void>((resolve) => (finish = resolve));
    return { kind: "json", value: "done" };
  });
  await using gate = await openTestGate({ models });
  await using client = connect(gate.url);
  await using health = connect(gate.url, "health");
  const watch = health.stream("Watch", { service: "" })[Symbol.asyncIterator]();
  assert.equal((await watch.next()).value["status"], "SERVING");
  const running = client.call("ModelInfer", { inputs: [texts("text", "hello")] });
  while (finish === undefined) await new Promise(setImmediate);

  let isShut = false;
  const shut = gate.shut().then(() => (isShut = true));
  await assert.rejects(watch.next(), refusal("UNAVAILABLE", /^Cannot go on: the server is shut/));
  assert.equal(isShut, false);
  finish();
  assert.equal((await running).message["model_name"], "owner/name");
  await shut;
  await using late = connect(gate.url);
  await assert.rejects(late.call("ServerLive"), refusal("UNAVAILABLE", /./));
});

test("close() cuts everybody off", async () => {
  const models = readyModels(() => new Promise(() => undefined));
  const gate = await openTestGate({ models });
  await using client = connect(gate.url);
  const running = client.call("ModelInfer", { inputs: [texts("text", "hello")] });
  const isCut = assert.rejects(running, /UNAVAILABLE|CANCELLED/);
  await client.call("ServerLive"); // the first call is on its way
  await gate.close();
  await isCut;
});

test("a port that is taken is told with the flag that mends it", async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const address = other.address();
  assert.ok(typeof address === "object" && address !== null);
  await assert.rejects(openTestGate({ port: address.port }), {
    code: "PORT_UNAVAILABLE",
    message: `Cannot listen on 127.0.0.1:${address.port} for gRPC: it is taken; name another with --grpc-port`,
  });
  await assert.rejects(openTestGate({ host: "192.0.2.1" }), {
    code: "PORT_UNAVAILABLE",
    message: /this machine does not have that address; name another with --grpc-host$/,
  });
  other.close();
});
