/**
 * Answers several requests with one task: their items together, each request's failure its own.
 *
 * Every request is prepared, the items of all are grouped by length, the groups are run one after the other, and a
 * request is answered as soon as the last of its items is done. A group that fails is halved until the item at fault
 * stands alone. Which task answers, the one that predicts or the one that explains, is decided in
 * `explain/mixed-batch.ts`.
 */
import { isRuntimeError, RuntimeError, toRuntimeError } from "../errors.ts";
import type { StageTimes } from "../inference.ts";
import type { BatchHooks, BatchMember } from "./contract.ts";
import { groupItems } from "./tasks/length-groups.ts";
import type { Item, OpenTask } from "./tasks/task.ts";

/** A request that is being answered. */
interface Pending {
  readonly index: number;
  readonly member: BatchMember;
  readonly state: unknown;
  readonly items: readonly Item[];
  readonly results: unknown[];
  readonly tokens: number;
  readonly warnings: string[];
  /** When its items were made. */
  readonly preparedAtMs: number;
  readonly stages: { -readonly [Name in keyof StageTimes]: StageTimes[Name] };
  /** When the latest run began that it was in; 0 before. */
  ranAtMs: number;
  /** Items that have no result yet. */
  left: number;
  isSettled: boolean;
}

/** An item and the request it belongs to. */
interface Owned {
  readonly item: Item;
  readonly owner: Pending;
  /** Its place among its request's items. */
  readonly place: number;
}

/** Answers each member once, through `hooks.onOutcome`. Never rejects. */
export async function answerBatch(
  task: OpenTask,
  members: readonly BatchMember[],
  hooks: BatchHooks,
): Promise<void> {
  const prepared = await Promise.all(
    members.map(async (member, index) => {
      try {
        return await prepare(task, member, index);
      } catch (error) {
        hooks.onOutcome(index, { error });
        return undefined;
      }
    }),
  );
  const owners = prepared.filter((owner) => owner !== undefined);
  const finishing = owners
    .filter(({ left }) => left === 0)
    .map((owner) => finish(task, owner, hooks));
  const owned = owners.flatMap((owner) =>
    owner.items.map((item, place): Owned => ({ item, owner, place })),
  );
  for (const group of groupItems(
    owned.map(({ item }) => item),
    hooks.maxPaddedTokens,
  )) {
    const live = group.flatMap((index) => owned[index] ?? []);
    finishing.push(...(await run(task, live, hooks)));
  }
  await Promise.all(finishing);
}

async function prepare(task: OpenTask, member: BatchMember, index: number): Promise<Pending> {
  const { request, context } = member;
  const warnings: string[] = [];
  const startedAtMs = performance.now();
  const { items, state } = await task.preprocess(request, {
    log: context.log,
    signal: context.signal,
    warn: (text) => void warnings.push(text),
  });
  const preparedAtMs = performance.now();
  return {
    index,
    member,
    preparedAtMs,
    stages: { prepareMs: preparedAtMs - startedAtMs, waitMs: 0, modelMs: 0, batchSize: 0 },
    ranAtMs: 0,
    state,
    items,
    results: [],
    tokens: items.reduce((sum, { tokens }) => sum + tokens, 0),
    warnings,
    left: items.length,
    isSettled: false,
  };
}

/**
 * One forward pass over those whose clients still wait.
 *
 * @returns The answers that are still being put into shape: the next pass need not wait for them.
 */
