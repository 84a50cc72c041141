/**
 * Those parts of the playground's page that need no browser: snippets, figures, parameters, numbers.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { percent } from "../../runtime/http/playground/client/bars.ts";
import { quantile, readMetrics, time } from "../../runtime/http/playground/client/figures.ts";
import type { Asked } from "../../runtime/http/playground/client/forms.ts";
import { pretty } from "../../runtime/http/playground/client/json.ts";
import { toSimple } from "../../runtime/http/playground/client/parameters.ts";
import { writeSnippets } from "../../runtime/http/playground/client/snippets.ts";
import { shapeOf } from "../../runtime/http/playground/client/vectors.ts";
import type { ShownModel } from "../../runtime/http/playground/wire.ts";
import { createMetrics } from "../../runtime/observe/metrics.ts";

const MODEL: ShownModel = {
  name: "m",
  version: "1.0",
  isDefaultVersion: true,
  isFirst: true,
  state: "ready",
  isReady: true,
  detail: "Ready",
  handler: "default",
  task: "text-classification",
};
const ORIGIN = "http://localhost:8080";

function asks(body: Asked["body"], more: Partial<Asked> = {}): Asked {
  return { path: "/", body, values: {}, ...more };
}

const IMAGE = {
  kind: "image",
  name: "a b.png",
  blob: new Blob(),
  url: "blob:x",
  base64: "QUJD",
} as const;

test("writeSnippets() quotes for the shell and asks Hugging Face's client", () => {
  const { curl, typescript } = writeSnippets(
    asks({ inputs: "I'm here", parameters: { top_k: 2 } }),
    MODEL,
    ORIGIN,
    false,
  );
  assert.equal(
    curl,
    `curl 'http://localhost:8080/' \\
  -H 'Content-Type: application/json' \\
  -d '{"inputs":"I'\\''m here","parameters":{"top_k":2}}'`,
  );
  assert.equal(
    typescript,
    `import { InferenceClient } from "@huggingface/inference";

const model = new InferenceClient().endpoint("http://localhost:8080");
const answer = await model.textClassification({ inputs: "I'm here", parameters: { top_k: 2 } });
console.log(answer);`,
  );
});

test("writeSnippets() names a key, and never shows it", () => {
  const { curl, typescript } = writeSnippets(asks({ inputs: "Hi" }), MODEL, ORIGIN, true);
  assert.match(curl, /-H "Authorization: Bearer \$HUBSERVE_KEY"/);
  assert.match(typescript, /new InferenceClient\(process\.env\.HUBSERVE_KEY\)/);
});

test("writeSnippets() falls back to fetch where the client has no way to say it", () => {
  const explained = { inputs: "Hi", parameters: { explain: true } };
  for (const [asked, model] of [
    [asks(explained), MODEL],
    [asks({ inputs: "Hi" }), { ...MODEL, handler: "custom" }],
    [asks({ inputs: "Hi" }, { path: "/predictions/m" }), MODEL],
    [asks({ inputs: "Hi" }), { ...MODEL, task: "text-ranking" }],
  ] as const) {
    const { typescript } = writeSnippets(asked, model, ORIGIN, false);
    assert.match(typescript, /await fetch\("http:\/\/localhost:8080/);
  }
});

test("writeSnippets() sends a file as the body where nothing hinders, else within JSON", () => {
  const model = { ...MODEL, task: "image-classification" };
  const plain = asks({ inputs: IMAGE.base64, parameters: { top_k: 2 } }, { media: IMAGE });
  assert.equal(
    writeSnippets(plain, model, ORIGIN, false).curl,
    `curl 'http://localhost:8080/?top_k=2' \\\n  --data-binary '@a b.png'`,
  );
  const inner = asks({ inputs: { image: IMAGE.base64, question: "It's?" } }, { media: IMAGE });
  const { curl, typescript } = writeSnippets(inner, MODEL, ORIGIN, false);
  assert.match(
    curl,
    /^printf '%s' '\{"inputs":\{"image":"'"\$\(base64 < 'a b\.png' \| tr -d '\\n'\)"'","question":"It'\\''s\?"\}\}' \\\n {2}\| curl /,
  );
  assert.match(typescript, /image: await openAsBlob\("a b\.png"\)/);
  assert.doesNotMatch(curl + typescript, /QUJD/);
});

test("a snippet's texts cannot leave their quotes", () => {
  const nasty = `"'\`; $(rm -rf /) \${x} \\ \n</script>`;
  const { curl, typescript } = writeSnippets(asks({ inputs: nasty }), MODEL, ORIGIN, false);
  assert.ok(curl.endsWith(`-d '${JSON.stringify({ inputs: nasty }).replaceAll("'", "'\\''")}'`));
  assert.ok(typescript.includes(`inputs: ${JSON.stringify(nasty)}`));
});

test("readMetrics() reads what the server writes, hostile names too", () => {
  const metrics = createMetrics();
  const name = 'a "b"\\ \n{},=';
  metrics.ofModel(name, "1.0").dispatched(3);
  metrics.request("/", 200, 12);
  const samples = readMetrics(metrics.render([]));
  const batches = samples.find((sample) => sample.name === "hubserve_batch_requests_sum");
  assert.deepEqual(batches, {
    name: "hubserve_batch_requests_sum",
    labels: { model: name, version: "1.0" },
    value: 3,
  });
  const all = samples.find(
    ({ name: metric, labels }) =>
      metric === "hubserve_request_duration_seconds_bucket" && labels["le"] === "+Inf",
  );
  assert.equal(all?.value, 1);
});

test("quantile() follows Prometheus's histogram_quantile between two looks", () => {
  const before = new Map([
    [0.1, 4],
    [1, 5],
    [Infinity, 5],
  ]);
  const after = new Map([
    [0.1, 14],
    [1, 25],
    [Infinity, 25],
  ]);
  // Of 20 requests 10 took up to 0.1 s, the others up to 1 s.
  assert.equal(quantile(0.5, before, after), 0.1);
  assert.ok(Math.abs((quantile(0.75, before, after) ?? 0) - 0.55) < 1e-12);
  assert.equal(quantile(0.5, after, after), undefined);
  const slow = new Map([...after, [Infinity, 45]] as const);
  assert.equal(quantile(0.95, before, slow), 1);
});

test("time() and percent() round for people", () => {
  assert.deepEqual([0.0012, 0.25, 2].map(time), ["1.2 ms", "250 ms", "2.0 s"]);
  assert.deepEqual([0.97123, 0.00023, -0.5, 0].map(percent), [
    "97.1 %",
    "0.023 %",
    "-50.0 %",
    "0.0 %",
  ]);
});

test("toSimple() finds what one control can hold", () => {
  const nullable = { anyOf: [{ type: "integer", minimum: 1 }, { type: "null" }] };
  assert.deepEqual(toSimple(nullable), { type: "integer", minimum: 1, maximum: undefined });
  assert.equal(toSimple({ type: ["boolean", "null"] })?.type, "boolean");
  const choice = { anyOf: [{ type: "string", enum: ["a", "b"] }, { type: "null" }] };
  assert.deepEqual(toSimple(choice), { type: "choice", choices: ["a", "b"] });
  for (const schema of [
    { type: "object" },
    { anyOf: [{ type: "string" }, { type: "array" }] },
    { anyOf: [{ type: "number", const: 1 }, { type: "null" }] },
    "nonsense",
    undefined,
  ]) {
    assert.equal(toSimple(schema), undefined);
  }
});

test("pretty() keeps short answers whole and cuts long ones", () => {
  const answer = [{ label: "joy", scores: [1, 2], none: [] }];
  assert.deepEqual(JSON.parse(pretty(answer)), answer);
  const long = pretty({ image: "x".repeat(5000), numbers: Array.from({ length: 1000 }, () => 1) });
  assert.ok(long.length < 500);
  assert.match(long, /5,000 characters/);
  assert.match(long, /1,000 in all/);
});

test("shapeOf() measures nested numbers, and nothing else", () => {
  assert.deepEqual(shapeOf([[[1, 2, 3]], [[4, 5, 6]]]), [2, 1, 3]);
  for (const value of [[], [[]], ["a"], [{ a: 1 }], "x", null])
    assert.equal(shapeOf(value), undefined);
});
