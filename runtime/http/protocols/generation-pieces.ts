/**
 * A streamed text and nothing else, piece by piece: what a protocol without events sends (TorchServe's).
 */
import type { GenerationEvent, GenerationRequest } from "../../generation.ts";
import type { JsonValue, ModelDescription } from "../../inference.ts";
import { readParameters, toNeutral } from "./huggingface-generation-parameters.ts";

const ACTION = "stream the text";

/**
 * The generation that a request asks for with `{"inputs": "…", "stream": true}`, of a model that generates; parameters are those of
 * `POST /`.
 *
 * @returns `undefined` for every other request.
 * @throws RuntimeError `INVALID_INPUT` where the parameters are not what they should be.
 */
export function toPieceRequest(
  { generation }: Pick<ModelDescription, "generation">,
  { stream, inputs, parameters }: Readonly<Record<string, unknown>>,
): GenerationRequest | undefined {
  if (generation === undefined || stream !== true || typeof inputs !== "string") return undefined;
  return {
    prompt: { kind: "text", text: inputs },
    parameters: toNeutral(readParameters(parameters, ACTION), 1),
    stream: true,
  };
}

/** The text that is written, without the prompt. @param events What a worker streams for kind `"generate"`. */
export function toPieces(events: AsyncIterable<JsonValue>): AsyncIterable<JsonValue> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = events[Symbol.asyncIterator]();
      return {
        async next(): Promise<IteratorResult<JsonValue, undefined>> {
          for (;;) {
            const next = await iterator.next();
            if (next.done === true) return { done: true, value: undefined };
            const piece = pieceOf(next.value as unknown as GenerationEvent); // see `events`
            if (piece !== "") return { done: false, value: piece };
          }
        },
        async return(): Promise<IteratorResult<JsonValue, undefined>> {
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

function pieceOf(event: GenerationEvent): string {
  switch (event.type) {
    case "start":
      return "";
    case "token":
      return event.text;
    case "end":
      return event.rest ?? "";
  }
}
