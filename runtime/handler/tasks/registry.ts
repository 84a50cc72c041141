/**
 * The tasks that the default handler serves, one line each.
 *
 * To add one: write `<task>.ts` beside this file, name it here, and let a test compare it with a golden of the Python
 * pipeline. `../model/choose-task.ts` already knows which architectures ask for it. A task's file is loaded only where
 * the task is served: some bring decoders and processors with them.
 */
import type { Task } from "./task.ts";

/** A task's label on the shelf. */
export interface TaskEntry {
  /** The Hub's name of the task (`pipeline_tag`). */
  readonly name: string;
  /** Other names that mean the same. */
  readonly aliases: readonly string[];
  load(): Promise<Task>;
}

export const TASKS: readonly TaskEntry[] = [
  {
    name: "feature-extraction",
    aliases: ["embeddings", "sentence-embeddings"],
    load: async () => (await import("./feature-extraction.ts")).featureExtraction,
  },
  {
    name: "fill-mask",
    aliases: [],
    load: async () => (await import("./fill-mask.ts")).fillMask,
  },
  {
    name: "sentence-similarity",
    aliases: [],
    load: async () => (await import("./sentence-similarity.ts")).sentenceSimilarity,
  },
  {
    name: "text-classification",
    aliases: ["sentiment-analysis"],
    load: async () => (await import("./text-classification.ts")).textClassification,
  },
];

/** The task that `name` means, by its own name or an alias. */
export function findTask(name: string): TaskEntry | undefined {
  const wanted = name.trim().toLowerCase();
  return TASKS.find((task) => task.name === wanted || task.aliases.includes(wanted));
}
