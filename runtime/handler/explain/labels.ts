/**
 * Classes by their index or their label.
 */
import { z } from "zod";

import type { ModelConfig } from "../model/folder.ts";
import { invalidInput } from "../tasks/inputs.ts";
import { ACTION } from "./parameters.ts";

const wanted = "an index or a label";

export const LabelTarget = z.union([z.int(wanted).nonnegative(wanted), z.string()], wanted);
export type LabelTarget = z.output<typeof LabelTarget>;

export function labelAt({ id2label }: ModelConfig, index: number): string {
  return String(id2label?.[index] ?? `LABEL_${index}`);
}

/** Labels that a message names; a model may have thousands. */
const MOST_NAMED = 20;

/**
 * @param L How many classes there are.
 * @param name What the client calls the target.
 * @throws `INVALID_INPUT` when there is no such class.
 */
export function indexOfLabel(
  config: ModelConfig,
  target: LabelTarget,
  L: number,
  name: string,
): number {
  const labels = Array.from({ length: L }, (_, index) => labelAt(config, index));
  const index = typeof target === "number" ? target : labels.indexOf(target);
  if (index >= 0 && index < L) return index;
  const found = typeof target === "number" ? String(target) : JSON.stringify(target.slice(0, 40));
  const named = labels.slice(0, MOST_NAMED).map((label) => JSON.stringify(label));
  const more = L > MOST_NAMED ? ` and ${L - MOST_NAMED} more` : "";
  const choice = `an index below ${L}, or one of ${named.join(", ")}${more}`;
  throw invalidInput(ACTION, `"${name}" is ${found}, wanted ${choice}`);
}
