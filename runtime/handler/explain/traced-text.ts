/**
 * A text, or two, cut to what the model reads, with the place of every token.
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";

import { messageOf } from "../../errors.ts";
import type { Encoder, EncodeOptions } from "../model/encoder.ts";
import { cutWindows } from "../model/offsets/windows.ts";
import { createTracer, type TracedEncoding, type Tracer } from "../model/token-offsets.ts";
import {
  keptLengths,
  type Encoding,
  type Truncation,
  type TruncationSide,
} from "../model/truncation.ts";
import { ACTION } from "./parameters.ts";

/** How to tokenize a text, and who is told. */
export interface TraceOptions extends Omit<EncodeOptions, "action"> {
  readonly warn: (text: string) => void;
}

/** Finds the places of tokens; where it cannot, it says so and answers `undefined`. */
export type LenientTracer = (
  text: string,
  pair: string | undefined,
  warn: (text: string) => void,
) => TracedEncoding | undefined;

/**
 * A tracer made when it is first needed. Where it cannot follow the tokenizer, tokens have no places: an explanation
 * without words is better than none, and a model that is not explained does not even notice.
 *
 * @param create What finds places.
 */
export function openLenientTracer(
  tokenizer: PreTrainedTokenizer,
  wantsTypes: boolean,
  create: (tokenizer: PreTrainedTokenizer, wantsTypes: boolean) => Tracer = createTracer,
): LenientTracer {
  let trace: Tracer | undefined;
  return (text, pair, warn) => {
    try {
      trace ??= create(tokenizer, wantsTypes);
      return trace(text, pair);
    } catch (error) {
      const problem = `its tokens were not found in the text: ${messageOf(error)}`;
      warn(`The explanation has no spans, as ${problem}`);
      return undefined;
    }
  };
}

/** Tokens without places, of which only the special ones are known. */
export function withoutPlaces(encoding: Encoding, tokenizer: PreTrainedTokenizer): TracedEncoding {
  const specials = new Set(tokenizer.all_special_ids);
  const length = encoding.inputIds.length;
  return {
    ...encoding,
    texts: Int8Array.from(encoding.inputIds, (id) => (specials.has(id) ? -1 : 0)),
    starts: new Int32Array(length),
    ends: new Int32Array(length),
    words: new Int32Array(length).fill(-1),
  };
}

/** @throws `INVALID_INPUT` when the text is too long and may not, or cannot, be cut. */
export function traceText(
  { encode, tokenizer }: Pick<Encoder, "encode" | "tokenizer">,
  trace: LenientTracer,
  text: string,
  options: TraceOptions,
): TracedEncoding {
  // As predictions read it, and with the same refusals and warnings; the trace is cut to the same tokens.
  const encoding = encode(text, { ...options, action: ACTION });
  const whole = trace(text, options.pair, options.warn);
  if (whole === undefined) return withoutPlaces(encoding, tokenizer);
  const side = tokenizer.config.truncation_side === "left" ? "left" : "right";
  return cutTo(encoding.inputIds, whole, options.truncation, side);
}

/**
 * The part of a trace that is `inputIds`.
 *
 * @param truncation How `inputIds` were cut, `side` where.
 */
export function cutTo(
  inputIds: readonly number[],
  whole: TracedEncoding,
  truncation: Truncation,
  side: TruncationSide,
): TracedEncoding {
  if (inputIds.length === whole.inputIds.length || truncation === "none") return whole;
  const [first = 0, second = 0] = [0, 1].map((owner) => countOf(whole, owner));
  const specials = whole.inputIds.length - first - second;
  const kept = keptLengths(first, second, inputIds.length - specials, truncation);
  const cut = kept && cutText(cutText(whole, 1, kept[1], side), 0, kept[0], side);
  if (cut?.inputIds.length !== inputIds.length || cut.inputIds.some((id, t) => id !== inputIds[t]))
    throw new Error("the trace was cut to other tokens than the text");
  return cut;
}

function countOf({ texts }: TracedEncoding, owner: number): number {
  return texts.reduce((count, each) => count + Number(each === owner), 0);
}

/** Leaves `kept` tokens of one text. */
function cutText(
  encoding: TracedEncoding,
  text: 0 | 1,
  kept: number,
  side: TruncationSide,
): TracedEncoding {
  const length = countOf(encoding, text);
  if (kept >= length) return encoding;
  const maxTokens = encoding.inputIds.length - length + kept;
  const [first = encoding] = cutWindows(encoding, { text, maxTokens, stride: 0, side });
  return first;
}
