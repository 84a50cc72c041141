/**
 * The tasks that the default handler serves, one line each.
 *
 * To add one: write `<task>.ts` beside this file, name it here, and let a test compare it with a golden of the Python
 * pipeline. `../model-task.ts` already knows which architectures ask for it.
 */
import { featureExtraction } from "./feature-extraction.ts";
import { fillMask } from "./fill-mask.ts";
import { sentenceSimilarity } from "./sentence-similarity.ts";
import type { Task } from "./task.ts";
import { textClassification } from "./text-classification.ts";

export const TASKS: readonly Task[] = [
  featureExtraction,
  fillMask,
  sentenceSimilarity,
  textClassification,
];

/** The task that `name` means, by its own name or an alias. */
export function findTask(name: string): Task | undefined {
  const wanted = name.trim().toLowerCase();
  return TASKS.find((task) => task.name === wanted || task.aliases.includes(wanted));
}
