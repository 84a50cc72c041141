/**
 * W3C Trace Context: which trace a request belongs to, as the services before this one say.
 *
 * What fits is handed to the handler, which may call further services with it, and echoed; what does not is as if it had not
 * been sent. Source: https://www.w3.org/TR/trace-context/, sections 3.2 and 3.3.
 */

import type { TraceContext } from "../observe/trace.ts";

/** Version, trace, parent, flags; a later version may have more behind them. */
const TRACEPARENT = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-[\x21-\x7e]{1,256})?$/;

/** Vendors that each say something: 3.3.1.3. */
const MOST_MEMBERS = 32;
/** Longer than the 512 characters that everybody has to hand on: 3.3.1.5. */
const LONGEST_STATE = 4096;
const MEMBER =
  /^(?:[a-z][a-z\d_*/-]{0,255}|[a-z\d][a-z\d_*/-]{0,240}@[a-z][a-z\d_*/-]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** @returns `undefined` where there is none, or it does not fit; a state that does not fit is left out alone. */
export function readTraceContext(
  traceparent: string | undefined,
  tracestate: string | undefined,
): TraceContext | undefined {
  const parent = traceparent?.trim();
  if (parent === undefined || !isTraceparent(parent)) return undefined;
  const state = tracestate === undefined ? undefined : cleanState(tracestate);
  return { traceparent: parent, ...(state !== undefined && { tracestate: state }) };
}

function isTraceparent(text: string): boolean {
  const [, version, trace = "", parent = "", , rest] = TRACEPARENT.exec(text) ?? [];
  if (version === undefined || version === "ff") return false;
  if (version === "00" && rest !== undefined) return false;
  return /[^0]/.test(trace) && /[^0]/.test(parent);
}

/** Its members, joined as one header; several headers arrive as one, with commas. */
function cleanState(text: string): string | undefined {
  if (text.length > LONGEST_STATE) return undefined;
  const members = text
    .split(",")
    .map((member) => member.trim())
    .filter((member) => member !== "");
  const keys = new Set(members.map((member) => member.split("=", 1)[0]));
  const fits =
    members.length > 0 &&
    members.length <= MOST_MEMBERS &&
    keys.size === members.length &&
    members.every((member) => MEMBER.test(member));
  return fits ? members.join(",") : undefined;
}
