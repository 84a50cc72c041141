/**
 * Translation: a text in one language to one in another.
 *
 * Follows `TranslationPipeline` of Python's transformers 4.57; how texts are written is in `seq2seq.ts`. A model of many
 * languages (M2M100, NLLB, mBART) needs `src_lang` and `tgt_lang`, or its tokenizer's own; one whose configuration
 * names pairs (T5) takes the prefix of the pair; one of a single pair (Marian) needs neither.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/tiny-m2m100, whose weights are random.
 * {"inputs": "The little cat went to the park.",
 *  "parameters": {"src_lang": "en", "tgt_lang": "de", "max_new_tokens": 8}}
 * // → [{"translation_text": "ii... shell shell"}]
 * ```
 */
import { z } from "zod";

import { invalidInput, TextInputs } from "./inputs.ts";
import { describeLanguages, type Languages } from "./languages.ts";
import { openSeq2Seq, SEQ2SEQ_PARAMETERS, type DirectedModel, type Direction } from "./seq2seq.ts";
import type { Task, TaskContext } from "./task.ts";

const ACTION = "translate the text";

export const TranslationParameters = z.object({
  /** The language of the text, as the model's tokenizer names it: `en`, `eng_Latn`, `en_XX`. */
  src_lang: z.string("the code of a language").nullish(),
  /** The language wanted. */
  tgt_lang: z.string("the code of a language").nullish(),
  ...SEQ2SEQ_PARAMETERS,
});
export type TranslationParameters = z.infer<typeof TranslationParameters>;

/** One text's answer. */
type Translation = { readonly translation_text: string };
/** One per text. */
export type TranslationAnswer = readonly Translation[];

export const translation: Task = {
  inputs: TextInputs,
  parameters: TranslationParameters,
  example: { inputs: "My name is Sarah and I live in London" },
  answersListsByElement: true,
  measure: "characters",
  async open(model) {
    const opened = await openSeq2Seq(model, {
      action: ACTION,
      parameters: TranslationParameters,
      toAnswer: (text): Translation => ({ translation_text: text }),
      direct,
    });
    const { languages } = opened;
    if (languages === undefined) return opened;
    const [first = "", second = ""] = languages.codes;
    const source = languages.source ?? first;
    const target = languages.target ?? (source === first ? second : first);
    const parameters = { src_lang: source, tgt_lang: target };
    const note = `Translating between ${languages.codes.length} languages: name them as "src_lang" and "tgt_lang"`;
    const example = { inputs: "My name is Sarah and I live in London", parameters };
    return { ...opened, example, notes: [...opened.notes, note] };
  },
};

/** How `task_specific_params` names a pair. */
const PAIR = /^translation_(\w+)_to_(\w+)$/;

function direct(
  { src_lang, tgt_lang }: TranslationParameters,
  { languages, tasks }: DirectedModel,
  { warn }: TaskContext,
): Direction {
  if (languages !== undefined) {
    const source = known("src_lang", src_lang ?? languages.source, languages);
    const target = known("tgt_lang", tgt_lang ?? languages.target, languages);
    return {
      task: `translation_${source.code}_to_${target.code}`,
      source: source.code,
      forcedFirstId: target.id,
    };
  }
  const given = Object.entries({ src_lang, tgt_lang }).filter(
    ([, code]) => typeof code === "string",
  );
  const pairs = tasks.filter((task) => PAIR.test(task));
  if (pairs.length === 0) {
    for (const [name] of given) {
      warn(
        `The parameter "${name}" has no effect here: the model translates one pair of languages`,
      );
    }
    return { task: "translation" };
  }
  const task = `translation_${src_lang}_to_${tgt_lang}`;
  if (pairs.includes(task)) return { task };
  const names = pairs.map((pair) => pair.replace(PAIR, "$1 to $2")).join(", ");
  if (given.length === 0) {
    warn(`The model was not told what to translate: name "src_lang" and "tgt_lang", ${names}`);
    return { task: "translation" };
  }
  throw invalidInput(
    ACTION,
    `"src_lang" and "tgt_lang" are not a pair of this model, wanted ${names}`,
  );
}

function known(
  name: string,
  code: string | undefined,
  languages: Languages,
): { readonly code: string; readonly id: number } {
  const id = code === undefined ? undefined : languages.idOf(code);
  if (code !== undefined && id !== undefined) return { code, id };
  const found =
    code === undefined ? "missing" : `"${code.length > 40 ? `${code.slice(0, 40)}…` : code}"`;
  throw invalidInput(
    ACTION,
    `"${name}" is ${found}, wanted a language of the model, ${describeLanguages(languages, code)}`,
  );
}