async function run(
  task: OpenTask,
  group: readonly Owned[],
  hooks: BatchHooks,
): Promise<readonly Promise<void>[]> {
  const live = group.filter(({ owner }) => isWanted(owner, hooks));
  if (live.length === 0) return [];
  const startedAtMs = performance.now();
  const nobodyWaits = joinSignals(live.map(({ owner }) => owner.member.context.signal));
  let results: readonly unknown[];
  try {
    results = await task.inference(
      live.map(({ item }) => item),
      nobodyWaits.signal,
    );
  } catch (error) {
    if (live.length === 1) {
      for (const { owner } of live) {
        if (isWanted(owner, hooks)) settle(owner, hooks, { error: toRunError(error) });
      }
      return [];
    }
    const half = Math.ceil(live.length / 2);
    const first = await run(task, live.slice(0, half), hooks);
    return [...first, ...(await run(task, live.slice(half), hooks))];
  } finally {
    nobodyWaits.release();
  }
  const lengths = live.map(({ item }) => item.tokens);
  const ms = performance.now() - startedAtMs;
  hooks.onPass({
    items: live.length,
    length: Math.max(...lengths),
    tokens: lengths.reduce((sum, length) => sum + length, 0),
    ms,
  });
  const finishing: Promise<void>[] = [];
  for (const [position, { owner, place }] of live.entries()) {
    noteRun(owner, startedAtMs, ms, live.length);
    owner.results[place] = results[position];
    if (--owner.left === 0) finishing.push(finish(task, owner, hooks));
  }
  return finishing;
}

/** Once a run, however many of its items were in it. */
function noteRun(owner: Pending, startedAtMs: number, ms: number, batchSize: number): void {
  if (owner.ranAtMs === startedAtMs) return;
  const { stages, preparedAtMs } = owner;
  if (owner.ranAtMs === 0) stages.waitMs = Math.max(0, startedAtMs - preparedAtMs);
  owner.ranAtMs = startedAtMs;
  stages.modelMs += ms;
  stages.batchSize = Math.max(stages.batchSize, batchSize);
}

/** Fires when every one of `signals` has. */
function joinSignals(signals: readonly AbortSignal[]): {
  readonly signal: AbortSignal;
  release(): void;
} {
  const distinct = [...new Set(signals)];
  const [only] = distinct;
  if (distinct.length === 1 && only !== undefined)
    return { signal: only, release: () => undefined };
  const joined = new AbortController();
  let left = distinct.length;
  const note = (event: Event): void => {
    if (--left === 0) joined.abort((event.target as AbortSignal).reason); // listened to on signals only
  };
  for (const signal of distinct) signal.addEventListener("abort", note, { once: true });
  return {
    signal: joined.signal,
    release() {
      for (const signal of distinct) signal.removeEventListener("abort", note);
    },
  };
}

/** Whether anybody waits for this request; one that was left behind is settled here. */
function isWanted(owner: Pending, hooks: BatchHooks): boolean {
  if (owner.isSettled) return false;
  const { signal } = owner.member.context;
  if (!signal.aborted) return true;
  settle(owner, hooks, { error: toCancellation(signal) });
  return false;
}

async function finish(task: OpenTask, owner: Pending, hooks: BatchHooks): Promise<void> {
  try {
    // Without an await where there is nothing to wait for: the answer leaves before the next forward pass.
    const answer = task.postprocess(owner.state, owner.results);
    const value = answer instanceof Promise ? await answer : answer;
    const { tokens, warnings, stages } = owner;
    settle(owner, hooks, { value, tokens, stages, ...(warnings.length > 0 && { warnings }) });
  } catch (error) {
    settle(owner, hooks, { error });
  }
}

function settle(
  owner: Pending,
  hooks: BatchHooks,
  outcome: Parameters<BatchHooks["onOutcome"]>[1],
): void {
  if (owner.isSettled) return;
  owner.isSettled = true;
  hooks.onOutcome(owner.index, outcome);
}

function toRunError(error: unknown): RuntimeError {
  return toRuntimeError(error, "HANDLER_FAILED", "Cannot run the model");
}

/** The reason that the caller gave, or that the client is gone. */
export function toCancellation({ reason }: AbortSignal): RuntimeError {
  if (isRuntimeError(reason)) return reason;
  const text = "Cannot finish the prediction: nobody waits for it any more";
  return new RuntimeError("CANCELLED", text, { cause: reason });
}
