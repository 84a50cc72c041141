/**
 * JSON mode: whatever the model would like to say, it says a JSON object.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import type { PreTrainedTokenizer } from "@huggingface/transformers";

import type {
  GenerationEvent,
  GenerationParameters,
  GenerationRequest,
  GenerationResult,
} from "../../../runtime/generation.ts";
import type { LoadedHandler } from "../../../runtime/handler/contract.ts";
import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { createJsonChoice } from "../../../runtime/handler/generation/json-choice.ts";
import { tokenBytesOf, type TokenBytes } from "../../../runtime/handler/generation/json-tokens.ts";
import type { Sampling } from "../../../runtime/handler/model/generation-settings.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { modelPath, quietLog } from "../../support/goldens.ts";
import {
  added,
  llama as sentencePiece,
  pairs,
  tokenizerWith,
  wordPiece,
} from "../../support/small-tokenizers.ts";

const load = (name: string): Promise<LoadedHandler> =>
  loadDefaultHandler({ repository: modelPath(name), dtype: "fp32" }, silentLog());
const gpt2 = await load("tiny-gpt2");
const llama = await load("tiny-llama");
after(() => Promise.all([gpt2.dispose(), llama.dispose()]));

const PROMPT = "Once upon a time";

async function ask(
  handler: LoadedHandler,
  parameters: GenerationParameters,
  stream: boolean,
  text = PROMPT,
): Promise<unknown> {
  const generation: GenerationRequest = { prompt: { kind: "text", text }, parameters, stream };
  const { signal } = new AbortController();
  const request = { id: "test", kind: "generate", data: {}, headers: {}, generation } as const;
  return handler.call(request, { signal, requestId: "test", headers: {}, log: quietLog([]) });
}

async function write(
  handler: LoadedHandler,
  parameters: GenerationParameters,
  text?: string,
): Promise<GenerationResult["sequences"]> {
  const asked = { format: "json", ...parameters } as const;
  const { sequences } = (await ask(handler, asked, false, text)) as GenerationResult; // what `stream: false` is answered with
  return sequences;
}

function assertObject(text: string): void {
  const value: unknown = JSON.parse(text);
  assert.ok(typeof value === "object" && value !== null && !Array.isArray(value), text);
}

/** Hot enough that a model which tells stories comes to an end of its object by chance. */
const CHANCES: readonly GenerationParameters[] = [
  { temperature: 1, topK: 0 },
  { temperature: 2, topK: 0 },
  { temperature: 8, topK: 0 },
  { temperature: 2, topK: 20 },
  { temperature: 2, topP: 0.9 },
  { temperature: 4, typicalP: 0.9 },
  { temperature: 2, minP: 0.01, repetitionPenalty: 1.2 },
  { temperature: 2, presencePenalty: 1, frequencyPenalty: 0.5 },
];

