/**
 * Fuzzes one target for `run.ts`: keeps the case under way in one file and leaves its report in another.
 */
import { openSync, writeFileSync, writeSync } from "node:fs";

import { fuzz, type Found } from "./fuzz.ts";
import type { Recipe } from "./recipe.ts";
import { TARGETS } from "./targets.ts";

/** A report as JSON. */
export interface PlainReport {
  readonly target: string;
  readonly cases: number;
  readonly outcomes: readonly (readonly [string, number])[];
  readonly worstMs: number;
  /** Inputs are in base64. */
  readonly defects: readonly (Omit<Found, "input"> & { readonly input: string })[];
}

interface Job {
  readonly name: string;
  readonly seed: number;
  readonly ms: number;
  readonly cases?: string;
  readonly recipe?: Recipe;
  readonly now: string;
  readonly done: string;
}

/** Longer than any recipe as text, so that a shorter one leaves nothing of the one before. */
const PLACE_BYTES = 600;

const job = JSON.parse(process.argv[2] ?? "{}") as Job; // as `run.ts` wrote it
const target = TARGETS.find(({ name }) => name === job.name);
if (target === undefined) throw new Error(`There is no target "${job.name}"`);
const place = openSync(job.now, "r+");

const { outcomes, defects, ...report } = await fuzz(target, {
  seed: job.seed,
  ...(job.recipe !== undefined && { only: [job.recipe] }),
  ...(job.cases !== undefined && { cases: Number(job.cases) }),
  ...(job.recipe === undefined && { forMs: job.ms }),
  onCase: (recipe) => writeSync(place, JSON.stringify(recipe).padEnd(PLACE_BYTES), 0),
});
const plain: PlainReport = {
  ...report,
  outcomes: [...outcomes].toSorted(([, a], [, b]) => b - a),
  defects: defects.map((defect) => ({
    ...defect,
    input: Buffer.from(defect.input as string).toString("base64"),
  })),
};
writeFileSync(job.done, JSON.stringify(plain));
process.exit(0); // whatever a target left open
