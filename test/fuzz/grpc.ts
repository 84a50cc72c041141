/**
 * The gRPC port: messages that were real, and what is left of them, as bytes on a real connection.
 */
import { Client, credentials, Metadata, status as Status, type ServiceError } from "@grpc/grpc-js";

import { loadInferenceDefinitions } from "../../runtime/grpc/definitions.ts";
import { INFERENCE_SERVICE } from "../../runtime/grpc/inference-proto.ts";
import { openTestGate, texts } from "../support/grpc.ts";
import { registerFakes } from "./fake-models.ts";
import { listen } from "./http.ts";
import { mutateMessage } from "./protobuf.ts";
import { pick, spread, type Recipe } from "./recipe.ts";
import { asDefect, Defect, plainRecipes, type Session, type Target } from "./target.ts";

interface Seed {
  readonly method: string;
  readonly message: object;
}

const SEEDS: readonly Seed[] = [
  {
    method: "ModelInfer",
    message: {
      model_name: "classify",
      id: "1",
      inputs: [texts("text", "a", "b")],
      parameters: { top_k: { int64_param: 1 } },
    },
  },
  {
    method: "ModelInfer",
    message: { model_name: "custom", inputs: [texts("a", "b")], outputs: [{ name: "y" }] },
  },
  {
    method: "ModelInfer",
    message: {
      model_name: "graph",
      inputs: [
        { name: "x", datatype: "FP32", shape: [1, 2], contents: { fp32_contents: [1, 2] } },
        { name: "ids", datatype: "INT64", shape: [1, 1], contents: { int64_contents: [5] } },
        texts("names", "a"),
      ],
    },
  },
  {
    method: "ModelInfer",
    message: {
      model_name: "graph",
      inputs: [
        { name: "x", datatype: "FP32", shape: [1, 2] },
        { name: "ids", datatype: "INT64", shape: [1, 1] },
        { name: "names", datatype: "BYTES", shape: [1] },
      ],
      raw_input_contents: [Buffer.alloc(8), Buffer.alloc(8), Buffer.from([1, 0, 0, 0, 65])],
    },
  },
  {
    method: "ModelInfer",
    message: {
      model_name: "gpt",
      inputs: [texts("text", "Once")],
      parameters: { max_new_tokens: { int64_param: 3 } },
    },
  },
  { method: "ModelMetadata", message: { name: "graph", version: "1.0" } },
  { method: "ModelReady", message: { name: "classify" } },
  { method: "ServerLive", message: {} },
  { method: "ServerReady", message: {} },
  { method: "ServerMetadata", message: {} },
  { method: "RepositoryIndex", message: { ready: true } },
  {
    method: "RepositoryModelLoad",
    message: { model_name: "x", parameters: { url: { string_param: "other.mar" } } },
  },
  { method: "RepositoryModelUnload", message: { model_name: "custom" } },
];

/** What a client's mistake must never be called. */
const OUR_FAULT = new Set([Status.UNKNOWN, Status.INTERNAL, Status.DATA_LOSS]);

const METADATA: readonly (readonly [string, string])[] = [
  ["x-request-id", "a b"],
  ["x-request-id", "x".repeat(4000)],
  ["authorization", "Bearer x"],
  ["explain", "True"],
  ["traceparent", "00-0-0-0"],
  ["a".repeat(100), "b".repeat(2000)],
];

export const GRPC_TARGET: Target = { name: "grpc", open: openGrpc };

async function openGrpc(): Promise<Session> {
  const { log, heard } = listen();
  const gate = await openTestGate({ models: registerFakes("custom"), log });
  const client = new Client(`127.0.0.1:${gate.port}`, credentials.createInsecure());
  // Proof of the cast: the service is an object of methods.
  const { messages } = loadInferenceDefinitions();
  const service = messages[INFERENCE_SERVICE] as unknown as Record<string, Method>;
  const seeds = SEEDS.map(({ method, message }) => {
    const { path, requestSerialize } = service[method]!; // SEEDS names those that there are
    return { path, bytes: new Uint8Array(requestSerialize(message)) };
  });
  const others = seeds.map(({ bytes }) => bytes);

  function make({ seed, steps }: Recipe): { path: string; bytes: Uint8Array } {
    const { path, bytes } = pick(seeds, seed);
    return {
      path,
      bytes: steps.reduce<Uint8Array>((all, step) => mutateMessage(all, step, others), bytes),
    };
  }

  function call(path: string, bytes: Uint8Array, metadata: Metadata): Promise<Status> {
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        (value: Uint8Array) => Buffer.from(value),
        (value: Buffer) => value,
        bytes,
        metadata,
        { deadline: Date.now() + 15_000 },
        (error: ServiceError | null) => {
          if (error === null) return resolve(Status.OK);
          if (OUR_FAULT.has(error.code))
            reject(new Defect(`grpc ${Status[error.code]}`, `${path}: ${error.details}`));
          else if (/\n\s+at |node_modules|\.ts:\d/.test(error.details))
            reject(new Defect("grpc leak", error.details));
          else resolve(error.code);
        },
      );
    });
  }

  return {
    first: plainRecipes(seeds.length),
    show: (recipe) => make(recipe).bytes,
    async run(recipe) {
      const { path, bytes } = make(recipe);
      const metadata = new Metadata();
      const [step] = recipe.steps;
      if (step !== undefined && step[0] % 6 === 0)
        metadata.set(...pick(METADATA, spread(step[0], 9)));
      heard.length = 0;
      const code = await call(path, bytes, metadata);
      const [mistake] = heard;
      if (mistake !== undefined) throw asDefect(mistake);
      return Status[code];
    },
    async assertHealthy() {
      const [first] = seeds;
      const code = first && (await call(first.path, first.bytes, new Metadata()));
      if (code !== Status.OK) throw new Error(`a normal call is answered ${code}`);
    },
    async [Symbol.asyncDispose]() {
      client.close();
      await gate[Symbol.asyncDispose]();
    },
  };
}

interface Method {
  readonly path: string;
  readonly requestSerialize: (message: object) => Buffer;
}
