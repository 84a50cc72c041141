/**
 * Who is let in, and how much memory each may fill.
 *
 * Memory is counted in tokens. A sequence is let in with its prompt and some room, and asks for more as it grows; when there
 * is none, one that sits out gives its place up, else the newest: it waits at the front, and what it has written is read again.
 */
import type { CacheRow } from "./cache-block.ts";
import type { Runner } from "./runner.ts";
import type { Writing } from "./scheduler.ts";

export interface Member {
  readonly writing: Writing;
  readonly group: Group;
  /** `ready`: all but what the next step reads is in the cache. */
  state: "waiting" | "reading" | "ready" | "ended";
  row: CacheRow;
  /** Tokens that it has room for. */
  room: number;
  isParked: boolean;
  /** Readers with the lowest number have their turn. */
  turn: number;
}

/** The sequences of one request. */
export interface Group {
  readonly members: readonly Member[];
  readonly signal: AbortSignal;
  readonly onAbort: () => void;
}

export interface Places {
  /** In the order of arrival; those that gave their place up come first. */
  readonly waiting: readonly Member[];
  /** In the order in which they were let in. */
  readonly running: readonly Member[];
  /** Tokens that those who run have room for. */
  readonly reserved: number;
  wait(members: readonly Member[]): void;
  /** Lets in who has come first, as long as there is room. Nobody overtakes but those whose readers are not ready for more. */
  admit(): void;
  /** @returns Whether it has room for one token more; else it has given its place up. */
  grow(member: Member): boolean;
  /** It has ended, whatever it was doing: frees its memory. */
  leave(member: Member): void;
}

export interface PlacesOptions {
  readonly runner: Pick<Runner, "open" | "release">;
  readonly maxSequences: number;
  readonly maxTotalTokens: number;
}

/** The room that a sequence asks for at a time. */
const ROOM_TOKENS = 128;

export function createPlaces({ runner, maxSequences, maxTotalTokens }: PlacesOptions): Places {
  let waiting: Member[] = [];
  let running: Member[] = [];
  let reserved = 0;

  const freeTokens = (): number => maxTotalTokens - reserved;

  /** The tokens that it will ever need. */
  function mostOf({ writing }: Member): number {
    return writing.promptLength + writing.maxNewTokens;
  }

  function roomFor(member: Member, length: number): number {
    return Math.min(mostOf(member), length + ROOM_TOKENS);
  }

  function setRoom(member: Member, room: number): void {
    reserved += room - member.room;
    member.room = room;
  }

  /** Its cache is freed; what it has written is read again later. */
  function giveUp(member: Member): void {
    running = running.filter((other) => other !== member);
    runner.release(member.row);
    setRoom(member, 0);
    member.row = runner.open();
    member.isParked = false;
    member.state = "waiting";
    waiting.unshift(member);
  }

  return {
    get waiting() {
      return waiting;
    },
    get running() {
      return running;
    },
    get reserved() {
      return reserved;
    },
    wait: (members) => void waiting.push(...members),

    admit() {
      while (running.length < maxSequences) {
        const next = waiting.find(({ writing }) => !writing.isPaused);
        if (next === undefined) return;
        const room = roomFor(next, next.writing.ids.length);
        if (room > freeTokens()) return;
        waiting = waiting.filter((other) => other !== next);
        setRoom(next, room);
        next.state = "reading";
        running.push(next);
      }
    },

    grow(member) {
      const needed = member.writing.ids.length + 1;
      if (needed <= member.room) return true;
      const room = roomFor(member, needed);
      while (room - member.room > freeTokens()) {
        const last = running.find(({ isParked }) => isParked) ?? running.at(-1);
        if (last === undefined) break;
        giveUp(last);
        if (last === member) return false;
      }
      setRoom(member, room);
      return true;
    },

    leave(member) {
      setRoom(member, 0);
      runner.release(member.row);
      waiting = waiting.filter((other) => other !== member);
      running = running.filter((other) => other !== member);
    },
  };
}
