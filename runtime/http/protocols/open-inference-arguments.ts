/**
 * What the names of several `BYTES` tensors mean to a task: `question` and `context`, an `image` with its `candidate_labels`.
 *
 * To add a task's names: a row in `ARGUMENTS`. A task that is not there reads one tensor of texts, whatever its name.
 */
import { RuntimeError } from "../../errors.ts";
import { nearestWord } from "../../nearest-word.ts";

/**
 * How a tensor's elements become arguments. `each`: one for every prediction, or one for all. `list`: all of them, in a list. `one`: it has
 * one element.
 */
type Take = "each" | "list" | "one";

interface Arguments {
  /** What stands alone as `inputs` where no other input is named. */
  readonly main?: string;
  readonly inputs: Readonly<Record<string, Take>>;
  readonly parameters?: Readonly<Record<string, Take>>;
}

const LABELS = { candidate_labels: "list", hypothesis_template: "one" } as const;
const TEXT: Arguments = { main: "text", inputs: { text: "each" } };
const IMAGE: Arguments = { main: "image", inputs: { image: "each" } };
const AUDIO: Arguments = { main: "audio", inputs: { audio: "each" } };
const IMAGE_QUESTION: Arguments = { inputs: { image: "each", question: "each" } };
const LABELLED_IMAGE: Arguments = { ...IMAGE, parameters: LABELS };

/** A task's sets of names; the first that has all the names of a request counts. */
const ARGUMENTS: Readonly<Record<string, readonly Arguments[]>> = {
  "question-answering": [{ inputs: { question: "each", context: "each" } }],
  "text-classification": [{ main: "text", inputs: { text: "each", text_pair: "each" } }],
  "text-ranking": [
    { inputs: { query: "one", texts: "list" } },
    { inputs: { text: "each", text_pair: "each" } },
  ],
  "sentence-similarity": [{ inputs: { source_sentence: "one", sentences: "list" } }],
  "zero-shot-classification": [
    { main: "text", inputs: { text: "each" }, parameters: LABELS },
    { main: "sequences", inputs: { sequences: "each" }, parameters: LABELS },
  ],
  "zero-shot-image-classification": [LABELLED_IMAGE],
  "zero-shot-object-detection": [LABELLED_IMAGE],
  "zero-shot-audio-classification": [{ ...AUDIO, parameters: LABELS }],
  "visual-question-answering": [IMAGE_QUESTION],
  "document-question-answering": [IMAGE_QUESTION],
  "fill-mask": [{ ...TEXT, parameters: { targets: "list" } }],
  translation: [{ ...TEXT, parameters: { src_lang: "one", tgt_lang: "one" } }],
};

/** Elements by the name of their tensor. */
export type NamedElements = Readonly<Record<string, readonly unknown[]>>;

export interface NamedInputs {
  readonly inputs: unknown;
  readonly parameters: Readonly<Record<string, unknown>>;
  /** How many predictions are asked for; `undefined` where the answer is about all inputs together, … */
  readonly count: number | undefined;
  /** … which are so many in one list. */
  readonly listed?: number;
}

/** The inputs that a task's usual request names, for its description; parameters are left out. */
export function argumentNames(task: string): readonly string[] {
  const [{ inputs, main } = TEXT] = ARGUMENTS[task] ?? [usualArguments(task)];
  return main === undefined ? Object.keys(inputs) : [main];
}

function usualArguments(task: string): Arguments {
  if (/^(?:audio-|automatic-speech)/.test(task)) return AUDIO;
  return /image|object-detection|depth|background/.test(task) ? IMAGE : TEXT;
}

/** Whether a tensor that came alone has a name that means more than "the inputs". */
export function isArgument(name: string, task: string): boolean {
  const sets = ARGUMENTS[task] ?? [];
  return sets.some(
    ({ main, inputs, parameters = {} }) =>
      name !== main && (Object.hasOwn(inputs, name) || Object.hasOwn(parameters, name)),
  );
}

/**
 * @param named Not empty.
 * @throws RuntimeError `INVALID_INPUT` for names that the task does not know, or lengths that do not go together.
 */
export function toNamedInputs(named: NamedElements, task: string): NamedInputs {
  const { main, inputs, parameters = {} } = findArguments(Object.keys(named), task);
  const each: [name: string, elements: readonly unknown[]][] = [];
  const whole: [name: string, value: unknown][] = [];
  const beside: [name: string, value: unknown][] = [];
  for (const [name, elements] of Object.entries(named)) {
    const isInput = Object.hasOwn(inputs, name);
    const take = isInput ? inputs[name] : parameters[name];
    if (take === "each") each.push([name, elements]);
    else
      (isInput ? whole : beside).push([name, take === "list" ? elements : soleOf(name, elements)]);
  }
  const count = each.length === 0 ? undefined : countOf(each);
  const rows = Array.from({ length: count ?? 0 }, (_, row) =>
    Object.fromEntries(
      each.map(([name, elements]) => [name, elements[elements.length === 1 ? 0 : row]]),
    ),
  );
  const listed = whole.find(([, value]) => Array.isArray(value))?.[1];
  const [only, ...others] = each;
  const isBare = only !== undefined && others.length === 0 && only[0] === main;
  return {
    inputs: count === undefined ? toWhole(whole) : isBare ? rows.map((row) => row[only[0]]) : rows,
    parameters: Object.fromEntries(beside),
    count,
    ...(Array.isArray(listed) && { listed: listed.length }),
  };
}

function toWhole(entries: readonly (readonly [string, unknown])[]): unknown {
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

function findArguments(names: readonly string[], task: string): Arguments {
  const sets = ARGUMENTS[task] ?? [usualArguments(task)];
  const knows = ({ inputs, parameters = {} }: Arguments, name: string): boolean =>
    Object.hasOwn(inputs, name) || Object.hasOwn(parameters, name);
  const found = sets.find((set) => names.every((name) => knows(set, name)));
  if (found !== undefined) return found;
  const unknown = names.find((name) => !sets.some((set) => knows(set, name)));
  const known = sets.map(({ inputs, parameters = {} }) =>
    [...Object.keys(inputs), ...Object.keys(parameters)].join(", "),
  );
  const wanted = `${task} knows ${known.join(", or ")}`;
  if (unknown === undefined)
    throw refusal(`the inputs ${names.join(", ")} do not go together; ${wanted}`);
  const near = nearestWord(unknown, known.join(", ").split(", "));
  const hint = near === undefined ? "" : `, perhaps you mean "${near}"`;
  throw refusal(
    `the input "${unknown.slice(0, 100)}" is not known beside others${hint}; ${wanted}`,
  );
}

function soleOf(name: string, elements: readonly unknown[]): unknown {
  if (elements.length === 1) return elements[0];
  throw refusal(`the input "${name}" has ${elements.length} elements, wanted one`);
}

/** As many as the longest has; any other has as many, or one for all. */
function countOf(each: readonly (readonly [name: string, elements: readonly unknown[]])[]): number {
  const count = Math.max(...each.map(([, elements]) => elements.length));
  const odd = each.find(([, elements]) => elements.length !== 1 && elements.length !== count);
  if (odd === undefined) return count;
  throw refusal(`the input "${odd[0]}" has ${odd[1].length} elements, wanted ${count} or one`);
}

function refusal(problem: string): RuntimeError {
  return new RuntimeError("INVALID_INPUT", `Cannot read the inputs: ${problem}`);
}
