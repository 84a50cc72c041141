/**
 * A handler of one's own with what TorchServe's handlers have around them: metrics, the answer's head, envelopes, and a
 * handler that the registration names. The real program, its worker processes and its ports.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { startHubserve } from "../support/hubserve.ts";
import { createModelStore } from "../support/model-store.ts";

const MEASURING = `
export class EndpointHandler {
  async call({ inputs }, { metrics, response }) {
    return this.answer(String(inputs), metrics, response);
  }
  answer(text, metrics, response) {
    metrics.addCounter("WordsSeen", text.split(" ").length, { dimensions: { Language: "en" } });
    metrics.addTime("LookupTime", 1.5);
    if (text === "wrong metric") metrics.addCounter("wrong metric");
    if (text === "wrong head") response.headers.set("transfer-encoding", "chunked");
    if (text === "gone") response.status = 410;
    if (text === "nothing") response.status = 204;
    response.headers.set("x-words", String(text.split(" ").length));
    if (text === "page") {
      response.headers.set("content-type", "text/html; charset=utf-8");
      return "<b>page</b>";
    }
    if (text === "stream") {
      response.status = 202;
      return (async function* () {
        yield "a";
        metrics.addCounter("PiecesSent");
        yield "b";
        response.status = 500;
        metrics.addCounter("PiecesSent");
      })();
    }
    return { text };
  }
}
`;

const BATCHING = `${MEASURING.replace("EndpointHandler", "Base")}
export class EndpointHandler extends Base {
  callBatch(items, { members }) {
    return items.map(({ inputs }, i) => this.answer(String(inputs), members[i].metrics, members[i].response));
  }
}
`;

const METRICS_YAML = `
dimensions: []
model_metrics:
  histogram:
    - name: LookupTime
      unit: ms
      dimensions: ["ModelName", "Level"]
`;

const manifestOf = (modelName: string, model: object = {}): string =>
  JSON.stringify({ runtime: "node", model: { modelName, modelVersion: "1.0", ...model } });

const FILES = {
  "one/MAR-INF/MANIFEST.json": manifestOf("one"),
  "one/handler.ts": MEASURING,
  "many/MAR-INF/MANIFEST.json": manifestOf("many"),
  "many/handler.ts": BATCHING,
  "wrapped/MAR-INF/MANIFEST.json": manifestOf("wrapped", { envelope: "kserve" }),
  "wrapped/handler.ts": MEASURING,
  "named/MAR-INF/MANIFEST.json": manifestOf("named"),
  "named/handler.ts": `export class EndpointHandler { call() { return "own"; } }`,
  "named/other.ts": `export class EndpointHandler { call() { return "other"; } }`,
};

test("handlers measure, say their answers' heads, are wrapped in envelopes, and are named by registrations", async () => {
  using store = createModelStore([], FILES);
  writeFileSync(join(store.path, "metrics.yaml"), METRICS_YAML);
  writeFileSync(
    join(store.path, "config.properties"),
    "load_models=one,many,wrapped\nmetrics_mode=log\nmetrics_config=metrics.yaml\ndefault_workers_per_model=1\n",
  );
  const args =
    "serve --model-store . --ncs --enable-model-api --disable-token-auth --management-port 0 --metrics-port 0";
  await using server = await startHubserve({
    args: args.replace("--ncs", "--no-config-snapshots").split(" "),
    cwd: store.path,
  });
  await server.line(/Ready after/);

  for (const model of ["one", "many"]) {
    const ask = (text: string): Promise<Response> =>
      fetch(`${server.url}/predictions/${model}`, { method: "POST", body: text });
    const plain = await ask("a b c");
    assert.equal(plain.status, 200);
    assert.equal(plain.headers.get("x-words"), "3");
    assert.equal((await ask("gone")).status, 410);
    const page = await ask("page");
    assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
    assert.equal(await page.text(), "<b>page</b>");
    const nothing = await ask("nothing");
    assert.deepEqual([nothing.status, await nothing.text()], [204, ""]);
    assert.equal(nothing.headers.get("content-type"), null);
    const stream = await ask("stream");
    assert.deepEqual([stream.status, await stream.text()], [202, "ab"]);
    await server.line(
      /WARN A handler set its response's status or headers when its stream had beg/,
    );
    for (const wrong of ["wrong metric", "wrong head"]) {
      const failed = await ask(wrong);
      assert.equal(failed.status, 503, wrong);
      assert.equal(failed.headers.get("x-words"), null, "of an answer that is none");
    }
  }
  // On POST / too: the first model that is there.
  const first = await server.post("page");
  assert.equal(first.headers.get("content-type"), "text/html; charset=utf-8");
  assert.equal(await first.text(), "<b>page</b>");
  assert.equal((await server.post("gone")).status, 410);
  assert.match(await (await server.post("wrong head")).text(), /transfer-encoding is the server's/);

  const wrapped = await fetch(`${server.url}/predictions/wrapped`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ instances: [{ data: "x" }, { data: "y z" }] }),
  });
  assert.deepEqual(await wrapped.json(), { predictions: [{ text: "x" }, { text: "y z" }] });

  const page = await (await fetch(`${server.url}/metrics`)).text();
  const valueOf = (series: string): number =>
    Number(
      page
        .split("\n")
        .find((line) => line.startsWith(series))
        ?.slice(series.length + 1),
    );
  const host = /Requests2XX\{Level="Host",Hostname="([^"]*)",\}/.exec(page)?.[1] ?? "";
  // "a b c" and six others, two of them of two words.
  const words = `WordsSeen{Language="en",ModelName="many",Level="Model",Hostname="${host}",}`;
  assert.equal(valueOf(words), 3 + 1 + 1 + 1 + 1 + 2 + 2);
  assert.equal(valueOf(`PiecesSent{ModelName="many",Level="Model",Hostname="${host}",}`), 2);
  assert.match(page, /^# TYPE LookupTime histogram$/m);
  assert.equal(valueOf(`LookupTime_count{ModelName="many",Level="Model",Hostname="${host}",}`), 7);
  await server.line(
    /WordsSeen\.Count:3\.0\|#Language:en,ModelName:many,Level:Model\|#hostname:\S+,requestID:\S+,timestamp:\d+/,
  );
  await server.line(/Requests2XX\.Count:1\.0\|#Level:Host\|#hostname:\S+,timestamp:\d+/);

  const management = /http:\/\/[^\s,;]+/.exec(await server.line(/Management on /))?.[0] ?? "";
  const register = async (query: string): Promise<string> => {
    const answer = await fetch(`${management}/models?initial_workers=1&${query}`, {
      method: "POST",
    });
    assert.equal(answer.status, 200, await answer.text());
    const name = new URLSearchParams(query).get("model_name") ?? "";
    return (await fetch(`${server.url}/predictions/${name}`, { method: "POST", body: "" })).text();
  };
  assert.equal(await register("url=named&model_name=a&handler=other"), "other");
  assert.equal(await register("url=named&model_name=b&handler=image_classifier"), "own");
  await server.line(
    /Ignoring the handler "image_classifier": it is no TypeScript or JavaScript file/,
  );

  const workflow = await fetch(`${server.url}/wfpredict/w`, { method: "POST", body: "x" });
  assert.equal(workflow.status, 501);
  assert.deepEqual(Object.keys((await workflow.json()) as object), ["code", "type", "message"]);
});

test("with --compat torchserve only what is declared is shown, unless it is to be detected", async () => {
  using store = createModelStore([], FILES);
  for (const [more, isShown] of [
    ["", false],
    [" --model-metrics-auto-detect", true],
  ] as const) {
    const args = `serve one --port 0 --workers 1 --compat torchserve${more}`;
    await using server = await startHubserve({ args: args.split(" "), cwd: store.path });
    await server.line(/Ready after/);
    await (await fetch(`${server.url}/predictions/one`, { method: "POST", body: "a b" })).text();
    const page = await (await fetch(`${server.url}/metrics`)).text();
    assert.equal(/^WordsSeen\{/m.test(page), isShown);
    if (!isShown) await server.line(/Ignoring the metric WordsSeen of a handler: metrics_config/);
  }
});
