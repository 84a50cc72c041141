import assert from "node:assert/strict";

import { post, testDoor } from "../support/app-matrix.ts";

testDoor(
  "GET /metrics counts requests by route and status, whatever paths are asked for",
  {},
  async ({ request }) => {
    await (await request("/", post({ inputs: 1 }))).text();
    await (await request("/", post({ nothing: 1 }))).text();
    await (await request("/health")).text();
    for (const path of ["/a", "/b", "/c"]) await (await request(path)).text();
    const response = await request("/metrics");
    assert.equal(response.status, 200);
    assert.match(response.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
    const page = await response.text();
    for (const line of [
      'hubserve_requests_total{route="/",status="200",model="owner/name"} 1',
      'hubserve_requests_total{route="/",status="400",model=""} 1',
      'hubserve_requests_total{route="/health",status="200",model=""} 1',
      'hubserve_requests_total{route="other",status="404",model=""} 3',
      'hubserve_workers{model="owner/name",version="1.0",state="ready"} 1',
      "inf_queue_size 0",
    ]) {
      assert.ok(page.includes(`${line}\n`), `${line} in\n${page}`);
    }
    assert.equal((await request("/metrics", post({}))).status, 405);
  },
);

const ROUTES: readonly (readonly [route: string, path: string, init?: RequestInit])[] = [
  ["/predict", "/predict", post({ inputs: "a" })],
  ["/predictions/*", "/predictions/owner%2Fname", post({ data: "a" })],
  ["/models/:model/invoke", "/models/owner%2Fname/invoke", post({ data: "a" })],
  ["/:model/predict", "/owner%2Fname/predict", post({ data: "a" })],
  ["/v1/models/:model", "/v1/models/owner/name"],
  ["/v1/models/:model:predict", "/v1/models/owner/name:predict", post({ instances: ["a"] })],
  ["/v1/models/:model:explain", "/v1/models/none:explain", post({ instances: ["a"] })],
  ["/v2/models/:model", "/v2/models/owner/name"],
  ["/v2/models/:model/ready", "/v2/models/owner/name/ready"],
  ["/v2/models/:model/infer", "/v2/models/owner/name/infer", post({ inputs: [] })],
  ["/v2/models/:model/versions/:version/infer", "/v2/models/m/versions/2/infer", post({})],
  ["/v2/models/:model/generate", "/v2/models/owner/name/generate", post({ text_input: "a" })],
  ["/v2/repository/models/:model/load", "/v2/repository/models/m/load", post({})],
];

testDoor(
  "a route is counted by its pattern, whatever the model is called",
  {},
  async ({ request }) => {
    for (const [, path, init] of ROUTES) await (await request(path, init)).text();
    const page = await (await request("/metrics")).text();
    for (const [route, path] of ROUTES)
      assert.ok(page.includes(`hubserve_requests_total{route="${route}",`), `${path} in\n${page}`);
    const labels = [...page.matchAll(/hubserve_requests_total\{route="([^"]*)"/g)];
    assert.equal(new Set(labels.map(([, route]) => route)).size, ROUTES.length);
  },
);

testDoor(
  "answers say how long each stage took, on every protocol's route",
  { answer: () => ({ kind: "json", value: [{ label: "a", score: 1 }] }) },
  async ({ request }) => {
    for (const [path, body] of [
      ["/", { inputs: "a" }],
      ["/predictions/owner%2Fname", { data: "a" }],
      ["/v1/models/owner/name:predict", { instances: ["a"] }],
    ] as const) {
      const { headers, status } = await request(path, post(body));
      assert.equal(status, 200, path);
      const timing = headers.get("server-timing") ?? "";
      assert.match(timing, /^queue;dur=1\.5, inference;dur=\d+\.\d, total;dur=\d+\.\d$/, path);
    }
  },
);
