/**
 * Readers of files: bytes in, a value or a refusal in words out.
 */
import { isRuntimeError, type ErrorCode } from "../../runtime/errors.ts";
import { mutateBytes, type ByteOptions } from "./bytes.ts";
import { pick, type Recipe, type Step } from "./recipe.ts";
import { asDefect, Defect, plainRecipes, type Session, type Target } from "./target.ts";

export interface ReaderOptions {
  readonly name: string;
  /** Files that the reader likes. */
  readonly seeds: () => readonly (Uint8Array | string)[];
  readonly words?: ByteOptions["words"];
  /** What a step does; bytes are mutated where absent. */
  readonly mutate?: (bytes: Uint8Array, step: Step, others: readonly Uint8Array[]) => Uint8Array;
  /** Reads. May return what came of it, in a word. */
  readonly read: (bytes: Uint8Array) => unknown;
  /** The codes with which it may refuse. */
  readonly refuses: readonly ErrorCode[];
  /** Errors that are no `RuntimeError` and are meant so. */
  readonly permits?: (error: unknown) => boolean;
  readonly close?: () => Promise<void> | void;
}

/** A refusal is for people: one that is longer repeats the file. */
const LONGEST_REFUSAL = 2000;

export function readerTarget(options: ReaderOptions): Target {
  return { name: options.name, open: () => Promise.resolve(openReader(options)) };
}

export function openReader(options: ReaderOptions): Session {
  const { words, read, refuses, permits = () => false } = options;
  const seeds = options.seeds().map((seed) => new Uint8Array(Buffer.from(seed as string)));
  const {
    mutate = (bytes, step, others) => mutateBytes(bytes, step, { words: words ?? [], others }),
  } = options;
  const make = ({ seed, steps }: Recipe): Uint8Array =>
    steps.reduce<Uint8Array>((bytes, step) => mutate(bytes, step, seeds), pick(seeds, seed));
  return {
    first: plainRecipes(seeds.length),
    show: make,
    async run(recipe) {
      // A copy with nothing around it: what reads beyond its end shows.
      const bytes = Uint8Array.from(make(recipe));
      try {
        const result = await read(bytes);
        return typeof result === "string" ? result : "read";
      } catch (error) {
        if (permits(error)) return "refused";
        if (!isRuntimeError(error)) throw asDefect(error);
        if (!refuses.includes(error.code))
          throw new Defect(`code ${error.code}`, error.message, { cause: error });
        if (error.message.length > LONGEST_REFUSAL)
          throw new Defect("a long refusal", error.message.slice(0, 300), { cause: error });
        return error.code;
      }
    },
    async [Symbol.asyncDispose]() {
      await options.close?.();
    },
  };
}
