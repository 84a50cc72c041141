/**
 * What a measured process and the bench say to each other, and what comes out of it.
 *
 * Both the load generator and the bare loop are children that get one order, say when their window opens and closes so
 * that CPU time can be read from outside, and report at the end.
 */
import type { Percentiles } from "./latency.ts";

/** What the child saw. */
export interface Observation {
  /** Answered with 200. */
  readonly requests: number;
  /** Tokens of those requests, without padding. */
  readonly tokens: number;
  /** Of the window. */
  readonly seconds: number;
  /** Whatever was not a 200, by status or by the error's name. */
  readonly errors: Readonly<Record<string, number>>;
  readonly latencyMs: Percentiles;
  /** The share of computed tokens that was padding, in [0, 1), where the child knows it. */
  readonly paddingWaste?: number;
  /** Server-sent events, and the time from the handler's yield to the client's read. */
  readonly events?: number;
  readonly firstEventMs?: Percentiles;
  /** Of texts that are written: from the request to its first token, and from each token to the next. */
  readonly firstTokenMs?: Percentiles;
  readonly betweenTokensMs?: Percentiles;
}

export type FromMeasured =
  | { readonly type: "opened" }
  | { readonly type: "closed" }
  | { readonly type: "observed"; readonly observation: Observation }
  | { readonly type: "failed"; readonly message: string };

/** The measured child's side of the channel. */
export function tellBench(message: FromMeasured): void {
  process.send?.(message);
}