for (const [name, handler] of [
  ["tiny-gpt2", gpt2],
  ["tiny-llama", llama],
] as const) {
  test(`${name} writes objects, or their beginnings, whatever is drawn`, async () => {
    const logitBias = await biased(handler, { '"': 4, "}": 6, ":": 2 });
    const asked = CHANCES.flatMap((chance) =>
      [1, 2, 3].map((seed) => write(handler, { ...chance, logitBias, seed, maxNewTokens: 60 })),
    );
    const all = (await Promise.all(asked)).flat(); // all of them in company
    const whole = all.filter(({ reason }) => reason === "eos_token");
    for (const { text } of whole) assertObject(text);
    assert.ok(whole.length >= 6, `${whole.length} of ${all.length} came to their end`);
    for (const { text, reason, tokens } of all) {
      assert.match(text, /^\s*\{/);
      if (reason === "eos_token") continue;
      assert.deepEqual([reason, tokens], ["length", 60]);
      assert.throws(() => JSON.parse(text), SyntaxError);
    }
  });

  test(`${name} writes the likeliest object, the same alone and in company, whole and streamed`, async () => {
    const logitBias = await biased(handler, { "{": 30, '"': 40, "}": 40, ":": 40, "1": 40 });
    const parameters = { doSample: false, maxNewTokens: 60, logitBias };
    const [alone] = await write(handler, parameters);
    assert.equal(alone?.reason, "eos_token", alone?.text);
    assertObject(alone.text);
    const others = [1, 2, 3].map((seed) => write(handler, { temperature: 1, seed }));
    const plain = ask(handler, { maxNewTokens: 12, doSample: false }, false);
    const [again] = await write(handler, parameters);
    assert.deepEqual(
      again?.details.map(({ token }) => token.id),
      alone.details.map(({ token }) => token.id),
    );
    await Promise.all(others);
    const { sequences } = (await plain) as GenerationResult; // see `write`
    assert.doesNotMatch(sequences[0]?.text ?? "{", /\{/, "others are free to write");

    const events: GenerationEvent[] = [];
    const stream = await ask(handler, { ...parameters, format: "json" }, true);
    for await (const event of stream as AsyncIterable<GenerationEvent>) events.push(event);
    const shown = events.map((event) =>
      event.type === "token" ? event.text : event.type === "end" ? (event.rest ?? "") : "",
    );
    assert.equal(shown.join(""), alone.text);
  });
}

/** These models have never seen an object: what one is made of is made likelier. */
async function biased(
  handler: LoadedHandler,
  texts: Readonly<Record<string, number>>,
): Promise<Record<string, number>> {
  const entries = Object.entries(texts).map(async ([text, bias]) => {
    const asked = { maxNewTokens: 1, promptTokens: true, doSample: false } as const;
    const { prompt = [] } = (await ask(handler, asked, false, text)) as GenerationResult; // see `write`
    assert.equal(prompt.at(-1)?.text, text);
    return [String(prompt.at(-1)?.id), bias] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
}

test("an end token that is wanted too early, or too late, changes nothing", async () => {
  for (const more of [{ ignoreEos: true }, { minNewTokens: 30 }, { logitBias: { "0": 100 } }]) {
    const [one] = await write(gpt2, {
      temperature: 4,
      topK: 0,
      seed: 3,
      maxNewTokens: 120,
      ...more,
    });
    if (one?.reason === "eos_token") assertObject(one.text);
    assert.match(one?.text ?? "", /^\s*\{/);
    assert.ok(one?.details.every(({ token }) => !token.special));
  }
});

test("a stop text ends an object where it stands", async () => {
  const [one] = await write(gpt2, {
    doSample: false,
    maxNewTokens: 60,
    stop: [`"`],
    keepsStop: true,
  });
  assert.deepEqual([one?.reason, one?.stopText], ["stop_sequence", `"`]);
  assert.match(one?.text ?? "", /^\s*\{\s*"$/);
});

test("several sequences are objects each", async () => {
  const all = await write(gpt2, {
    temperature: 4,
    topK: 0,
    seed: 9,
    sequences: 6,
    maxNewTokens: 100,
  });
  assert.equal(new Set(all.map(({ text }) => text)).size, 6);
  for (const { text, reason } of all) if (reason === "eos_token") assertObject(text);
});

test("beams follow no format, and are refused", async () => {
  await assert.rejects(write(gpt2, { numBeams: 2 }), {
    code: "INVALID_INPUT",
    message: /where beams are searched, no format is followed: wanted none, found "json"$/,
  });
});

test("where nothing may come next, a sentence says so", () => {
  for (const sampling of [undefined, OFF]) {
    const choice = createJsonChoice(tableOf(["a", "{", "}x", ""]), sampling ? { sampling } : {});
    assert.equal(choice.choose(new Float32Array(5)), 1);
    assert.throws(() => choice.choose(new Float32Array(5)), {
      code: "NOT_SUPPORTED",
      message: /^Cannot go on writing JSON: the model has no token that may come next/,
    });
  }
});

/** What a token is written as, in hex where it is no text. */
function textsOf({ bytes, starts, size }: TokenBytes): Map<number, string> {
  return new Map(
    Array.from({ length: size }, (_, id) => [
      id,
      Buffer.from(bytes.subarray(starts[id], starts[id + 1])).toString("latin1"),
    ]),
  );
}

const WORDS = [
  `{"`,
  `a`,
  `":`,
  `[1`,
  `,`,
  `true`,
  `],`,
  `"some`,
  `words`,
  `null`,
  `}`,
  `]`,
  `"`,
  `:`,
  `1`,
  `▁`,
  `▁"some`,
  `▁words`,
  `▁[1`,
  `▁true`,
  `▁null`,
];

test("what a token says is told of tokenizers of bytes, and of SentencePiece's", () => {
  const spm = sentencePiece(WORDS);
  const texts = textsOf(tokenBytesOf(spm));
  const vocabulary: ReadonlyMap<string, number> = spm.get_vocab();
  const textOf = (token: string): string | undefined => texts.get(vocabulary.get(token) ?? -1);
  assert.equal(textOf("<0x0A>"), "\n");
  assert.equal(textOf("<0xE9>"), "\u00e9", "one byte");
  assert.equal(textOf(`▁"some`), ` "some`);
  assert.equal(textOf("<unk>"), "", "special tokens say nothing");
  assert.equal(tokenBytesOf(spm), tokenBytesOf(spm), "asked once");
});

for (const [name, tokenizer] of [
  [
    "words in pieces",
    wordPiece([`{`, `"`, `a`, `:`, `[`, `1`, `,`, `true`, `]`, `some`, `words`, `null`, `}`]),
  ],
  [
    "words with an end",
    tokenizerWith({
      decoder: { type: "BPEDecoder", suffix: "</w>" },
      model: pairs([], [`{"a":`], { end_of_word_suffix: "</w>" }),
    }),
  ],
  [
    "words that cannot write it",
    sentencePiece([]) &&
      tokenizerWith({
        decoder: { type: "Metaspace", replacement: "▁" },
        added_tokens: [added("<unk>", 0)],
        model: {
          type: "Unigram",
          unk_id: 0,
          vocab: [
            ["<unk>", 0],
            ["▁a", -1],
          ],
        },
      }),
  ],
] as const satisfies readonly (readonly [string, PreTrainedTokenizer])[]) {
  test(`tokenizers of another kind are refused by name: ${name}`, () => {
    assert.throws(() => tokenBytesOf(tokenizer), {
      code: "NOT_SUPPORTED",
      message: /^Cannot write JSON: it is not known which bytes this model's tokens stand for/,
    });
  });
}

/** A vocabulary of texts, as a table. */
function tableOf(texts: readonly string[]): TokenBytes {
  const all = texts.map((text) => Buffer.from(text));
  const starts = new Uint32Array(all.length + 1);
  for (const [id, own] of all.entries()) starts[id + 1] = (starts[id] ?? 0) + own.length;
  const byFirst = Array.from({ length: 256 }, (_, byte) =>
    Int32Array.from(all.flatMap((own, id) => (own[0] === byte ? [id] : []))),
  );
  return { size: all.length, bytes: Buffer.concat(all), starts, byFirst };
}

const OFF: Sampling = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  typicalP: 1,
  epsilonCutoff: 0,
  etaCutoff: 0,
};

/** How often each token comes first, of so many. */
function countFirst(
  texts: readonly string[],
  probabilities: readonly number[],
  sampling: Sampling,
  rounds: number,
): number[] {
  const table = tableOf(texts);
  const counts = texts.map(() => 0);
  for (let seed = 0; seed < rounds; seed++) {
    const choice = createJsonChoice(table, { sampling, seed });
    const id = choice.choose(Float32Array.from(probabilities, Math.log));
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts;
}

test("tokens are drawn as on the condition that they may come, however many may not", () => {
  for (const wrong of [2, 40]) {
    // Three that may come, among few or many that may not: the few are drawn again, the many are looked through.
    const texts = [
      `{`,
      ` {`,
      `{"`,
      ...Array.from({ length: wrong }, (_, index) => `x${index}`),
      "",
    ];
    const right = [0.02, 0.05, 0.03];
    const probabilities = [...right, ...texts.slice(3).map(() => 0.9 / (wrong + 1))];
    const rounds = 4000;
    const counts = countFirst(texts, probabilities, OFF, rounds);
    assert.deepEqual(
      counts.slice(3),
      texts.slice(3).map(() => 0),
    );
    for (const [index, probability] of right.entries()) {
      const expected = probability / 0.1;
      // Four standard deviations; the seeds are fixed, so it holds or it does not.
      const most = 4 * Math.sqrt((expected * (1 - expected)) / rounds);
      assert.ok(
        Math.abs((counts[index] ?? 0) / rounds - expected) < most,
        `${wrong}: ${counts.join()}`,
      );
    }
  }
});

test("of what top_k leaves those that may come are drawn; where none may, it counts among those that may", () => {
  const texts = [`x`, `{`, `y`, ` {`, `{"`, `{}`];
  const probabilities = [0.4, 0.2, 0.15, 0.12, 0.1, 0.03];
  const kept = (topK: number): number[] =>
    countFirst(texts, probabilities, { ...OFF, topK }, 300).flatMap((count, id) =>
      count > 0 ? [id] : [],
    );
  assert.deepEqual(kept(2), [1]);
  assert.deepEqual(kept(4), [1, 3]);
  assert.deepEqual(kept(1), [1], "the likeliest of those that may come");
  assert.deepEqual(kept(0), [1, 3, 4, 5]);
});

test("a vocabulary of 50 000 tokens is not gone through while what comes may come", () => {
  const words = Array.from({ length: 50_000 }, (_, id) => `w${id}`);
  const table = tableOf([`{"`, ...words]);
  let asked = 0;
  const watched: TokenBytes = {
    ...table,
    get byFirst() {
      asked++;
      return table.byFirst;
    },
  };
  const choice = createJsonChoice(watched, { sampling: { ...OFF, topK: 50 }, seed: 1 });
  const scores = Float32Array.from({ length: table.size }, (_, id) =>
    id === 0 ? 30 : Math.sin(id),
  );
  assert.equal(choice.choose(scores.slice()), 0);
  scores[0] = -Infinity;
  for (let step = 0; step < 50; step++) choice.choose(scores.slice());
  assert.equal(asked, 0);
});
