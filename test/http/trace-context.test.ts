import assert from "node:assert/strict";
import { test } from "node:test";
import { readTraceContext } from "../../runtime/http/trace-context.ts";

const PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

const PARENTS: readonly (readonly [text: string | undefined, fits: boolean, why: string])[] = [
  [PARENT, true, "the specification's example"],
  [` ${PARENT} `, true, "blanks around it"],
  [
    "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future",
    true,
    "a later version",
  ],
  ["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true, "a later version with no more"],
  [undefined, false, "none"],
  ["", false, "an empty one"],
  ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x", false, "version 00 with more"],
  ["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false, "version ff"],
  ["00-00000000000000000000000000000000-00f067aa0ba902b7-01", false, "no trace"],
  ["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false, "no parent"],
  ["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false, "upper case"],
  ["00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01", false, "a digit too few"],
];
for (const [text, fits, why] of PARENTS) {
  test(`a traceparent is ${fits ? "taken" : "left out"}: ${why}`, () => {
    const found = readTraceContext(text, "a=b");
    assert.deepEqual(found, fits ? { traceparent: text?.trim(), tracestate: "a=b" } : undefined);
  });
}

const STATES: readonly (readonly [text: string, clean: string | undefined, why: string])[] = [
  ["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "two"],
  ["a=1 , b=2,", "a=1,b=2", "blanks and an empty member"],
  ["fw529a3039@dt=FfEa", "fw529a3039@dt=FfEa", "a tenant"],
  ["a=1,a=2", undefined, "a key twice"],
  ["A=1", undefined, "upper case in a key"],
  ["a=1=2", undefined, "an equals sign in a value"],
  ["a", undefined, "no value"],
  ["", undefined, "nothing"],
  [
    Array.from({ length: 32 }, (_, i) => `a${i}=1`).join(","),
    Array.from({ length: 32 }, (_, i) => `a${i}=1`).join(","),
    "32 members",
  ],
  [Array.from({ length: 33 }, (_, i) => `a${i}=1`).join(","), undefined, "33 members"],
  [`a=${"x".repeat(257)}`, undefined, "a long value"],
];
for (const [text, clean, why] of STATES) {
  test(`a tracestate is ${clean === undefined ? "left out" : "taken"}: ${why}`, () => {
    const expected = { traceparent: PARENT, ...(clean !== undefined && { tracestate: clean }) };
    assert.deepEqual(readTraceContext(PARENT, text), expected);
  });
}
