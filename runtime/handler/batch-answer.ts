/**
 * Answers several requests with one task: their items together, each request's failure its own.
 *
 * Every request is prepared, the items of all are grouped by length, the groups are run one after the other, and a
 * request is answered as soon as the last of its items is done. A group that fails is halved until the item at fault
 * stands alone.
 */
import { isRuntimeError, RuntimeError, toRuntimeError } from "../errors.ts";
import type { BatchHooks, BatchMember } from "./contract.ts";
import { groupByLength } from "./tasks/length-groups.ts";
import type { Item, OpenTask } from "./tasks/task.ts";

/** A request that is being answered. */
interface Pending {
  readonly index: number;
  readonly member: BatchMember;
  readonly state: unknown;
  readonly results: unknown[];
  readonly tokens: number;
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
  const owned: Owned[] = [];
  for (const [index, member] of members.entries()) {
    try {
      owned.push(...prepare(task, member, index, hooks));
    } catch (error) {
      hooks.onOutcome(index, { error });
    }
  }
  for (const group of groupByLength(
    owned.map(({ item }) => item.tokens),
    hooks.maxPaddedTokens,
  )) {
    await run(
      task,
      group.flatMap((index) => owned[index] ?? []),
      hooks,
    );
  }
}

function prepare(
  task: OpenTask,
  member: BatchMember,
  index: number,
  hooks: BatchHooks,
): readonly Owned[] {
  const { request, context } = member;
  if (request.kind === "explain") {
    throw new RuntimeError(
      "INVALID_INPUT",
      "Cannot explain the prediction: the default handler does not explain yet",
    );
  }
  const { items, state } = task.preprocess(request, context.log);
  const owner: Pending = {
    index,
    member,
    state,
    results: [],
    tokens: items.reduce((sum, { tokens }) => sum + tokens, 0),
    left: items.length,
    isSettled: false,
  };
  if (items.length === 0) finish(task, owner, hooks);
  return items.map((item, place) => ({ item, owner, place }));
}

/** One forward pass over those whose clients still wait. */
async function run(task: OpenTask, group: readonly Owned[], hooks: BatchHooks): Promise<void> {
  const live = group.filter(({ owner }) => isWanted(owner, hooks));
  if (live.length === 0) return;
  const startedAtMs = performance.now();
  let results: readonly unknown[];
  try {
    results = await task.inference(live.map(({ item }) => item));
  } catch (error) {
    if (live.length === 1)
      for (const { owner } of live) settle(owner, hooks, { error: toRunError(error) });
    else {
      const half = Math.ceil(live.length / 2);
      await run(task, live.slice(0, half), hooks);
      await run(task, live.slice(half), hooks);
    }
    return;
  }
  const lengths = live.map(({ item }) => item.tokens);
  hooks.onPass({
    items: live.length,
    length: Math.max(...lengths),
    tokens: lengths.reduce((sum, length) => sum + length, 0),
    ms: performance.now() - startedAtMs,
  });
  for (const [position, { owner, place }] of live.entries()) {
    owner.results[place] = results[position];
    if (--owner.left === 0) finish(task, owner, hooks);
  }
}

/** Whether anybody waits for this request; one that was left behind is settled here. */
function isWanted(owner: Pending, hooks: BatchHooks): boolean {
  if (owner.isSettled) return false;
  const { signal } = owner.member.context;
  if (!signal.aborted) return true;
  settle(owner, hooks, { error: toCancellation(signal) });
  return false;
}

function finish(task: OpenTask, owner: Pending, hooks: BatchHooks): void {
  try {
    settle(owner, hooks, {
      value: task.postprocess(owner.state, owner.results),
      tokens: owner.tokens,
    });
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
function toCancellation({ reason }: AbortSignal): RuntimeError {
  if (isRuntimeError(reason)) return reason;
  const text = "Cannot finish the prediction: nobody waits for it any more";
  return new RuntimeError("CANCELLED", text, { cause: reason });
}
