/**
 * Models of every kind that protocols tell apart, answered by hand: what reaches them is checked, and they answer what their task answers.
 */
import type { Waiting } from "../../runtime/engine/engine.ts";
import { createModels, type Models } from "../../runtime/engine/models.ts";
import { RuntimeError } from "../../runtime/errors.ts";
import type {
  InferenceOutput,
  InferenceRequest,
  JsonValue,
  ModelDescription,
} from "../../runtime/inference.ts";
import { readyModels } from "../support/app-matrix.ts";
import { GENERATES, scripted, words } from "../support/scripted-generation.ts";
import { assertWellFormed } from "./well-formed.ts";

export interface FakeModel {
  readonly name: string;
  readonly version?: string;
  readonly description: Partial<ModelDescription>;
  readonly answer: (request: InferenceRequest, waiting: Waiting) => InferenceOutput;
}

const json = (value: JsonValue): InferenceOutput => ({ kind: "json", value });
const LABELS = [
  { label: "joy", score: 0.75 },
  { label: "anger", score: 0.25 },
];

/** One answer for each input, as the default handler's text tasks give them. */
function perText(one: (text: string) => JsonValue): FakeModel["answer"] {
  return ({ data, kind }) => {
    const { inputs } = data;
    if (kind === "explain") return json({ words: ["a"], importances: [1], delta: 0 });
    if (typeof inputs === "string") return json(one(inputs));
    if (Array.isArray(inputs) && inputs.every((each) => typeof each === "string"))
      return json(inputs.map((each) => one(each)));
    throw new RuntimeError("INVALID_INPUT", 'Cannot classify: "inputs" is no text');
  };
}

/** What a handler of a repository's own may answer: everything, by the size of what it was asked. */
function anything({ data, media }: InferenceRequest): InferenceOutput {
  const several = [data["instances"], data["inputs"]].find(Array.isArray);
  if (several !== undefined) return json(several.map((_, index) => index)); // one for each, as V1 wants
  const value = JSON.parse(JSON.stringify({ data, type: media?.contentType ?? null })) as JsonValue;
  switch (JSON.stringify(value).length % 7) {
    case 0:
      return { kind: "media", media: { bytes: Uint8Array.of(1, 2, 3), contentType: "image/png" } };
    case 1:
      return { kind: "stream", chunks: chunksOf([value, "text", 1, null]) };
    case 2:
      return json("a text, 😀");
    case 3:
      return json([1, 2.5, null]);
    default:
      return json(value);
  }
}

async function* chunksOf(values: readonly JsonValue[]): AsyncGenerator<JsonValue> {
  for (const value of values) {
    await new Promise((resolve) => setImmediate(resolve));
    yield value;
  }
}

const signature = {
  inputs: [
    { name: "x", datatype: "FP32", shape: [-1, 2] },
    { name: "ids", datatype: "INT64", shape: [-1, -1] },
    { name: "names", datatype: "BYTES", shape: [-1] },
  ],
  outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
} as const satisfies ModelDescription["signature"];

export const FAKE_MODELS: readonly FakeModel[] = [
  {
    name: "custom",
    description: { handler: "custom", handlerFile: "handler.ts" },
    answer: anything,
  },
  {
    name: "owner/name",
    version: "2.0",
    description: { handler: "custom", handlerFile: "handler.ts" },
    answer: anything,
  },
  {
    name: "classify",
    description: { handler: "default", task: "text-classification" },
    answer: perText(() => LABELS),
  },
  {
    name: "tokens",
    description: { handler: "default", task: "token-classification" },
    answer: perText(() => [{ word: "a", entity: "B" }]),
  },
  {
    name: "vqa",
    description: { handler: "default", task: "visual-question-answering" },
    answer: () => json([{ answer: "two", score: 0.5 }]),
  },
  {
    name: "tables",
    description: { handler: "default", task: "table-question-answering" },
    answer: () => json({ answer: "1", coordinates: [[0, 0]], cells: ["1"], aggregator: "NONE" }),
  },
  {
    name: "images",
    description: { handler: "default", task: "image-classification" },
    answer: () => json(LABELS),
  },
  {
    name: "embed",
    description: { handler: "default", task: "feature-extraction" },
    answer: perText((text) => [text.length, 0.5]),
  },
  {
    name: "similar",
    description: { handler: "default", task: "sentence-similarity" },
    answer: () => json({ similarities: [0.5, 0.25] }),
  },
  {
    name: "rank",
    description: { handler: "default", task: "text-ranking" },
    answer: () => json([{ index: 0, score: 0.5 }]),
  },
  {
    name: "graph",
    description: { handler: "default", signature },
    answer({ kind }) {
      if (kind !== "tensors")
        throw new RuntimeError("NOT_SUPPORTED", "Cannot answer: it takes tensors");
      const y = {
        name: "y",
        datatype: "FP32",
        shape: [1, 2],
        data: Float32Array.of(1, 2),
      } as const;
      return { kind: "tensors", tensors: [y] };
    },
  },
  { name: "gpt", description: GENERATES, answer: writes },
];

/** A generation; or, asked otherwise, what the task answers. */
function writes(request: InferenceRequest, waiting: Waiting): InferenceOutput {
  if (request.kind !== "generate")
    return perText(() => [{ generated_text: "a" }])(request, waiting);
  const { parameters = {} } = request.generation ?? {};
  const script = words("Once upon a time", {
    seed: 1,
    tokens: [{ text: "Once", top: ["A", "B"] }, { text: " upon" }, { text: "</s>", special: true }],
    ...(parameters.promptTokens === true && { prompt: ["a", "b"] }),
  });
  return scripted(script).answer(request, waiting);
}

/** A register whose default model is `first`; each checks what reaches it. */
export function registerFakes(first: string): Models {
  const models = createModels();
  const inOrder = FAKE_MODELS.toSorted(
    (a, b) => Number(b.name === first) - Number(a.name === first),
  );
  for (const { name, version = "1.0", description, answer } of inOrder) {
    const [ready] = readyModels((request, waiting) => {
      assertWellFormed(request);
      return answer(request, waiting);
    }, description).list;
    if (ready?.engine === undefined || ready.description === undefined) throw new TypeError(name);
    models
      .register(name, { version })
      .started({ engine: ready.engine, description: ready.description }, {});
  }
  return models;
}
