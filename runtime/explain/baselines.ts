/**
 * What an explanation counts from: the input without its content.
 *
 * Tokens that the tokenizer adds (`[CLS]`, `[SEP]`) stay, as do all that the caller wants to keep, so that what is
 * attributed is the text's doing and not the frame's.
 */

export const BASELINES = ["pad", "mask", "zero"] as const;
/** `pad`: padding tokens, as Captum's examples do; `mask`: the mask token; `zero`: embeddings of zeros. */
export type BaselineKind = (typeof BASELINES)[number];

/** The sequence to count from, as long as the input. */
export interface Baseline {
  readonly ids: readonly number[];
  /** Tokens whose embeddings are zeros, whatever their id. */
  readonly isZero?: readonly boolean[];
}

/**
 * @param isKept Whether the token at this place stays.
 * @param fillId What the others become: the padding's or the mask's id; no matter for `zero`.
 */
export function createBaseline(
  kind: BaselineKind,
  inputIds: readonly number[],
  isKept: (place: number) => boolean,
  fillId: number,
): Baseline {
  if (kind === "zero") return { ids: inputIds, isZero: inputIds.map((_, place) => !isKept(place)) };
  return { ids: inputIds.map((id, place) => (isKept(place) ? id : fillId)) };
}
