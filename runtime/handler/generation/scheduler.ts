/**
 * Who reads and who writes in the next step.
 *
 * Sequences join and leave between steps. A step is one run that reads a part of one prompt, and one run that writes a token for
 * every sequence that has read its own: a long prompt holds the others up by no more than a part. Prompts that are being read take
 * turns. Whoever came first is let in first; nobody overtakes, so nobody starves.
 *
 * Who is let in, and how much memory each may fill, is in `places.ts`. A sequence whose reader is slow sits out. All of it happens on
 * one thread: `run` of the graph holds the event loop.
 */
import { RuntimeError, toRuntimeError } from "../../errors.ts";
import type { Logits } from "./causal-graph.ts";
import type { PrefixCache } from "./prefix-cache.ts";
import { createPlaces, type Group, type Member } from "./places.ts";
import type { Runner } from "./runner.ts";

/** A sequence as it is written; `writer.ts` makes it. */
export interface Writing {
  /** The prompt, and what has been written. */
  readonly ids: readonly number[];
  readonly promptLength: number;
  /** The most that will be written. */
  readonly maxNewTokens: number;
  /** Whether its reader is so slow that it should sit out. */
  readonly isPaused: boolean;
  /** Wants the scores after each of the prompt's tokens. `first` is the place of the token that the first row follows. */
  readonly onPromptScores?: ((logits: Logits, first: number) => void) | undefined;
  /**
   * Adds a token to `ids` and tells who reads.
   *
   * @param scores `[V]` after the last of `ids`; it may change them.
   * @returns Whether it goes on.
   */
  write(scores: Float32Array): boolean;
  /** It cannot go on. */
  fail(error: unknown): void;
}

export interface SchedulerOptions {
  readonly runner: Runner;
  /** Prompts whose beginning was read before; absent where none is kept. */
  readonly prefixes?: PrefixCache | undefined;
  /** The most sequences that are read or written at once. */
  readonly maxSequences: number;
  /** The most tokens of them together: prompts and what is written. */
  readonly maxTotalTokens: number;
  /** The most sequences that wait to be let in. */
  readonly maxWaiting: number;
  readonly onPrompt?: (tokens: { readonly read: number; readonly reused: number }) => void;
}

export interface Scheduler {
  readonly waiting: number;
  readonly running: number;
  /** Tokens that running sequences have room for. */
  readonly reservedTokens: number;
  /**
   * Writes the sequences of one request, which have one prompt. Each ends with `write` saying so, or with `fail`.
   *
   * @param signal Ends them all before the next run; `fail` gets its reason.
   * @throws `QUEUE_FULL` when too many wait.
   */
  add(writings: readonly Writing[], signal: AbortSignal): void;
  /** A sequence is not paused any more. */
  wake(): void;
  /** Fails all that wait or run; settles once the graph is not used any more. */
  close(): Promise<void>;
}

