/**
 * What fuzzing has found, each mended and kept so.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { isRuntimeError, type ErrorCode } from "../../runtime/errors.ts";
import { buildGradientGraphs } from "../../runtime/explain/gradient-graph.ts";
import { readCard } from "../../runtime/handler/model/folder.ts";
import { decodeAudio } from "../../runtime/handler/media/audio.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { parseMetricsConfig } from "../../runtime/observe/metrics-config.ts";
import { parseManifest } from "../../runtime/repository/archive-manifest.ts";
import { parseModelConfig } from "../../runtime/repository/model-config.ts";
import { parseRequirements } from "../../runtime/repository/requirements-file.ts";
import { parseConfigFile } from "../../runtime/torchserve-config.ts";
import { testDoor } from "../support/app-matrix.ts";
import { node, random, smallModel, type SmallNode } from "../support/gradients.ts";

/** A refusal with that code, of a length that a person reads. */
function refusal(code: ErrorCode, pattern = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isRuntimeError(error), String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, pattern);
    assert.ok(error.message.length < 1000, `${error.message.length} characters`);
    return true;
  };
}

testDoor(
  "a preflight's answer has its request's id",
  { cors: { corsAllowedOrigin: "*", corsAllowedMethods: "POST", corsAllowedHeaders: undefined } },
  async ({ request }) => {
    const headers = { "access-control-request-method": "POST", "x-request-id": "a" };
    const response = await request("/predict", { method: "OPTIONS", headers });
    assert.equal(response.status, 204);
    assert.equal(response.headers.get("x-request-id"), "a");
    assert.equal(response.headers.get("access-control-allow-origin"), "*");
  },
);

test("model-config.yaml with mappings in one another by the thousand is refused, not a RangeError", () => {
  const deep = Array.from({ length: 3000 }, (_, level) => `${" ".repeat(level)}a:`).join("\n");
  for (const text of [
    deep,
    "a: ".repeat(20_000),
    `x: ${"__proto__: ".repeat(5000)}`,
    "- ".repeat(20_000),
  ])
    assert.throws(
      () => parseModelConfig("model-config.yaml", text, silentLog()),
      refusal("MODEL_INVALID"),
    );
});

const LONG = "x".repeat(100_000);

for (const [what, read, code] of [
  [
    "config.properties: a value",
    () => parseConfigFile("c", `inference_address=${LONG}`, {}),
    "INVALID_OPTION",
  ],
  [
    "config.properties: a variable",
    () => parseConfigFile("c", `model_store=$$${LONG}$$`, {}),
    "INVALID_OPTION",
  ],
  [
    "config.properties: a model",
    () => parseConfigFile("c", `models={"${LONG}": 1}`, {}),
    "INVALID_OPTION",
  ],
  [
    "requirements.json: a name",
    () => parseRequirements(JSON.stringify({ [`}${LONG}`]: "1" })),
    "REQUIREMENTS_FAILED",
  ],
  [
    "requirements.json: a path",
    () => parseRequirements(JSON.stringify({ a: `file:${LONG}` })),
    "REQUIREMENTS_FAILED",
  ],
  [
    "model-config.yaml",
    () => parseModelConfig("m.yaml", `a: >${LONG}`, silentLog()),
    "MODEL_INVALID",
  ],
  ["metrics.yaml", () => parseMetricsConfig("m.yaml", `a: *${LONG}`), "INVALID_OPTION"],
  [
    "MANIFEST.json",
    () =>
      parseManifest(
        "a.mar",
        JSON.stringify({
          runtime: "node",
          model: { modelName: "a", modelVersion: "1", envelope: LONG },
        }),
      ),
    "REPOSITORY_INVALID",
  ],
] as const) {
  test(`a refusal does not repeat a file's page-long text (${what})`, () => {
    assert.throws(read, refusal(code));
  });
}

test("what YAML only warns of is not printed past the log", async () => {
  const warnings: unknown[] = [];
  const onWarning = (warning: unknown): void => void warnings.push(warning);
  const folder = mkdtempSync(join(tmpdir(), "hubserve-card-"));
  process.on("warning", onWarning);
  try {
    const odd = "a: !!js/function x\nb: &c: 1\n";
    parseMetricsConfig("metrics.yaml", odd);
    writeFileSync(join(folder, "README.md"), `---\n${odd}---\n`);
    await readCard(folder, ["README.md"], "");
    await new Promise((resolve) => setImmediate(resolve)); // warnings come a turn later
  } finally {
    process.off("warning", onWarning);
    rmSync(folder, { recursive: true, force: true });
  }
  assert.deepEqual(warnings, []);
});

for (const [operator, made] of [
  [
    "LayerNormalization",
    node("LayerNormalization", "hidden scale bias", "out", { axis: -2_000_000_000 }),
  ],
  [
    "LayerNormalization, beyond the last",
    node("LayerNormalization", "hidden scale bias", "out", { axis: 3 }),
  ],
  ["RMSNormalization", node("RMSNormalization", "hidden scale", "out", { axis: -2_000_000_000 })],
] as const satisfies readonly (readonly [string, SmallNode])[]) {
  test(`an axis that no input has is refused before a list of that length is made (${operator})`, () => {
    const weights = { dims: [4], values: [1, 1, 1, 1] };
    const model = smallModel({
      opset: 23,
      inputs: { x: random([2, 3, 4], 1) },
      constants: { scale: weights, bias: weights },
      nodes: [node("Identity", "x", "hidden"), made],
      outputs: ["out"],
    });
    assert.throws(
      () => buildGradientGraphs(model, { layer: "hidden", output: "out" }),
      refusal("NOT_SUPPORTED", /axis/),
    );
  });
}

test("a sound of little but broken packets is refused before the decoder fills the log with them", async (t) => {
  const print = t.mock.method(console, "error", () => undefined);
  const [silence, broken] = [Uint8Array.of(0xf8, 0xff, 0xfe), Uint8Array.of(0xff, 0xff, 0xff)];
  const sound = (packets: number, every: number): Uint8Array =>
    oggOpus(
      Array.from({ length: packets }, (_, index) => (index % every === 0 ? silence : broken)),
    );
  const options = { action: "hear it", name: "inputs", sampleRate: 16_000 };
  await assert.rejects(
    decodeAudio({ bytes: sound(20_000, 25) }, options),
    refusal("INVALID_INPUT", /too much of it is damaged/),
  );
  assert.ok(print.mock.callCount() < 300, `${print.mock.callCount()} lines`);
  // Some damage costs what was damaged, and no more.
  assert.ok((await decodeAudio({ bytes: sound(100, 2) }, options)).length > 0);
});

/** An Ogg file of Opus packets, one to a page (RFC 7845); checksums are left out, as nobody reads them. */
function oggOpus(packets: readonly Uint8Array[]): Uint8Array {
  const head = Buffer.from("OpusHead\u0001\u0001\0\0\u0080\u00bb\0\0\0\0\0", "latin1");
  const tags = Buffer.from("OpusTags\0\0\0\0\0\0\0\0", "latin1");
  const pages = [head, tags, ...packets].map((packet, index, all) => {
    const page = Buffer.alloc(28);
    page.write("OggS");
    page[5] = index === 0 ? 2 : index === all.length - 1 ? 4 : 0;
    page.writeUInt32LE(Math.max(0, index - 1) * 960, 6);
    page.writeUInt32LE(1, 14);
    page.writeUInt32LE(index, 18);
    page[26] = 1;
    page[27] = packet.length;
    return Buffer.concat([page, packet]);
  });
  return new Uint8Array(Buffer.concat(pages));
}
