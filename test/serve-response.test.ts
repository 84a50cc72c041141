import assert from "node:assert/strict";
import { test } from "node:test";

import { lightResponse } from "../runtime/serve.ts";

test("taking the adaptor's light Response leaves the globals as they were", async () => {
  const before = [globalThis.Request, globalThis.Response];
  const Light = lightResponse();
  assert.ok(Light, "the adaptor still offers one");
  assert.deepEqual([globalThis.Request, globalThis.Response], before);
  const response = new Light("body", { status: 201, headers: { "x-a": "b" } });
  assert.ok(response instanceof Response);
  assert.equal(response.status, 201);
  assert.equal(response.headers.get("x-a"), "b");
  assert.equal(await response.text(), "body");
  assert.equal((await fetch("data:text/plain,hi")).constructor, Response);
});
