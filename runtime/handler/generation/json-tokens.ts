/**
 * The bytes that each token of a vocabulary writes, one table for each tokenizer, made when it is first asked for.
 *
 * Two kinds of tokenizers are known, which are those of models that generate: bytes written as characters (GPT-2, Llama 3, Qwen), and
 * SentencePiece's, with `▁` for a space and `<0x0A>` for a byte (Llama 2, Mistral, Gemma). What a token says by itself cannot be
 * asked of `decode`, which has no text for half a character.
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";

export interface TokenBytes {
  /** One more than the largest id. */
  readonly size: number;
  /** All tokens' bytes in a row. */
  readonly bytes: Uint8Array;
  /** Where a token's bytes begin, and, in the next place, where they end; tokens that write nothing, special ones among them, have none. */
  readonly starts: Uint32Array;
  /** For each byte the tokens that begin with it. */
  readonly byFirst: readonly Int32Array[];
}

const Decoder = z.looseObject({
  type: z.string(),
  decoders: z.array(z.unknown()).nullish(),
  replacement: z.string().nullish(),
  content: z.string().nullish(),
  pattern: z.looseObject({ String: z.string().nullish() }).nullish(),
});
type Decoder = z.infer<typeof Decoder>;

const tables = new WeakMap<PreTrainedTokenizer, TokenBytes>();

/** @throws `NOT_SUPPORTED` where the tokenizer is of another kind. */
export function tokenBytesOf(tokenizer: PreTrainedTokenizer): TokenBytes {
  let table = tables.get(tokenizer);
  if (table === undefined) {
    table = makeTable(tokenizer);
    assertFaithful(table, tokenizer);
    tables.set(tokenizer, table);
  }
  return table;
}

function makeTable(tokenizer: PreTrainedTokenizer): TokenBytes {
  const read = readerOf(tokenizer);
  const added = tokenizer._tokenizer.get_added_tokens_decoder();
  const special = new Set(tokenizer.all_special_ids);
  const texts: (Uint8Array | undefined)[] = [];
  for (const [token, id] of tokenizer.get_vocab()) {
    const own = added.get(id);
    if (special.has(id) || own?.special === true) continue;
    texts[id] = own === undefined ? read(token) : Buffer.from(own.content);
  }
  const size = texts.length;
  const starts = new Uint32Array(size + 1);
  const byFirst: number[][] = Array.from({ length: 256 }, () => []);
  for (let id = 0; id < size; id++) {
    starts[id + 1] = (starts[id] ?? 0) + (texts[id]?.length ?? 0);
    byFirst[texts[id]?.[0] ?? -1]?.push(id);
  }
  const bytes = new Uint8Array(starts[size] ?? 0);
  for (const [id, text] of texts.entries()) if (text !== undefined) bytes.set(text, starts[id]);
  return { size, bytes, starts, byFirst: byFirst.map((ids) => Int32Array.from(ids)) };
}

/** How the tokens of this vocabulary are written. */
function readerOf(tokenizer: PreTrainedTokenizer): (token: string) => Uint8Array | undefined {
  const json: Record<string, unknown> = tokenizer._tokenizerJSON;
  const decoders = partsOf(json["decoder"]);
  const types = decoders.map(({ type }) => type);
  if (types.includes("ByteLevel")) return bytesOfCharacters;
  const isKnown = ["Metaspace", "Replace", "ByteFallback", "Fuse", "Strip"];
  if (types.length === 0 || types.some((type) => !isKnown.includes(type))) throw unknownKind();
  const spaces = decoders.flatMap(({ type, replacement, pattern, content }) => {
    if (type === "Metaspace") return [[replacement ?? "▁", " "] as const];
    return type === "Replace" ? [[pattern?.String ?? "", content ?? ""] as const] : [];
  });
  if (spaces.some(([from]) => from === "")) throw unknownKind(); // a pattern that is no text
  const hasBytes = types.includes("ByteFallback");
  return (token) => {
    const byte = hasBytes ? /^<0x([0-9A-F]{2})>$/i.exec(token)?.[1] : undefined;
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
    return Buffer.from(spaces.reduce((text, [from, to]) => text.replaceAll(from, to), token));
  };
}

/** A decoder's parts, in order; one that is no sequence is its own. */
function partsOf(config: unknown): readonly Decoder[] {
  const decoder = Decoder.safeParse(config).data;
  if (decoder === undefined) return [];
  return decoder.type === "Sequence" ? (decoder.decoders ?? []).flatMap(partsOf) : [decoder];
}

/** GPT-2's `bytes_to_unicode`: visible bytes stand for themselves, the others come after U+0100 in their order. */
function bytesByCharacter(): ReadonlyMap<string, number> {
  const map = new Map<string, number>();
  let hidden = 0;
  for (let byte = 0; byte < 256; byte++)
    map.set(String.fromCodePoint(isVisible(byte) ? byte : 256 + hidden++), byte);
  return map;
}

const BYTES = bytesByCharacter();

function isVisible(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/** @returns `undefined` for what is not made of such characters. */
function bytesOfCharacters(token: string): Uint8Array | undefined {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = BYTES.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

/** What every vocabulary can write, in most of the ways that tokens are cut. */
const SAMPLE = `{"a": [1, true], "some words": null}`;

/** The table says what the tokenizer says. @throws `NOT_SUPPORTED` */
function assertFaithful({ bytes, starts, size }: TokenBytes, tokenizer: PreTrainedTokenizer): void {
  const ids = tokenizer.encode(SAMPLE, { add_special_tokens: false });
  const written = ids.map((id) =>
    id < size ? Buffer.from(bytes.subarray(starts[id], starts[id + 1])).toString("latin1") : "",
  );
  if (written.join("").trim() !== SAMPLE) throw unknownKind();
}

function unknownKind(): RuntimeError {
  return new RuntimeError(
    "NOT_SUPPORTED",
    "Cannot write JSON: it is not known which bytes this model's tokens stand for, wanted a byte-level or a SentencePiece tokenizer; ask for text",
  );
}
