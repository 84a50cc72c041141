/**
 * Inputs and parameters that make no sense, to every task: each is refused in one sentence, or answered; none is a
 * failure of the server's, and none keeps it busy once nobody waits any more.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { isRuntimeError } from "../../../runtime/errors.ts";
import type { LoadedHandler } from "../../../runtime/handler/contract.ts";
import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { TASKS } from "../../../runtime/handler/tasks/registry.ts";
import type { InferenceRequest } from "../../../runtime/inference.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { modelPath } from "../../support/goldens.ts";
import { EXAMPLES, FILES, type Ask } from "../../support/task-examples.ts";

type Content = Pick<InferenceRequest, "data" | "media">;

const NOT_MEDIA = { bytes: new Uint8Array([1, 2, 3]), contentType: "image/png" };

const INPUTS: readonly unknown[] = [
  undefined,
  null,
  true,
  3,
  "",
  " ",
  "\u0000\ud800",
  "x",
  [],
  [""],
  [null],
  [[]],
  {},
  { question: "", context: "" },
  { question: 1, context: [] },
  { question: "a", image: "b" },
  { question: "a", context: "b", image: NOT_MEDIA },
  { text: "", text_pair: "" },
  { source_sentence: "", sentences: [] },
  { source_sentence: "a", sentences: [1] },
  { query: "", texts: [] },
  { query: "a", texts: [{}] },
  { image: null },
  { image: NOT_MEDIA },
  { raw: [], sampling_rate: 16_000 },
  { raw: [0, 1e30], sampling_rate: 0.5 },
  NOT_MEDIA,
  [NOT_MEDIA, NOT_MEDIA],
  { __proto__: null, constructor: 1 },
  "/etc/passwd",
  "https://example.com/a.png",
  "file:///etc/passwd",
  "data:image/png;base64,AAAA",
  "UklGRgAAAABXQVZF", // the beginning of a WAV file
];

const VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  0.5,
  1e9,
  Number.MAX_SAFE_INTEGER,
  1e308,
  "",
  "x",
  [],
  [""],
  [null],
  [[]],
  {},
  { a: 1 },
];

function toContent(ask: Ask): Content {
  if ("json" in ask) return { data: ask.json };
  const bytes = new Uint8Array(readFileSync(FILES[ask.file].path));
  const media = { bytes, contentType: ask.file === "image" ? "image/png" : "audio/wav" };
  if (!("form" in ask)) {
    const parameters = Object.fromEntries(new URLSearchParams(ask.query));
    const isLabels = "candidate_labels" in parameters;
    return { media, data: isLabels ? { parameters } : {} };
  }
  const { question, ...rest } = ask.form;
  if (question !== undefined) return { data: { inputs: { question, image: media } } };
  return { media, data: { parameters: { candidate_labels: rest["candidate_labels"] } } };
}

/** A generation of very many tokens is no failure, but must end when it is told to. */
const PATIENCE_MS = 50;
/** How long a task may go on. */
const GRACE_MS = 5000;

/** `answered`, `refused`, `stopped` as nobody waited any more, or else what went wrong. */
async function ask(
  handler: LoadedHandler,
  { data, media }: Content,
  patienceMs: number,
): Promise<string> {
  const nobodyWaits = new AbortController();
  const patience = setTimeout(() => nobodyWaits.abort(), patienceMs);
  const { signal } = nobodyWaits;
  const request = {
    id: "noise",
    kind: "predict",
    data,
    headers: {},
    ...(media && { media }),
  } as const;
  const startedAtMs = performance.now();
  try {
    await handler.call(request, { signal, requestId: "noise", log: silentLog(), headers: {} });
    const tookMs = performance.now() - startedAtMs;
    return tookMs > GRACE_MS ? `went on for ${Math.round(tookMs)} ms` : "answered";
  } catch (error) {
    if (isRuntimeError(error) && error.code === "INVALID_INPUT")
      return /undefined|\[object|NaN/.test(error.message) ? error.message : "refused";
    if (signal.aborted && performance.now() - startedAtMs < GRACE_MS) return "stopped";
    return error instanceof Error ? `${error.message} ${error.stack}` : String(error);
  } finally {
    clearTimeout(patience);
  }
}

for (const entry of TASKS) {
  const example = EXAMPLES[entry.name];
  const model = example?.model;
  if (example === undefined || model === undefined) continue;
  test(`${entry.name} answers or refuses whatever it is sent`, async () => {
    const repository = model.startsWith("/") ? model : modelPath(model);
    const options = { repository, task: entry.name, dtype: "fp32" };
    const handler = await loadDefaultHandler(options, silentLog());
    const content = toContent(example.ask);
    const given: object = content.data["parameters"] ?? {};
    const { parameters: schema } = await entry.load();
    // Once told to stop, a task's own failures are no longer seen: so only where it may go on for long.
    const patienceMs = "max_new_tokens" in schema.shape ? PATIENCE_MS : GRACE_MS;
    const failures: string[] = [];
    const note = async (what: unknown, noise: Content): Promise<void> => {
      const outcome = await ask(handler, noise, patienceMs);
      if (!["answered", "refused", "stopped"].includes(outcome))
        failures.push(`${JSON.stringify(what)}: ${outcome}`);
    };
    try {
      for (const inputs of INPUTS)
        await note(
          { inputs },
          { data: { parameters: given, ...(inputs !== undefined && { inputs }) } },
        );
      await note("media", { data: { parameters: given }, media: NOT_MEDIA });
      for (const parameters of [3, "x", [], null, { no_such_parameter: 1 }])
        await note({ parameters }, { ...content, data: { ...content.data, parameters } });
      for (const name of Object.keys(schema.shape))
        for (const value of VALUES) {
          const parameters = { ...given, [name]: value };
          await note({ [name]: value }, { ...content, data: { ...content.data, parameters } });
        }
      assert.equal(await ask(handler, content, GRACE_MS), "answered", "the example itself");
    } finally {
      await handler.dispose();
    }
    assert.deepEqual(failures, []);
  });
}
