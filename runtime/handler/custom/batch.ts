/**
 * A custom handler's `callBatch`, made safe: one outcome per member, whatever it does.
 *
 * An `Error` in a place of the result fails that member alone. When the whole call throws, the batch is halved until
 * the member at fault stands alone, so that one bad request does not fail its neighbours.
 */
import { RuntimeError } from "../../errors.ts";
import type { Log } from "../../observe/log.ts";
import { countCharacters, guessTokens } from "../../text-length.ts";
import type { BatchHooks, BatchMember, EndpointHandler, HandlerData } from "../contract.ts";
import { toCallContext } from "./context.ts";
import { toHandlerData } from "./data.ts";
import { refusalOf, toHandlerError } from "./message.ts";
import type { ReadData } from "./schema.ts";

interface Numbered {
  readonly index: number;
  readonly member: BatchMember;
}

/** Answers each member once, through `hooks.onOutcome`. Never rejects. */
export async function callBatchSafely(
  instance: EndpointHandler,
  members: readonly BatchMember[],
  hooks: BatchHooks,
  log: Log,
  read: ReadData = toHandlerData,
): Promise<void> {
  const numbered = members.map((member, index): Numbered => ({ index, member }));
  const isPredicted = ({ member }: Numbered): boolean => member.request.kind === "predict";
  await answer(instance, numbered.filter(isPredicted), hooks, log, read);
  // Explanations have no batches, and predictions do not wait for them.
  for (const each of numbered) if (!isPredicted(each)) await explain(instance, each, hooks, read);
}

async function explain(
  instance: EndpointHandler,
  { index, member: { request, context } }: Numbered,
  hooks: BatchHooks,
  read: ReadData,
): Promise<void> {
  try {
    context.signal.throwIfAborted();
    const refusal = refusalOf(request.kind, instance);
    if (refusal !== undefined) throw refusal;
    const value = await instance.explain?.(await read(request), toCallContext(context));
    hooks.onOutcome(index, { value });
  } catch (error) {
    hooks.onOutcome(index, { error: toHandlerError(error, context.signal) });
  }
}

async function answer(
  instance: EndpointHandler,
  all: readonly Numbered[],
  hooks: BatchHooks,
  log: Log,
  read: ReadData,
): Promise<void> {
  const readied = await Promise.all(all.map((each) => ready(each, hooks, read)));
  const batch = readied.filter((each) => each !== undefined);
  if (batch.length === 0) return;
  const contexts = batch.map(({ member }) => member.context);
  const startedAtMs = performance.now();
  let results: readonly unknown[];
  try {
    const items = batch.map(({ data }) => data);
    const returned: unknown = await instance.callBatch?.(items, {
      signal: allAborted(contexts.map(({ signal }) => signal)),
      members: contexts.map(toCallContext),
      log,
    });
    results = assertResults(returned, batch.length);
  } catch (error) {
    const [first] = batch;
    if (batch.length === 1 && first !== undefined) {
      hooks.onOutcome(first.index, { error: toHandlerError(error, first.member.context.signal) });
      return;
    }
    const half = Math.ceil(batch.length / 2);
    // Read anew: what was handed over may have been taken apart.
    await answer(instance, batch.slice(0, half), hooks, log, read);
    await answer(instance, batch.slice(half), hooks, log, read);
    return;
  }
  // How a custom handler tokenizes nobody knows; the engine guesses lengths in the same way.
  const lengths = batch.map(({ member }) => guessTokens(countCharacters(member.request)));
  hooks.onPass({
    items: batch.length,
    length: Math.max(...lengths),
    tokens: lengths.reduce((sum, length) => sum + length, 0),
    ms: performance.now() - startedAtMs,
  });
  for (const [position, { index, member }] of batch.entries()) {
    const value = results[position];
    if (value instanceof Error)
      hooks.onOutcome(index, { error: toHandlerError(value, member.context.signal) });
    else hooks.onOutcome(index, { value });
  }
}

/** A member with what the handler is given of it; `undefined` for one that is settled: nobody waits, or it cannot be read. */
async function ready(
  { index, member }: Numbered,
  hooks: BatchHooks,
  read: ReadData,
): Promise<(Numbered & { readonly data: HandlerData }) | undefined> {
  const { signal } = member.context;
  try {
    signal.throwIfAborted();
    const data = await read(member.request);
    signal.throwIfAborted();
    return { index, member, data };
  } catch (error) {
    hooks.onOutcome(index, { error: toHandlerError(error, signal) });
    return undefined;
  }
}

/** @throws RuntimeError when it is not one result for each item. */
function assertResults(returned: unknown, wanted: number): readonly unknown[] {
  if (Array.isArray(returned) && returned.length === wanted) return returned;
  const found = Array.isArray(returned) ? `${returned.length} results` : `a ${typeof returned}`;
  const text = `callBatch returned ${found}, wanted an array of ${wanted}, one result for each item`;
  throw new RuntimeError("HANDLER_FAILED", `Handler failed: ${text}`);
}

/** A signal that fires when the last of `signals` has. */
function allAborted(signals: readonly AbortSignal[]): AbortSignal {
  const controller = new AbortController();
  let left = signals.length;
  for (const signal of signals) {
    signal.addEventListener("abort", () => --left === 0 && controller.abort(signal.reason), {
      once: true,
    });
  }
  return controller.signal;
}
