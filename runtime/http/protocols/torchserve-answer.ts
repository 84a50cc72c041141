/**
 * Answers as TorchServe sends them: text as it is, without quotes; anything else as `json.dumps(value, indent=2)`; a
 * stream as its pieces, one after the other, with nothing between.
 *
 * The four modes of TorchServe's transformer handler answer in its shapes: one label, `[token, label]` pairs, the answer's
 * text, the generated text. A client that sends `parameters` wants more than that handler has, and gets the task's whole
 * answer. With `original`, what hubserve adds to explanations is left out, and content types as well.
 */
import { isFields } from "../../fields.ts";
import { isRuntimeError, RuntimeError } from "../../errors.ts";
import type {
  InferenceOutput,
  InferenceRequest,
  JsonValue,
  ModelDescription,
} from "../../inference.ts";
import type { AppContext } from "../context.ts";
import { hangUp } from "../middleware.ts";
import type { Rendered } from "../render.ts";
import type { Manner } from "./torchserve-errors.ts";
import { toPythonJson } from "./torchserve-json.ts";

type Data = InferenceRequest["data"];

interface Mode {
  /** What the task must be asked to be able to answer so, … */
  readonly parameters?: Readonly<Record<string, JsonValue>>;
  /** … and to answer as the original does. */
  readonly originalParameters?: Readonly<Record<string, JsonValue>>;
  /** One input's answer. @returns `undefined` where the answer is not what the task usually gives. */
  readonly shape: (answer: JsonValue) => JsonValue | undefined;
}

const MODES: Readonly<Record<string, Mode>> = {
  "text-classification": {
    shape: (answer) => textAt(Array.isArray(answer) ? answer[0] : answer, "label"),
  },
  "token-classification": {
    // Every token, as there, without the special ones.
    parameters: { aggregation_strategy: "none", ignore_labels: [] },
    // With them, and with the padding up to `max_length`.
    originalParameters: { aggregation_strategy: "none", ignore_labels: [], all_tokens: true },
    shape: (answer) =>
      Array.isArray(answer)
        ? answer.map((token: JsonValue) => [
            textAt(token, "word") ?? null,
            textAt(token, "entity") ?? null,
          ])
        : undefined,
  },
  "question-answering": { shape: (answer) => textAt(answer, "answer") },
  "text-generation": {
    shape: (answer) => textAt(Array.isArray(answer) ? answer[0] : answer, "generated_text"),
  },
};

/** The mode in which a prediction is answered; `undefined` where the answer goes out as it is. */
export function modeOf(
  { handler, task }: ModelDescription,
  { kind, hasParameters }: { kind: InferenceRequest["kind"]; hasParameters: boolean },
): Mode | undefined {
  if (handler === "custom" || kind === "explain" || hasParameters) return undefined;
  return Object.hasOwn(MODES, task ?? "") ? MODES[task ?? ""] : undefined;
}

export function prepareForMode(
  data: Data,
  mode: Mode | undefined,
  manner: Manner = "mended",
): Data {
  const original = manner === "original" ? mode?.originalParameters : undefined;
  const parameters = original ?? mode?.parameters;
  return parameters === undefined ? data : { ...data, parameters };
}

export function finishForMode(answer: JsonValue, data: Data, mode: Mode | undefined): JsonValue {
  if (mode === undefined) return answer;
  if (!Array.isArray(data["inputs"])) return mode.shape(answer) ?? answer;
  if (!Array.isArray(answer)) return [mode.shape(answer) ?? answer]; // of a list of one question
  return answer.map((each: JsonValue) => mode.shape(each) ?? each);
}

/** What an explanation has in the original, in its order. */
const EXPLANATION_KEYS = [
  "words",
  "importances",
  "delta",
  "importances_answer_start",
  "importances_answer_end",
  "delta_start",
  "delta_end",
];

/** The default handler's explanation without what hubserve adds. */
export function toOriginalExplanation(answer: JsonValue): JsonValue {
  if (Array.isArray(answer)) return answer.map(toOriginalExplanation);
  if (!isFields(answer)) return answer;
  return Object.fromEntries(
    Object.entries(answer).filter(([key]) => EXPLANATION_KEYS.includes(key)),
  );
}

export interface RenderOptions {
  readonly manner: Manner;
  /** Whether the answer is the default handler's. */
  readonly isDefault: boolean;
}

/** @throws what a stream throws before its first piece: there is still a status to say it with. */
export async function renderOutput(
  c: AppContext,
  output: InferenceOutput,
  { manner, isDefault }: RenderOptions,
): Promise<Rendered> {
  switch (output.kind) {
    case "json": {
      const isText = typeof output.value === "string";
      const type = isText ? "text/plain; charset=utf-8" : "application/json";
      // As bytes: to a string the platform adds a type by itself.
      const body = encode(output.value, isDefault);
      return { body, headers: manner === "original" ? {} : { "content-type": type } };
    }
    case "media": {
      const { bytes, contentType } = output.media;
      return { body: new Uint8Array(bytes), headers: { "content-type": contentType } };
    }
    case "tensors": // nobody asks for them here
      throw new RuntimeError("INTERNAL", "Cannot answer: the model answered with raw tensors");
    case "stream":
      return renderStream(c, output.chunks, manner);
  }
}

function encode(value: JsonValue, isDefault: boolean): Uint8Array<ArrayBuffer> {
  const text = typeof value === "string" ? value : toPythonJson(value, isDefault);
  return new TextEncoder().encode(text);
}

async function renderStream(
  c: AppContext,
  chunks: AsyncIterable<JsonValue>,
  manner: Manner,
): Promise<Rendered> {
  const iterator = chunks[Symbol.asyncIterator]();
  let first: IteratorResult<JsonValue> | undefined = await iterator.next();
  c.get("keepWaiting")();
  const end = c.get("stopWaiting");
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const next = first ?? (await iterator.next());
          first = undefined;
          if (next.done !== true) {
            controller.enqueue(encode(next.value, false));
            return;
          }
        } catch (error) {
          // No framing, so nowhere to say it: the client must see that the body is not complete.
          if (!isRuntimeError(error)) c.get("log").error("A stream broke", { error });
          if (!hangUp(c)) {
            controller.error(error);
            end();
            return;
          }
        }
        controller.close();
        end();
      },
      async cancel() {
        await iterator.return?.();
        end();
      },
    },
    { highWaterMark: 0 },
  );
  const type = manner === "original" ? {} : { "content-type": "text/plain; charset=utf-8" };
  return { body, headers: { ...type, ts_stream_next: "true", "x-accel-buffering": "no" } };
}

function textAt(value: JsonValue | undefined, key: string): string | undefined {
  const text = isFields(value) ? value[key] : undefined;
  return typeof text === "string" ? text : undefined;
}
