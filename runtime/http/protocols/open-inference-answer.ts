/**
 * Answers as tensors. A graph's outputs are some already. Of everything else the elements are the predictions:
 *
 * | answer                                   | tensor |
 * |------------------------------------------|--------|
 * | vectors of one length (embeddings)       | `FP32 [n, hidden]` |
 * | scores (ranking, similarity)             | `FP32 [n]` |
 * | text                                     | `BYTES [n]` |
 * | anything structured                      | `BYTES [n]`, each JSON; `content_type: "hg_jsonlist"`, MLServer's convention |
 * | a file                                   | `BYTES [1]`; its type in `media_type` |
 *
 * A custom handler's numbers are `FP64`, in the shape in which it nested them.
 */
import { isFields } from "../../fields.ts";
import { RuntimeError } from "../../errors.ts";
import type { InferenceOutput, JsonValue } from "../../inference.ts";
import type { OipParameters, OipTensor } from "./open-inference-exchange.ts";

/** How a JSON answer is cut into predictions. */
export interface Answering {
  /** Whether the default handler answers, whose numbers are single floats. */
  readonly isDefault: boolean;
  /** How many predictions a list may be the list of; `undefined` where any answer is one prediction. */
  readonly count: number | undefined;
  /** How many texts are ranked, where that is asked for. */
  readonly ranks?: number | undefined;
  /** What becomes of an answer before it is cut. */
  readonly finish?: (answer: JsonValue) => JsonValue;
}

/** A stream that is gathered may not have more chunks. */
const MOST_CHUNKS = 100_000;

/** @throws RuntimeError `NOT_SUPPORTED` for a stream that is too long to be gathered; whatever a stream throws. */
export async function toOutputs(
  output: InferenceOutput,
  answering: Answering,
  name: string,
): Promise<readonly OipTensor[]> {
  switch (output.kind) {
    case "tensors":
      return output.tensors;
    case "json": {
      const answer = answering.finish?.(output.value) ?? output.value;
      return [{ name, ...toTensor(answer, answering) }];
    }
    case "media": {
      const { bytes, contentType } = output.media;
      const parameters = { media_type: contentType };
      return [{ name, datatype: "BYTES", shape: [1], data: [bytes], parameters }];
    }
    case "stream":
      return [{ name, ...toBytes(await gather(output.chunks)) }];
  }
}

type Unnamed = Omit<OipTensor, "name">;

function toTensor(answer: JsonValue, { isDefault, count, ranks }: Answering): Unnamed {
  const scores = ranks === undefined ? undefined : toRankedScores(answer, ranks);
  const numbers = isDefault ? toScores(scores ?? answer) : toNumbers(answer);
  if (numbers !== undefined) return numbers;
  const isList = Array.isArray(answer) && count !== undefined && answer.length === count;
  return toBytes(isList ? (answer as readonly JsonValue[]) : [answer]);
}

/** Predictions that are texts as they are, any others as JSON. */
function toBytes(predictions: readonly JsonValue[]): Unnamed {
  const isText = predictions.every((each) => typeof each === "string");
  const texts = isText ? predictions : predictions.map((each) => JSON.stringify(each));
  const parameters: OipParameters = { content_type: "hg_jsonlist" };
  return {
    datatype: "BYTES",
    shape: [predictions.length],
    data: texts.map((text) => new Uint8Array(Buffer.from(text))),
    ...(!isText && { parameters }),
  };
}

/** What the default handler's tasks answer with nothing but numbers. */
function toScores(answer: JsonValue): Unnamed | undefined {
  if (isFields(answer)) {
    const [key, ...more] = Object.keys(answer);
    const isScores = more.length === 0 && (key === "scores" || key === "similarities");
    const scores = isScores ? answer[key] : undefined;
    return scores === undefined ? undefined : toScores(scores);
  }
  const shape = shapeOf(answer);
  if (shape === undefined || shape.length === 0 || shape.length > 2) return undefined;
  return { datatype: "FP32", shape, data: Float32Array.from(flatten(answer)) };
}

/** A ranking of all the texts, best first, as scores in the order in which they were sent. */
function toRankedScores(answer: JsonValue, count: number): readonly number[] | undefined {
  if (!Array.isArray(answer) || answer.length !== count) return undefined;
  const scores: number[] = Array.from({ length: count });
  for (const each of answer as readonly JsonValue[]) {
    if (!isFields(each) || Object.keys(each).join() !== "index,score") return undefined;
    const { index, score } = each;
    if (typeof index !== "number" || typeof score !== "number") return undefined;
    scores[index] = score;
  }
  return scores;
}

function toNumbers(answer: JsonValue): Unnamed | undefined {
  const shape = shapeOf(answer);
  if (shape === undefined) return undefined;
  return {
    datatype: "FP64",
    shape: shape.length === 0 ? [1] : shape,
    data: Float64Array.from(flatten(answer)),
  };
}

/**
 * The shape of numbers nested regularly. JSON has no NaN, so `null` beside numbers stands for it.
 *
 * @returns `undefined` for anything else; also for lists of nothing, which may be the answer of a task that found nothing.
 */
function shapeOf(value: JsonValue): readonly number[] | undefined {
  if (typeof value === "number") return [];
  if (!Array.isArray(value) || value.length === 0) return undefined;
  const elements: readonly JsonValue[] = value;
  if (!Array.isArray(elements[0])) {
    const isNumbers = elements.every((each) => typeof each === "number" || each === null);
    return isNumbers && elements.some((each) => each !== null) ? [elements.length] : undefined;
  }
  const inner = shapeOf(elements[0]);
  if (inner === undefined) return undefined;
  // Each element once: looking at the first twice would double the work with every level.
  const isRegular = elements.slice(1).every((each) => {
    const shape = shapeOf(each);
    return shape?.length === inner.length && shape.every((length, i) => length === inner[i]);
  });
  return isRegular ? [elements.length, ...inner] : undefined;
}

function flatten(value: JsonValue): number[] {
  const list: readonly JsonValue[] = Array.isArray(value) ? value.flat(Infinity) : [value];
  return list.map((each) => (typeof each === "number" ? each : Number.NaN));
}

async function gather(chunks: AsyncIterable<JsonValue>): Promise<readonly JsonValue[]> {
  const gathered: JsonValue[] = [];
  for await (const chunk of chunks) {
    if (gathered.length === MOST_CHUNKS) {
      throw new RuntimeError(
        "NOT_SUPPORTED",
        `Cannot answer: the handler streams more than ${MOST_CHUNKS} chunks, and an inference response is one piece; ask on POST /`,
      );
    }
    gathered.push(chunk);
  }
  return gathered;
}
