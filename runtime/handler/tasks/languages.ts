/**
 * Models that translate between many languages: which they know, and where a text says its own.
 *
 * M2M100, NLLB and mBART mark a text with a special token for its language, beside the text, and force the first token
 * of the answer to be that of the language wanted. They spell the tokens `__de__`, `deu_Latn` and `de_DE`; clients send
 * `de`, `deu_Latn` and `de_DE`, as with Python's tokenizers.
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";

import { nearestWord } from "../../nearest-word.ts";

export interface Languages {
  /** As clients name them, in the tokenizer's order; at least two. */
  readonly codes: readonly string[];
  /** What the tokenizer's own settings name. */
  readonly source?: string;
  readonly target?: string;
  /** The token of a language. */
  idOf(code: string): number | undefined;
  /** A tokenized text as one of that language. */
  withSource(inputIds: readonly number[], code: string): readonly number[];
}

const SPELLINGS = [/^__([a-z]{2,3})__$/, /^([a-z]{3}_[A-Z][a-z]{3})$/, /^([a-z]{2}_[A-Z]{2})$/];

/** @returns `undefined` for a tokenizer that marks no languages. */
export function languagesOf(tokenizer: PreTrainedTokenizer): Languages | undefined {
  const ids = new Map<string, number>();
  for (const token of tokenizer.all_special_tokens) {
    const code = SPELLINGS.map((spelling) => spelling.exec(token)?.[1]).find(Boolean);
    const [id] = tokenizer.convert_tokens_to_ids([token]);
    if (code !== undefined && typeof id === "number") ids.set(code, id);
  }
  if (ids.size < 2) return undefined;
  const marks = new Set(ids.values());
  const own = (key: "src_lang" | "tgt_lang"): string | undefined => {
    const code: unknown = tokenizer.config[key];
    return typeof code === "string" && ids.has(code) ? code : undefined;
  };
  const source = own("src_lang");
  const target = own("tgt_lang");
  return {
    codes: [...ids.keys()],
    ...(source !== undefined && { source }),
    ...(target !== undefined && { target }),
    idOf: (code) => ids.get(code),
    withSource(inputIds, code) {
      const mark = ids.get(code);
      // The mark is first, or, as NLLB and mBART once had it, last; one between them is the client's own text.
      const at = marks.has(inputIds[0] ?? -1) ? 0 : inputIds.length - 1;
      if (mark === undefined || !marks.has(inputIds[at] ?? -1)) return inputIds;
      return inputIds.with(at, mark);
    },
  };
}

/** The known languages in a sentence: the one that was probably meant, and some of the others. */
export function describeLanguages({ codes }: Languages, given: string | undefined): string {
  const near = given === undefined ? undefined : nearestWord(given, codes);
  const meant = near === undefined ? "" : `perhaps you mean "${near}"; `;
  const some = codes.slice(0, 8).join(", ");
  return `${meant}known are ${some}${codes.length > 8 ? ` and ${codes.length - 8} more` : ""}`;
}
