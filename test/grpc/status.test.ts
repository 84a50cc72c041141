import assert from "node:assert/strict";
import { test } from "node:test";
import { status as Status } from "@grpc/grpc-js";

import { ERROR_CODES, RuntimeError, type ErrorCode } from "../../runtime/errors.ts";
import { toStatus } from "../../runtime/grpc/status.ts";

const WANTED: Readonly<Partial<Record<ErrorCode, keyof typeof Status>>> = {
  INVALID_INPUT: "INVALID_ARGUMENT",
  NOT_ACCEPTABLE: "INVALID_ARGUMENT",
  UNSUPPORTED_MEDIA_TYPE: "INVALID_ARGUMENT",
  ROUTE_NOT_FOUND: "UNIMPLEMENTED",
  METHOD_NOT_ALLOWED: "UNIMPLEMENTED",
  NOT_SUPPORTED: "UNIMPLEMENTED",
  BODY_TOO_LARGE: "RESOURCE_EXHAUSTED",
  QUEUE_FULL: "RESOURCE_EXHAUSTED",
  MODEL_NOT_FOUND: "NOT_FOUND",
  VERSION_NOT_FOUND: "NOT_FOUND",
  CONFLICT: "FAILED_PRECONDITION",
  UNAUTHORIZED: "UNAUTHENTICATED",
  FORBIDDEN: "PERMISSION_DENIED",
  CANCELLED: "CANCELLED",
  NOT_READY: "UNAVAILABLE",
  DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
};

test("toStatus() has a code for every error, INTERNAL for what is no client's affair", () => {
  for (const code of ERROR_CODES) {
    const { code: found, details } = toStatus(new RuntimeError(code, "Cannot do it: no"));
    assert.equal(Status[found], WANTED[code] ?? "INTERNAL", code);
    assert.equal(details, "Cannot do it: no");
  }
});

test("toStatus() says after how long to try again, in words and for clients that retry", () => {
  const text = "Cannot accept it: full; try again later";
  const { details, metadata } = toStatus(
    new RuntimeError("QUEUE_FULL", text, { retryAfterMs: 1499.2 }),
  );
  assert.equal(details, "Cannot accept it: full; try again after 2 s");
  assert.deepEqual(metadata.get("grpc-retry-pushback-ms"), ["1500"]);
});

test("toStatus() tells nothing of an error that is not ours", () => {
  const { code, details } = toStatus(new TypeError("x is undefined at /srv/secret.ts"));
  assert.equal(code, Status.INTERNAL);
  assert.equal(details, "Cannot answer the request: the server made a mistake");
});

test("toStatus() keeps what travels percent-encoded under what clients take, and half characters out of it", () => {
  for (const text of [
    "a".repeat(100_000),
    "€".repeat(5000),
    "𝄞".repeat(3000),
    "\ud834".repeat(9),
  ]) {
    const { details } = toStatus(new RuntimeError("INVALID_INPUT", text));
    const encoded = encodeURI(details); // throws for half a surrogate pair
    assert.ok(encoded.length <= 4096 + encodeURI("…").length, String(encoded.length));
    assert.ok(details.length >= 9);
  }
});
