/**
 * A client of gRPC for tests, built from the Open Inference Protocol's own file and not from ours; and our server beside it.
 */
import { fileURLToPath } from "node:url";
import {
  credentials,
  makeGenericClientConstructor,
  Metadata,
  status as Status,
  type ServiceDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { service as healthService } from "grpc-health-check";

import { openGrpcGate, type GrpcGate, type GrpcOptions } from "../../runtime/grpc/server.ts";
import { loadInferenceDefinitions } from "../../runtime/grpc/definitions.ts";
import { INFERENCE_SERVICE } from "../../runtime/grpc/inference-proto.ts";
import { createMetrics } from "../../runtime/observe/metrics.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { readyModels } from "./app-matrix.ts";
import type { Hubserve } from "./hubserve.ts";

/** The specification's file, as it was published. */
export const SPECIFICATION = fileURLToPath(
  new URL("../fixtures/oip/open_inference_grpc.proto", import.meta.url),
);

const LOADING = { keepCase: true, longs: String, enums: String, oneofs: true } as const;

/** What a call came to. Fields that the answer leaves out are absent. */
export interface Answer {
  readonly message: Record<string, unknown>;
  /** What came before the message. */
  readonly metadata: Metadata;
}

export interface CallSettings {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

export interface GrpcClient extends AsyncDisposable {
  /** Rejects with a `ServiceError`. */
  call(method: string, request?: object, settings?: CallSettings): Promise<Answer>;
  /** The messages of a stream, as they come; it is left when the loop is. */
  stream(method: string, request: object): AsyncIterable<Record<string, unknown>>;
}

/** @param service The specification's; `health`; or ours, which has the repository's calls too. */
export function connect(
  target: string,
  service: "specification" | "health" | "ours" = "specification",
): GrpcClient {
  const definitions = definitionOf(service);
  const Client = makeGenericClientConstructor(definitions, "Client");
  const client = new Client(target, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
  });
  return {
    call(method, request = {}, { metadata = {}, deadlineMs, signal } = {}) {
      const sent = new Metadata();
      for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
      return new Promise((resolve, reject) => {
        let head = new Metadata();
        const definition = definitions[method]!;
        const call = client.makeUnaryRequest(
          definition.path,
          (value: object) => definition.requestSerialize(value),
          (bytes) => definition.responseDeserialize(bytes) as Record<string, unknown>,
          request,
          sent,
          deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs },
          (error, message) => {
            if (error === null) resolve({ message: message ?? {}, metadata: head });
            else reject(error);
          },
        );
        call.on("metadata", (received) => (head = received));
        signal?.addEventListener("abort", () => call.cancel(), { once: true });
      });
    },
    async *stream(method, request) {
      const definition = definitions[method]!;
      const call = client.makeServerStreamRequest(
        definition.path,
        (value: object) => definition.requestSerialize(value),
        (bytes) => definition.responseDeserialize(bytes) as Record<string, unknown>,
        request,
      );
      try {
        yield* call as AsyncIterable<Record<string, unknown>>;
      } finally {
        call.cancel();
      }
    },
    async [Symbol.asyncDispose]() {
      client.close();
    },
  };
}

function definitionOf(service: "specification" | "health" | "ours"): ServiceDefinition {
  if (service === "health") return healthService;
  const messages =
    service === "ours" ? loadInferenceDefinitions().messages : loadSync(SPECIFICATION, LOADING);
  return messages[INFERENCE_SERVICE] as ServiceDefinition;
}

export interface TestGate extends GrpcGate, AsyncDisposable {}

/** Our server on a free port, with a model that echoes. */
export async function openTestGate(options: Partial<GrpcOptions> = {}): Promise<TestGate> {
  const models = options.models ?? readyModels();
  const gate = await openGrpcGate({
    host: "127.0.0.1",
    port: 0,
    models,
    metrics: createMetrics(),
    maxMessageBytes: 100_000,
    requestTimeoutMs: 10_000,
    version: "0.0.0",
    log: silentLog(),
    ...options,
  });
  return {
    ...gate,
    async [Symbol.asyncDispose]() {
      await gate.close();
    },
  };
}

/** What a call is refused with: for `assert.rejects`. */
export function refusal(code: keyof typeof Status, details: RegExp): (error: unknown) => boolean {
  return (error) => {
    const { code: found, details: text } = error as ServiceError;
    const name = found === undefined ? String(error) : Status[found];
    if (name === code && details.test(text)) return true;
    throw new Error(`found ${name} "${text}", wanted ${code} ${details}`, { cause: error });
  };
}

/** A tensor of texts. */
export function texts(name: string, ...values: readonly string[]): object {
  return {
    name,
    datatype: "BYTES",
    shape: [values.length],
    contents: { bytes_contents: values.map((value) => Buffer.from(value)) },
  };
}

/** Where a program that was started with `--grpc-port` listens for gRPC. */
export async function grpcTargetOf(server: Pick<Hubserve, "line">): Promise<string> {
  const line = await server.line(/gRPC on /);
  return /gRPC on (\S+)/.exec(line)?.[1] ?? "";
}
