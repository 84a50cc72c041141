/**
 * What JSON mode adds to a step: the time to choose a token of 50 000, beside the same choice without the constraint.
 *
 *     npx tsx bench/json-choice.ts
 *
 * The vocabulary is made up: every byte, and texts of two to eight characters in the proportions of real ones (words with a space before
 * them, pieces of words, numbers, punctuation). Scores favour what a model that is writing JSON favours, or nothing at all.
 */
import { createJsonChoice } from "../runtime/handler/generation/json-choice.ts";
import type { TokenBytes } from "../runtime/handler/generation/json-tokens.ts";
import { createDraw } from "../runtime/handler/model/generation-choice.ts";
import type { GenerationSettings, Sampling } from "../runtime/handler/model/generation-settings.ts";
import { createRandom } from "./random.ts";

const VOCABULARY = 50_000;
const STEPS = 400;
const PLAIN: Sampling = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  typicalP: 1,
  epsilonCutoff: 0,
  etaCutoff: 0,
};
const random = createRandom(1);

function makeTable(): TokenBytes {
  const texts: Uint8Array[] = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
  const letters = "etaoinshrdlucmfwypvbgkqjxz";
  const marks = `{}[]":,._-()<>/\\'=`;
  const pick = (from: string): string => from[Math.floor(random() * from.length)] ?? "";
  while (texts.length < VOCABULARY) {
    const kind = random();
    const from = kind < 0.85 ? letters : kind < 0.93 ? "0123456789" : marks;
    const length = 1 + Math.floor(random() * 7);
    const text = Array.from({ length }, () => pick(from)).join("");
    texts.push(Buffer.from(random() < 0.5 ? ` ${text}` : text));
  }
  const starts = new Uint32Array(texts.length + 1);
  for (const [id, text] of texts.entries()) starts[id + 1] = (starts[id] ?? 0) + text.length;
  const byFirst = Array.from({ length: 256 }, (_, byte) =>
    Int32Array.from(texts.flatMap((text, id) => (text[0] === byte ? [id] : []))),
  );
  return { size: texts.length, bytes: Buffer.concat(texts), starts, byFirst };
}

/** What the next character should be, as a model would say that repeats this object. */
const WANTED = Buffer.from(
  `{"name": "some words", "count": [12, 3.5, true], "more": {"deep": null}}`,
);

/** @returns The mean time of a choice in milliseconds, the copy of the scores left out. */
function measure(
  settings: Pick<GenerationSettings, "sampling" | "seed">,
  isConstrained: boolean,
  knows: boolean,
): number {
  const table = makeTable();
  const noise = Float32Array.from({ length: VOCABULARY }, () => random() * 8);
  let ms = 0;
  let written = 0;
  let json = createJsonChoice(table, settings);
  const draw = createDraw({ ...settings } as GenerationSettings); // reads these two alone
  for (let step = 0; step < STEPS; step++) {
    const scores = noise.slice();
    if (knows) scores[WANTED[written] ?? 0] = 30;
    const begin = performance.now();
    const id = isConstrained ? json.choose(scores) : draw(scores);
    ms += performance.now() - begin;
    written = isConstrained && knows && id === WANTED[written] ? written + 1 : 0;
    if (!isConstrained) written = (step + 1) % WANTED.length;
    if (written === 0 || json.isComplete) {
      json = createJsonChoice(table, settings);
      written = 0;
    }
  }
  return ms / STEPS;
}

const rows = [
  ["greedy, a model that knows", {}, true],
  ["drawn, a model that knows", { sampling: PLAIN, seed: 1 }, true],
  ["drawn of top_p 0.9, a model that knows", { sampling: { ...PLAIN, topP: 0.9 }, seed: 1 }, true],
  ["greedy, a model that does not", {}, false],
  ["drawn, a model that does not", { sampling: PLAIN, seed: 1 }, false],
] as const;
for (const [title, settings, knows] of rows) {
  const free = measure(settings, false, knows);
  const bound = measure(settings, true, knows);
  process.stdout.write(
    `${title}: ${free.toFixed(2)} ms free, ${bound.toFixed(2)} ms in JSON mode\n`,
  );
}
