/**
 * `inference.GRPCInferenceService`: the Open Inference Protocol's calls, on what REST makes of the same requests.
 */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";

import type { Models } from "../engine/models.ts";
import { RuntimeError } from "../errors.ts";
import { toAnswerHeaders } from "../http/exchange.ts";
import { STICKY_HEADER } from "../http/middleware.ts";
import { openExchange } from "../http/protocols/open-inference-exchange.ts";
import { describeModelMetadata } from "../http/protocols/open-inference-metadata.ts";
import { submitTraced } from "../http/submit.ts";
import type { TensorSpec } from "../inference.ts";
import { unary, type Call } from "./calls.ts";
import {
  isRaw,
  readInferRequest,
  writeInferResponse,
  type ModelInferRequest,
  type ModelInferResponse,
} from "./infer-messages.ts";
import { createRepositoryMethods, type RepositoryOptions } from "./repository-methods.ts";

export interface InferenceServiceOptions extends RepositoryOptions {
  /** The longest a request may take where its model says nothing of it, in milliseconds. */
  readonly requestTimeoutMs: number;
  readonly version: string;
}

/** Which model: `ModelReadyRequest` and `ModelMetadataRequest`. */
interface NamedModel {
  readonly name: string;
  readonly version: string;
}

interface ModelMetadataResponse {
  readonly name: string;
  readonly versions: readonly string[];
  readonly platform: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly properties: Readonly<Record<string, string>>;
}

export function createInferenceService(
  options: InferenceServiceOptions,
): UntypedServiceImplementation {
  const { models, version } = options;
  return {
    ServerLive: unary(() => ({ live: true }), options),
    ServerReady: unary(() => ({ ready: models.list.some(({ isReady }) => isReady) }), options),
    ModelReady: unary((asked: NamedModel) => ({ ready: find(models, asked).isReady }), options),
    ServerMetadata: unary(
      () => ({ name: "hubserve", version, extensions: ["model_repository"] }),
      options,
    ),
    ModelMetadata: unary((asked: NamedModel) => describe(models, asked), options),
    ModelInfer: unary((message: ModelInferRequest, call) => infer(message, call, options), options),
    ...createRepositoryMethods(options),
  };
}

async function infer(
  message: ModelInferRequest,
  call: Call,
  { models, requestTimeoutMs }: InferenceServiceOptions,
): Promise<ModelInferResponse> {
  const asked = readInferRequest(message, call.id);
  const { headers } = call;
  const ready = models.ready(
    toName(models, asked.modelName),
    asked.modelVersion,
    headers[STICKY_HEADER],
  );
  const { engine, description, model } = ready;
  const exchange = openExchange(asked, { description, requestId: call.id, headers });
  const waiting = call.waitFor(model.requestTimeoutMs ?? requestTimeoutMs);
  const result = await submitTraced(call.trace, ready, exchange.request, waiting);
  const response = await exchange.toResponse(result, model);
  const said = toAnswerHeaders(result, engine.now() - call.startedAtMs);
  for (const [name, value] of Object.entries(said)) call.setHeader(name, value);
  return writeInferResponse(response, isRaw(message));
}

function find(models: Models, { name, version }: NamedModel): ReturnType<Models["find"]> {
  return models.find(toName(models, name), version || undefined);
}

function describe(models: Models, asked: NamedModel): ModelMetadataResponse {
  const model = find(models, asked);
  const versions = models.versions(model.name).map((each) => each.version);
  const { inputs = [], outputs = [], ...rest } = describeModelMetadata(model, versions);
  return { ...rest, inputs, outputs };
}

/** An empty name is that of the only model. @throws RuntimeError `INVALID_INPUT` where there are others. */
function toName(models: Models, name: string): string | undefined {
  if (name !== "") return name;
  const names = [...new Set(models.list.map((model) => model.name))];
  if (names.length <= 1) return undefined;
  const shown = names.slice(0, 10).map((each) => `"${each}"`);
  throw new RuntimeError(
    "INVALID_INPUT",
    `Cannot tell which model is meant: the name is empty, wanted one of ${shown.join(", ")}`,
  );
}
