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
      'hubserve_requests_total{route="/",status="200"} 1',
      'hubserve_requests_total{route="/",status="400"} 1',
      'hubserve_requests_total{route="/health",status="200"} 1',
      'hubserve_requests_total{route="other",status="404"} 3',
      'hubserve_workers{model="owner/name",version="1.0",state="ready"} 1',
      "inf_queue_size 0",
    ]) {
      assert.ok(page.includes(`${line}\n`), `${line} in\n${page}`);
    }
    assert.equal((await request("/metrics", post({}))).status, 405);
  },
);
