/**
 * The labels that a zero-shot task chooses among, wherever and however a client writes them.
 *
 * The Python pipelines take a list, or one string with commas; Hugging Face's clients have sent them as
 * `candidate_labels` and `candidateLabels`, in `parameters`, at the body's root and beside the image.
 */
import { isFields } from "../../fields.ts";
import { z } from "zod";

/** More would be a vocabulary: each label costs a text's reading. */
export const MOST_LABELS = 1000;

const wanted = `a list of 1 to ${MOST_LABELS} labels, or one string with commas between them`;

/** → the labels, without the white space around them and without empty ones. */
export const CandidateLabels = z
  .union([z.string(wanted), z.array(z.string("a string"), wanted)], wanted)
  .transform((given) => (typeof given === "string" ? given.split(",") : given))
  .transform((labels) => labels.map((label) => label.trim()).filter((label) => label !== ""))
  .refine((labels) => labels.length > 0 && labels.length <= MOST_LABELS, wanted);

const NAME = "candidate_labels";
/** `text_queries` is what Python's zero-shot object detection once called them. */
const ALIASES = ["candidateLabels", "text_queries"];

/**
 * Brings labels from other names and places to where `readParameters` looks for them.
 *
 * @param parameters What the client sent as `parameters`.
 * @param places Other objects that may hold labels, the one that counts most first.
 */
export function gatherLabels(
  parameters: unknown,
  places: readonly unknown[],
): { readonly parameters: unknown; readonly elsewhere: Readonly<Record<string, unknown>> } {
  const found = places.filter((place) => isFields(place)).map(rename);
  const holder = found.find((place) => Object.hasOwn(place, NAME));
  return {
    parameters: isFields(parameters) ? rename(parameters) : parameters,
    elsewhere: holder === undefined ? {} : { [NAME]: holder[NAME] },
  };
}

/** The same with its labels under their own name. */
function rename(record: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const alias = ALIASES.find((name) => Object.hasOwn(record, name));
  if (alias === undefined || Object.hasOwn(record, NAME)) return { ...record };
  const { [alias]: labels, ...others } = record;
  return { ...others, [NAME]: labels };
}
