/**
 * `BYTES` tensors as the default handler's tasks read them: texts, images and sounds, one prediction each; several tensors by
 * their names (`open-inference-arguments.ts`); elements that are JSON objects as whole requests, answered as TorchServe's
 * handler answers them.
 */
import { isFields } from "../../fields.ts";
import { isUtf8 } from "node:buffer";

import { RuntimeError } from "../../errors.ts";
import type { JsonValue, ModelDescription } from "../../inference.ts";
import { isArgument, toNamedInputs, type NamedInputs } from "./open-inference-arguments.ts";
import type { OipParameters, OipTensor } from "./open-inference-exchange.ts";
import { readPayload, type Payload } from "./open-inference-payload.ts";
import { toTextOrFile, type Reading } from "./open-inference-values.ts";
import { cannotRead } from "./tensor-codec.ts";
import { finishForMode, modeOf, prepareForMode } from "./torchserve-answer.ts";
import { toRequestContent } from "./torchserve-request.ts";

type Fields = Readonly<Record<string, unknown>>;

/** A `BYTES` tensor. */
interface TextTensor extends OipTensor {
  readonly data: readonly Uint8Array[];
}

/** @throws RuntimeError `INVALID_INPUT` for tensors that the task does not read. */
export function readTexts(
  inputs: readonly OipTensor[],
  parameters: OipParameters,
  description: ModelDescription,
): Reading {
  const { task = "" } = description;
  const tensors = inputs.map((tensor) => toTextTensor(tensor, description));
  const [first, ...more] = tensors;
  if (first === undefined) throw cannotRead("the inputs", "there are none, wanted at least one");
  const payloads = more.length === 0 ? first.data.map(readPayload) : [];
  if (payloads.some((payload) => payload !== undefined))
    return fromPayloads(payloads, first, parameters, description);
  const elements = tensors.map((tensor) => [tensor.name, toElements(tensor, task)] as const);
  if (more.length === 0 && !isArgument(first.name, task)) {
    const texts = elements[0]?.[1] ?? [];
    const all = task === "sentence-similarity" ? { ...ITS_OWN_VECTORS, ...parameters } : parameters;
    return toReading({ inputs: texts, count: texts.length }, all, task);
  }
  const named = toNamedInputs(Object.fromEntries(elements), task);
  return toReading(named, { ...parameters, ...named.parameters }, task);
}

/** Most embedding models carry that task's name, and it answers texts that are not to be compared with their vectors. */
const ITS_OWN_VECTORS = { pooling: "auto" };

function toReading(
  { inputs, count, listed }: Omit<NamedInputs, "parameters">,
  parameters: Fields,
  task: string,
): Reading {
  const data = { inputs, ...(Object.keys(parameters).length > 0 && { parameters }) };
  const isWhole = count === 1 && ANSWERED_ALONE.has(task);
  const answering = { isDefault: true, count: isWhole ? undefined : count, ranks: listed };
  return { data, answering };
}

/** Tasks that answer a list of one as they answer that one alone, as Python's pipelines do. */
const ANSWERED_ALONE: ReadonlySet<string> = new Set(["question-answering", "fill-mask"]);

/** Each element a request of its own; they go together where they ask for the same. */
function fromPayloads(
  payloads: readonly (Payload | undefined)[],
  tensor: TextTensor,
  parameters: OipParameters,
  description: ModelDescription,
): Reading {
  const contents = payloads.map((payload, index): Fields => {
    if (payload === undefined) return { inputs: toText(tensor.data[index], tensor.name, index) };
    return toRequestContent({ data: payload }, "predict", description).data;
  });
  const { inputs: _inputs, ...beside } = contents[0] ?? {};
  const inputs = contents.map(({ inputs: each, ...others }, index) => {
    if (JSON.stringify(others) === JSON.stringify(beside) && !(index > 0 && Array.isArray(each)))
      return each;
    const problem = `element ${index} asks for something else than element 0, wanted one request for each`;
    throw cannotRead(`the input "${tensor.name}"`, problem);
  });
  const own = beside["parameters"];
  const all = isFields(own) || own === undefined ? { ...parameters, ...own } : own;
  const isAsked = !isFields(all) || Object.keys(all).length > 0;
  const mode = modeOf(description, { kind: "predict", hasParameters: isAsked });
  const data = {
    ...beside,
    inputs: inputs.length === 1 ? inputs[0] : inputs,
    ...(isAsked && { parameters: all }),
  };
  return {
    data: prepareForMode(data, mode),
    answering: {
      isDefault: true,
      count: inputs.length === 1 ? undefined : inputs.length,
      finish: (answer: JsonValue) => finishForMode(answer, data, mode),
    },
  };
}

function toTextTensor(tensor: OipTensor, { task, signature }: ModelDescription): TextTensor {
  const { name, datatype, data } = tensor;
  const title = `the input "${name}"`;
  if (datatype !== "BYTES" || ArrayBuffer.isView(data)) {
    const known = signature?.inputs.map((input) => input.name).join(", ");
    const graph = known === undefined ? "" : `, or the graph's inputs alone, which are ${known}`;
    const problem = `it is ${datatype}, wanted BYTES for ${task ?? "this model"}${graph}`;
    throw cannotRead(title, problem);
  }
  if (data.length === 0) throw cannotRead(title, "it has no elements, wanted at least one");
  return { ...tensor, data };
}

/** What reads files rather than texts. */
const FILE_TASK = /image|audio|speech|visual|document|object-detection|depth|background/;

/** Where a question or labels stand beside a file, they are text all the same: only bytes that are no text are files. */
function toElements({ name, data }: TextTensor, task: string): readonly unknown[] {
  const takesFiles = FILE_TASK.test(task) && task !== "text-to-audio";
  return data.map((bytes, index) =>
    takesFiles ? toTextOrFile(bytes) : toText(bytes, name, index),
  );
}

function toText(bytes: Uint8Array | undefined, name: string, index: number): string {
  if (bytes === undefined || !isUtf8(bytes)) {
    const problem = `element ${index} is not valid UTF-8, wanted text`;
    throw new RuntimeError("INVALID_INPUT", `Cannot read the input "${name}": ${problem}`);
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}
