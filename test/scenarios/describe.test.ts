/** The command that asks a running server what it serves. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { ROOT, runHubserve, startHubserve } from "../support/hubserve.ts";

test("hubserve describe says what is served and what was learned, for people and as JSON", async () => {
  await using server = await startHubserve({ args: [join(ROOT, "model"), "--workers", "1"] });
  await server.line(/Ready after/);
  await (await server.post(["I love you", "I am sad today"])).json();
  const { code, stdout } = await runHubserve({ args: ["describe", server.url] });
  assert.equal(code, 0);
  for (const line of [
    /^model +model$/m,
    /^task +text-classification$/m,
    /^dtype +q8$/m,
    /^state +ready$/m,
    /^workers +1 ready$/m,
    /^requests +0 running, 0 waiting$/m,
    /^batches +by length, up to \d+ tokens; learned from [1-9]\d* runs: .* ms a token/m,
  ]) {
    assert.match(stdout, line);
  }
  const json = await runHubserve({ args: ["describe", server.url, "--json"] });
  const info = JSON.parse(json.stdout) as { batching: { kind: string } };
  assert.equal(info.batching.kind, "batch");
});

test("hubserve describe says why it cannot, in one sentence", async () => {
  const nobody = await runHubserve({ args: ["describe", "http://127.0.0.1:49151"] });
  assert.equal(nobody.code, 1);
  assert.match(
    nobody.stderr,
    /Cannot describe the server at http:\/\/127\.0\.0\.1:49151: ECONNREFUSED/,
  );
  const wrong = await runHubserve({ args: ["describe", "--jsno"] });
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /found "--jsno", wanted an address/);
});