/** Tokens of a prompt that are read between two steps of those who write: a part of 64 is nearly as cheap per token as any. */
const PART_TOKENS = 64;
/** The same where nobody writes. */
const LONE_PART_TOKENS = 512;
/** Prompts that begin alike in so many tokens are not read together. */
const FEWEST_SHARED = 32;
export function createScheduler(options: SchedulerOptions): Scheduler {
  const { runner, prefixes, maxWaiting } = options;
  const places = createPlaces(options);
  let looping: Promise<void> | undefined;
  /** Something has come while the loop may have looked for the last time. */
  let isWoken = false;
  let turns = 0;
  let isClosed = false;

  /** Takes it out of everything, whatever it was doing. */
  function end(member: Member): void {
    if (member.state === "ended") return;
    member.state = "ended";
    places.leave(member);
    const { members, signal, onAbort } = member.group;
    if (members.every(({ state }) => state === "ended"))
      signal.removeEventListener("abort", onAbort);
  }

  function fail(member: Member, error: unknown): void {
    if (member.state === "ended") return;
    end(member);
    member.writing.fail(error);
  }

  /** What others have read of the prompt is copied. The last token is left, as its scores are wanted. */
  function reuse(member: Member): void {
    const { ids, promptLength, onPromptScores } = member.writing;
    const wanted = ids.slice(0, -1);
    const isFresh = ids.length === promptLength;
    const sibling = member.group.members.find(
      ({ state, row }) => isFresh && state === "ready" && row.length >= wanted.length,
    );
    const others = places.running.map(({ row, writing }) => ({ row, ids: writing.ids }));
    const row =
      sibling !== undefined
        ? runner.fork?.(sibling.row, wanted.length)
        : onPromptScores === undefined
          ? prefixes?.find(wanted, others)
          : undefined;
    if (row === undefined) return;
    member.row = row;
    if (row.length === wanted.length) member.state = "ready";
    options.onPrompt?.({ read: 0, reused: row.length });
  }

  /** Whether a sibling is reading the same prompt, so that this one can wait and copy. */
  function canWait(member: Member): boolean {
    if (runner.fork === undefined || member.row.length > 0) return false;
    return member.group.members.find(({ state }) => state === "reading") !== member;
  }

  /** Those who have something to read, the one whose turn it is first. */
  function readers(): Member[] {
    for (const member of places.running) {
      const hasSiblings = member.group.members.length > 1;
      if (hasSiblings && member.state === "reading" && !canWait(member) && member.row.length === 0)
        reuse(member);
    }
    return places.running
      .filter((one) => one.state === "reading" && !canWait(one))
      .sort((a, b) => a.turn - b.turn);
  }

  /** Who can be read together with the first: all of them whole, and what two of them share had better be read once. */
  function companyOf(first: Member, others: readonly Member[], most: number): Member[] {
    const isWhole = ({ row, writing }: Member): boolean =>
      row.length === 0 && writing.onPromptScores === undefined;
    if (!isWhole(first)) return [first];
    const ids = first.writing.ids;
    const fresh = others.filter(
      (one) => one === first || (isWhole(one) && !sharesBeginning(ids, one.writing.ids)),
    );
    return fresh.slice(
      0,
      runner.together(
        fresh.map(({ writing }) => writing.ids.length),
        most,
      ),
    );
  }

  /** One run that reads. @returns Whether there was anything to read. */
  async function read(): Promise<boolean> {
    const all = readers();
    const [reader] = all;
    if (reader === undefined) return false;
    if (reader.row.length === 0 && runner.readsParts) reuse(reader);
    if (reader.state === "ready") return true;
    const most = places.running.some(({ state }) => state === "ready")
      ? PART_TOKENS
      : LONE_PART_TOKENS;
    const company = companyOf(reader, all, most);
    try {
      if (company.length > 1) await readTogether(company);
      else await readPart(reader, most);
    } catch (error) {
      for (const one of company) fail(one, toRunError(error));
    }
    return true;
  }

  async function readTogether(company: readonly Member[]): Promise<void> {
    const prompts = company.map(({ writing }) => writing.ids);
    const padded = company.length * Math.max(...prompts.map(({ length }) => length));
    const isScored = padded <= runner.mostScored;
    const parts = isScored ? prompts : prompts.map((ids) => ids.slice(0, -1));
    const rows = company.map(({ row }) => row);
    const scores = await runner.readTogether(rows, parts, isScored);
    for (const [index, reader] of company.entries()) {
      options.onPrompt?.({ read: parts[index]?.length ?? 0, reused: 0 });
      if (reader.state !== "reading") continue; // left meanwhile
      const own = scores?.[index];
      if (own === undefined) reader.state = "ready";
      else write(reader, own);
    }
  }

  async function readPart(reader: Member, most: number): Promise<void> {
    const { writing, row } = reader;
    const { ids, onPromptScores } = writing;
    const left = ids.length - row.length;
    const size = runner.readsParts ? Math.min(left, most) : left;
    const isLast = size === left;
    const wantsAll = onPromptScores !== undefined && row.length < writing.promptLength;
    // Without the last token, whose scores come with the next step, where they would bring too many others along.
    const isScored = isLast && (wantsAll || size <= runner.mostScored || left === 1);
    const count = isLast && !isScored ? size - 1 : size;
    const first = row.length;
    const wanted = wantsAll ? "all" : isScored ? "last" : "none";
    const logits =
      count > 0 ? await runner.read(row, ids.slice(first, first + count), wanted) : undefined;
    options.onPrompt?.({ read: count, reused: 0 });
    if (reader.state !== "reading") return; // left meanwhile
    if (wantsAll && logits !== undefined) onPromptScores(logits, first);
    if (isLast && !isScored) reader.state = "ready";
    else if (isLast && logits !== undefined) write(reader, lastOf(logits));
    else reader.turn = ++turns; // the next part is another reader's
  }

  /** One run that writes a token for everyone who can. @returns Whether there was anything to write. */
  async function step(): Promise<boolean> {
    const writers = places.running.filter((one) => one.state === "ready" && !sitsOut(one));
    const live = writers
      .filter((one) => one.state === "ready" && places.grow(one))
      .filter(({ state }) => state === "ready");
    if (live.length === 0) return false;
    await stepAll(live);
    return true;
  }

  async function stepAll(live: readonly Member[]): Promise<void> {
    let scores: readonly Float32Array[];
    try {
      scores = await runner.step(
        live.map(({ row }) => row),
        live.map(({ writing }) => writing.ids.at(-1) ?? 0),
      );
    } catch (error) {
      // One of them may be at fault, and the others need not suffer for it.
      if (live.length > 1) for (const one of live) await stepAll([one]);
      else for (const one of live) fail(one, toRunError(error));
      return;
    }
    for (const [index, writer] of live.entries()) {
      const own = scores[index];
      if (writer.state === "ready" && own !== undefined) write(writer, own);
    }
  }

  function write(member: Member, scores: Float32Array): void {
    member.state = "ready";
    try {
      if (member.writing.write(scores)) return;
    } catch (error) {
      fail(member, error);
      return;
    }
    prefixes?.keep(member.writing.ids, member.row);
    end(member);
  }

  function sitsOut(member: Member): boolean {
    const { isPaused } = member.writing;
    if (isPaused && !member.isParked) runner.park(member.row);
    member.isParked = isPaused;
    return isPaused;
  }

  async function loop(): Promise<void> {
    await nextTurn(); // requests that came together are let in together
    for (;;) {
      places.admit();
      const hasRead = await read();
      const hasWritten = await step();
      if (!hasRead && !hasWritten) return;
    }
  }

  function start(): void {
    isWoken = looping !== undefined;
    looping ??= loop()
      .catch((error: unknown) => {
        // Nothing above may throw; whoever waits must not wait for ever if it does.
        for (const member of [...places.running, ...places.waiting])
          fail(member, toRunError(error));
      })
      .finally(() => {
        looping = undefined;
        if (isWoken) start();
      });
  }

  return {
    get waiting() {
      return places.waiting.length;
    },
    get running() {
      return places.running.length;
    },
    get reservedTokens() {
      return places.reserved;
    },
    add(writings, signal) {
      if (isClosed)
        throw new RuntimeError("NOT_READY", "Cannot generate: the model is being unloaded");
      if (places.waiting.length + writings.length > Math.max(maxWaiting, writings.length)) {
        throw new RuntimeError(
          "QUEUE_FULL",
          `Cannot generate: ${places.waiting.length} sequences wait, wanted at most ${maxWaiting}; try again later`,
        );
      }
      signal.throwIfAborted();
      const members: Member[] = [];
      const group: Group = {
        members,
        signal,
        onAbort() {
          for (const member of members) fail(member, signal.reason);
        },
      };
      for (const writing of writings) {
        members.push({
          writing,
          group,
          state: "waiting",
          row: runner.open(),
          room: 0,
          isParked: false,
          turn: ++turns,
        });
      }
      signal.addEventListener("abort", group.onAbort, { once: true });
      places.wait(members);
      start();
    },
    wake: start,
    async close() {
      isClosed = true;
      const error = new RuntimeError(
        "NOT_READY",
        "Cannot finish the text: the model is being unloaded",
      );
      for (const member of [...places.running, ...places.waiting]) fail(member, error);
      await looping;
      prefixes?.clear();
    },
  };
}

/** What comes from the parent at once has been read by then. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/** Whether so much is common that it should be read once and copied. */
function sharesBeginning(a: readonly number[], b: readonly number[]): boolean {
  for (let place = 0; place < FEWEST_SHARED; place++) if (a[place] !== b[place]) return false;
  return a.length >= FEWEST_SHARED;
}

function lastOf({ data, columns, size }: Logits): Float32Array {
  return data.subarray((columns - 1) * size, columns * size);
}

function toRunError(error: unknown): RuntimeError {
  return toRuntimeError(error, "HANDLER_FAILED", "Cannot run the model");
}
