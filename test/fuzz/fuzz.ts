/**
 * Shows a target many inputs and tells what came of them.
 *
 * fast-check draws the recipes and makes one that finds a defect smaller; one defect is told once, however many inputs find it.
 */
import { setTimeout as delay } from "node:timers/promises";
import * as fc from "fast-check";

import { recipes, type Recipe } from "./recipe.ts";
import { asDefect, CASE_MS, Defect, type Session, type Target } from "./target.ts";

export interface Found {
  readonly kind: string;
  readonly message: string;
  /** The smallest that was found. */
  readonly recipe: Recipe;
  readonly input: Uint8Array | string;
}

export interface Report {
  readonly target: string;
  readonly cases: number;
  /** What came of how many. */
  readonly outcomes: ReadonlyMap<string, number>;
  readonly worstMs: number;
  readonly defects: readonly Found[];
}

export interface FuzzOptions {
  /** The same seed shows the same inputs. */
  readonly seed: number;
  /** The most cases; without an end where absent. */
  readonly cases?: number;
  /** How long, from when the target is open on. */
  readonly forMs?: number;
  /** These and no others. */
  readonly only?: readonly Recipe[];
  /** Told of every case before it is run: what it was stays known if the process dies of it. */
  readonly onCase?: (recipe: Recipe) => void;
}

/** Cases between two looks at the clock. */
const BATCH = 250;
/** Runs that a defect may take to become smaller. */
const MOST_SHRINKS = 200;
/** What one case may add to the process's memory at its peak: an input is a few hundred kilobytes. */
const MOST_GROWTH_KB = 1024 * 1024;

export async function fuzz(target: Target, options: FuzzOptions): Promise<Report> {
  const { seed, only, cases: most = only?.length ?? Infinity, forMs = Infinity } = options;
  const outcomes = new Map<string, number>();
  const defects: Found[] = [];
  const known = new Set<string>();
  let [cases, worstMs] = [0, 0];
  await using session = await target.open();
  const untilMs = performance.now() + forMs;

  async function show(recipe: Recipe): Promise<void> {
    options.onCase?.(recipe);
    cases++;
    const { outcome, tookMs } = await runCase(session, recipe, target.caseMs ?? CASE_MS);
    worstMs = Math.max(worstMs, tookMs);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }

  for (let batch = 0; cases < most && performance.now() < untilMs; batch++) {
    let left = Infinity; // to make a defect smaller
    const property = fc.asyncProperty(recipes, async (recipe) => {
      if (left-- <= 0 || (left === Infinity && performance.now() > untilMs)) return;
      try {
        await show(recipe);
      } catch (error) {
        if (!(error instanceof Defect)) throw error;
        if (known.has(error.kind)) return;
        if (left === Infinity) left = MOST_SHRINKS;
        throw error;
      }
    });
    const first = only ?? (batch === 0 ? session.first : undefined);
    const result = await fc.check(property, {
      seed: (seed + batch * 7919) | 0,
      numRuns: Math.min(BATCH, most - cases),
      ...(first !== undefined && { examples: first.map((one) => [one]) }),
    });
    if (!result.failed) continue;
    const { counterexample, errorInstance: error } = result;
    if (counterexample === null || !(error instanceof Defect)) throw error;
    const [recipe] = counterexample;
    known.add(error.kind);
    defects.push({ kind: error.kind, message: error.message, recipe, input: session.show(recipe) });
  }
  try {
    await session.assertHealthy?.();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    defects.push({ kind: "unhealthy", message, recipe: { seed: 0, steps: [] }, input: "" });
  }
  return { target: target.name, cases, outcomes, worstMs, defects };
}

/** @throws Defect, also for an error that nobody expected and for a case without an end. */
async function runCase(
  session: Session,
  recipe: Recipe,
  limitMs: number,
): Promise<{ outcome: string; tookMs: number }> {
  const end = new AbortController();
  const peakKb = process.resourceUsage().maxRSS;
  const startedAtMs = performance.now();
  const late = delay(limitMs, undefined, { signal: end.signal, ref: true }).then(
    () => {
      throw new Defect("hang", `no end after ${limitMs} ms`);
    },
    () => "", // it was called off
  );
  try {
    const outcome = await Promise.race([session.run(recipe), late]);
    const tookMs = performance.now() - startedAtMs;
    if (tookMs > limitMs) throw new Defect("slow", `it took ${tookMs.toFixed(0)} ms`);
    const grownKb = process.resourceUsage().maxRSS - peakKb;
    if (grownKb > MOST_GROWTH_KB) throw new Defect("memory", `it took ${grownKb} KB at its peak`);
    return { outcome, tookMs };
  } catch (error) {
    throw asDefect(error);
  } finally {
    end.abort();
  }
}
