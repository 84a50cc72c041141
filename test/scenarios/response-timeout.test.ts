/**
 * How long a request may take, said in each of the places where TorchServe's users say it, and kept to on each route. The
 * original forgets what a registration says as soon as the archive has a `model-config.yaml`.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { startHubserve } from "../support/hubserve.ts";
import { createModelStore } from "../support/model-store.ts";

/** Ends with its signal, so that no worker has to be replaced. */
const SLOW = `
export class EndpointHandler {
  call(data, { signal }) {
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  }
  explain(data, context) { return this.call(data, context); }
}
`;

const manifestOf = (modelName: string): string =>
  JSON.stringify({ runtime: "node", model: { modelName, modelVersion: "1.0" } });

test("response_timeout is kept to wherever it was said, on every route, and a registration goes over the archive's file", async () => {
  using store = createModelStore([], {
    "plain/MAR-INF/MANIFEST.json": manifestOf("plain"),
    "plain/handler.ts": SLOW,
    "filed/MAR-INF/MANIFEST.json": manifestOf("filed"),
    "filed/handler.ts": SLOW,
    "filed/model-config.yaml": "responseTimeout: 600\nminWorkers: 1\n",
  });
  writeFileSync(
    join(store.path, "config.properties"),
    "default_response_timeout=1\ndefault_workers_per_model=1\nload_models=plain\n",
  );
  const args =
    "serve --model-store . --no-config-snapshots --enable-model-api --disable-token-auth --management-port 0 --metrics-port 0";
  await using server = await startHubserve({ args: args.split(" "), cwd: store.path });
  await server.line(/Ready after/);
  const management = /http:\/\/[^\s,;]+/.exec(await server.line(/Management on /))?.[0] ?? "";

  // The server's own file.
  const asked = [
    "/predictions/plain",
    "/explanations/plain/1.0",
    "/models/plain/invoke",
    "/plain/predict",
  ];
  const answers = await Promise.all(
    [...asked, "/invocations", "/"].map(async (path) => {
      const response = await fetch(`${server.url}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: '{"inputs": "x"}',
      });
      return [path, response.status];
    }),
  );
  assert.deepEqual(
    answers.filter(([, status]) => status !== 504),
    [],
  );

  // A registration, over the archive's file and the server's.
  const registered = await fetch(`${management}/models?url=filed&response_timeout=2`, {
    method: "POST",
  });
  assert.equal(registered.status, 200, await registered.text());
  const [described] = (await (await fetch(`${management}/models/filed`)).json()) as {
    responseTimeout: number;
  }[];
  assert.equal(described?.responseTimeout, 2);
  const late = await fetch(`${server.url}/predictions/filed`, { method: "POST", body: "x" });
  assert.equal(late.status, 504, "the file says ten minutes");
});
