/**
 * What can be fuzzed, as the runner sees it.
 */
import type { Recipe } from "./recipe.ts";

export interface Target {
  /** What `--only` and the table call it. */
  readonly name: string;
  /** What it needs is brought up, and taken away with it. */
  readonly open: () => Promise<Session>;
  /** How long one case may take before it counts as hanging, where that is not `CASE_MS`. */
  readonly caseMs?: number;
}

export interface Session extends AsyncDisposable {
  /**
   * Makes the input of a recipe and shows it to the target.
   *
   * @returns What came of it, in a word for the table: `"200"`, `"INVALID_INPUT"`.
   * @throws Defect
   */
  readonly run: (recipe: Recipe) => Promise<string>;
  /** The input of a recipe, for a file that a person looks at. */
  readonly show: (recipe: Recipe) => Uint8Array | string;
  /** Recipes to begin with, before chance has its turn: each seed as it is. */
  readonly first?: readonly Recipe[];
  /** After all cases: still answers what it should. Throws otherwise. */
  readonly assertHealthy?: () => Promise<void>;
}

/** Far more than any case takes, also on a busy machine. */
export const CASE_MS = 20_000;

/** Something that must not be. */
export class Defect extends Error {
  override readonly name = "Defect";
  /** What defects that are one and the same have in common. */
  readonly kind: string;

  constructor(kind: string, message: string, options?: ErrorOptions) {
    super(`${kind}: ${message}`, options);
    this.kind = kind;
  }
}

/** A recipe for each seed as it is. */
export function plainRecipes(seeds: number): readonly Recipe[] {
  return Array.from({ length: seeds }, (_, seed) => ({ seed, steps: [] }));
}

/** A defect made of an error that nobody expected. */
export function asDefect(error: unknown): Defect {
  if (error instanceof Defect) return error;
  const text = error instanceof Error ? (error.stack ?? error.message) : `a thrown ${typeof error}`;
  return new Defect(placeOf(error), text.slice(0, 3000), { cause: error });
}

/** Where an error that nobody expected was thrown: tells defects of one function from those of another. */
function placeOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  const name = error instanceof Error ? error.name : typeof error;
  const own = stack.split("\n").find((line) => /\/runtime\//.test(line)) ?? stack.split("\n")[1];
  const place = /([\w.-]+\/[\w.-]+):(\d+)/.exec(own ?? "");
  return place === null ? name : `${name} at ${place[1]}:${place[2]}`;
}
