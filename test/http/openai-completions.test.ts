/**
 * `POST /v1/completions` with an engine that says what is written down.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { RuntimeError } from "../../runtime/errors.ts";
import type { JsonValue } from "../../runtime/inference.ts";
import { createTestApp, post, testDoor, type Door } from "../support/app-matrix.ts";
import {
  eventsIn,
  GENERATES,
  scripted,
  words,
  type Scripted,
} from "../support/scripted-generation.ts";

const PATH = "/v1/completions";

interface Choice {
  readonly index: number;
  readonly text: string;
  readonly logprobs: {
    readonly tokens: readonly string[];
    readonly token_logprobs: readonly (number | null)[];
    readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[];
    readonly text_offset: readonly number[];
  } | null;
  readonly finish_reason: string | null;
}
interface Completion {
  readonly id: string;
  readonly object: string;
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
  readonly choices: readonly Choice[];
  readonly usage?: JsonValue;
}

async function complete({ request }: Door, body: object): Promise<Completion> {
  const response = await request(PATH, post(body, { "x-request-id": "r1" }));
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text) as Completion;
}

async function streamed({ request }: Door, body: object): Promise<(Completion | "[DONE]")[]> {
  const response = await request(PATH, post({ ...body, stream: true }));
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  return eventsIn(await response.text()) as unknown as (Completion | "[DONE]")[];
}

/** The door's app with these words, and what was asked. */
function model(engine: Scripted) {
  return { answer: engine.answer, description: GENERATES };
}

const hello = scripted(words(" there was a fox.", { seed: 7 }));

testDoor("a prompt is completed, in OpenAI's shape", model(hello), async (door) => {
  const { created, system_fingerprint, ...answer } = await complete(door, {
    model: "owner/name",
    prompt: "Once upon a time",
  });
  assert.deepEqual(answer, {
    id: "cmpl-r1",
    object: "text_completion",
    model: "owner/name",
    choices: [{ index: 0, text: " there was a fox.", logprobs: null, finish_reason: "stop" }],
    usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
  });
  assert.ok(Number.isInteger(created) && Math.abs(created - Date.now() / 1000) < 600);
  assert.match(system_fingerprint, /^fp_[0-9a-f]{12}$/);
  assert.deepEqual(hello.asked.at(-1), {
    prompt: { kind: "text", text: "Once upon a time" },
    parameters: { keepsStop: false, maxNewTokens: 16 },
    stream: false,
  });
  assert.equal((await complete(door, { prompt: "x" })).system_fingerprint, system_fingerprint);
});

testDoor("an object is asked for, or any text", model(hello), async (door) => {
  for (const [type, format] of [
    ["json_object", "json"],
    ["text", undefined],
  ]) {
    await complete(door, { prompt: "x", response_format: { type } });
    assert.equal(hello.asked.at(-1)?.parameters.format, format);
  }
});

testDoor("every field reaches the engine under its neutral name", model(hello), async (door) => {
  await complete(door, {
    prompt: [1, 2, 3],
    max_tokens: 5,
    temperature: 0.5,
    top_p: 0.9,
    n: 1,
    best_of: 1,
    stop: "\n",
    presence_penalty: 0.1,
    frequency_penalty: -0.2,
    logit_bias: { "50": -100 },
    seed: -1,
    logprobs: 3,
    user: "u",
    top_k: -1,
    min_p: 0.05,
    typical_p: 0.9,
    repetition_penalty: 1.1,
    min_tokens: 2,
    ignore_eos: true,
    include_stop_str_in_output: true,
    truncate_prompt_tokens: 100,
    suffix: null,
    something_else: { deep: 1 },
  });
  assert.deepEqual(hello.asked.at(-1), {
    prompt: { kind: "tokens", ids: [1, 2, 3] },
    parameters: {
      maxNewTokens: 5,
      doSample: true,
      temperature: 0.5,
      topP: 0.9,
      sequences: 1,
      stop: ["\n"],
      presencePenalty: 0.1,
      frequencyPenalty: -0.2,
      logitBias: { "50": -100 },
      seed: 2 ** 53 - 1,
      topTokens: 3,
      topK: 0,
      minP: 0.05,
      typicalP: 0.9,
      repetitionPenalty: 1.1,
      minNewTokens: 2,
      ignoreEos: true,
      keepsStop: true,
      truncate: 100,
    },
    stream: false,
  });
});

testDoor(
  "several prompts with several choices each come in the prompts' order",
  model(scripted(words(" a"), words(" b"), words(" c"), words(" d", { reason: "length" }))),
  async (door) => {
    const { choices, usage } = await complete(door, { prompt: ["x", "y"], n: 2 });
    assert.deepEqual(
      choices.map(({ index, text, finish_reason }) => [index, text, finish_reason]),
      [
        [0, " a", "stop"],
        [1, " b", "stop"],
        [2, " c", "stop"],
        [3, " d", "length"],
      ],
    );
    assert.deepEqual(usage, { prompt_tokens: 6, completion_tokens: 4, total_tokens: 10 });
  },
);

testDoor("a stream tells each piece, then why it ended", model(hello), async (door) => {
  const chunks = await streamed(door, { prompt: "Once" });
  assert.equal(chunks.pop(), "[DONE]");
  const told = chunks as Completion[];
  assert.deepEqual(
    told.map(({ choices }) => choices[0]?.text),
    [" there", " was", " a", " fox.", ""],
  );
  assert.deepEqual(
    told.map(({ choices }) => choices[0]?.finish_reason),
    [null, null, null, null, "stop"],
  );
  assert.equal(new Set(told.map(({ id, created }) => `${id} ${created}`)).size, 1);
  assert.ok(told.every((chunk) => chunk.object === "text_completion" && !("usage" in chunk)));
});

testDoor("a stream ends with usage where that is asked for", model(hello), async (door) => {
  const chunks = await streamed(door, {
    prompt: ["a", "b"],
    stream_options: { include_usage: true },
  });
  assert.equal(chunks.pop(), "[DONE]");
  const last = chunks.pop() as Completion;
  assert.deepEqual(last.choices, []);
  assert.deepEqual(last.usage, { prompt_tokens: 6, completion_tokens: 8, total_tokens: 14 });
  assert.ok(chunks.every((chunk) => (chunk as Completion).usage === null));
  const texts = ["", ""];
  for (const chunk of chunks as Completion[])
    for (const { index, text } of chunk.choices) texts[index] += text;
  assert.deepEqual(texts, [" there was a fox.", " there was a fox."]);
});

/** A stop text was held back, and left out with its token; one token is no text at all. */
const stopped = scripted({
  tokens: [
    { text: "é", top: ["é", "e"] },
    { text: "👍", shown: "" },
    { text: " ST", shown: "👍" },
    { text: "OP", shown: "" },
    { text: "</s>", special: true },
  ],
  reason: "stop_sequence",
  prompt: ["<s>", { text: "Hi", top: ["Hi", "Hey"] }, " you"],
  promptTokens: 3,
});

testDoor("log probabilities belong to the tokens that are shown", model(stopped), async (door) => {
  const logprobs = {
    tokens: ["é", "👍"],
    token_logprobs: [-0.5, -1],
    top_logprobs: [{ é: -0.5, e: -0.5 }, { "👍": -1 }],
    text_offset: [0, 1],
  };
  const { choices } = await complete(door, { prompt: "Hi you", logprobs: 2 });
  assert.deepEqual(choices[0]?.logprobs, logprobs);
  assert.equal(choices[0].text, "é👍");
  const chunks = await streamed(door, { prompt: "Hi you", logprobs: 2 });
  const parts = (chunks.slice(0, -1) as Completion[]).map(({ choices: [choice] }) => choice);
  assert.deepEqual(
    parts.flatMap((part) => part?.logprobs?.tokens ?? []),
    logprobs.tokens,
  );
  assert.deepEqual(
    parts.flatMap((part) => part?.logprobs?.text_offset ?? []),
    [0, 1],
  );
  assert.equal(parts.map((part) => part?.text).join(""), "é👍");
});

testDoor(
  "an echoed prompt stands before the text, its tokens with it",
  model(stopped),
  async (door) => {
    const { choices } = await complete(door, { prompt: "Hi you", echo: true, logprobs: 0 });
    const [choice] = choices;
    assert.equal(choice?.text, "Hi youé👍");
    assert.deepEqual(choice.logprobs, {
      tokens: ["<s>", "Hi", " you", "é", "👍"],
      token_logprobs: [null, -1, -2, -0.5, -1],
      // The likeliest at its place are told of a prompt's token as of any other; its first follows nothing.
      top_logprobs: [null, { Hi: -1, Hey: -1 }, { " you": -2 }, { é: -0.5, e: -0.5 }, { "👍": -1 }],
      text_offset: [0, 0, 2, 6, 7],
    });
    assert.equal(stopped.asked.at(-1)?.parameters.promptTokens, true);
    const chunks = await streamed(door, { prompt: "Hi you", echo: true, logprobs: 0 });
    const parts = (chunks.slice(0, -1) as Completion[]).map(({ choices: [part] }) => part);
    assert.equal(parts.map((part) => part?.text).join(""), choice.text);
    assert.deepEqual(
      parts.flatMap((part) => part?.logprobs?.tokens ?? []),
      choice.logprobs?.tokens,
    );
    assert.deepEqual(
      parts.flatMap((part) => part?.logprobs?.top_logprobs ?? []),
      choice.logprobs?.top_logprobs,
    );
  },
);

testDoor("with no tokens to write a prompt is only scored", model(stopped), async (door) => {
  const body = { prompt: [5, 6], echo: true, max_tokens: 0, logprobs: 1 };
  const { choices, usage } = await complete(door, body);
  assert.equal(choices[0]?.text, "<s>Hi you");
  assert.deepEqual(choices[0].logprobs?.tokens, ["<s>", "Hi", " you"]);
  assert.deepEqual(choices[0].logprobs.text_offset, [0, 3, 5]);
  assert.deepEqual(usage, { prompt_tokens: 3, completion_tokens: 0, total_tokens: 3 });
  assert.equal(stopped.asked.at(-1)?.parameters.maxNewTokens, 1);
});

testDoor("an echo of token ids is the model's own text of them", model(hello), async (door) => {
  await complete(door, { prompt: [5, 6], echo: true });
  assert.equal(hello.asked.at(-1)?.parameters.echo, true);
  await complete(door, { prompt: "x", echo: true });
  assert.equal(hello.asked.at(-1)?.parameters.echo, undefined);
});

const REFUSALS: readonly (readonly [body: object, param: string | null, message: RegExp])[] = [
  [{}, "prompt", /"prompt" is missing, wanted a text, a list of token ids/],
  [{ prompt: 7 }, "prompt", /"prompt" is 7/],
  [{ prompt: [] }, "prompt", /wanted a text/],
  [{ prompt: [1, "a"] }, "prompt", /wanted a text/],
  [{ prompt: [-1] }, "prompt", /wanted a text/],
  [{ prompt: Array.from({ length: 65 }, () => "a") }, "prompt", /list of up to 64/],
  [{ prompt: "a", max_tokens: -1 }, "max_tokens", /at least 0/],
  [{ prompt: "a", max_tokens: 0 }, "max_tokens", /"echo": true with it/],
  [
    { prompt: "a", temperature: 3 },
    "temperature",
    /"temperature" is 3, wanted a number from 0 to 2/,
  ],
  [{ prompt: "a", temperature: "1" }, "temperature", /"temperature" is "1"/],
  [{ prompt: "a", top_p: 1.1 }, "top_p", /from 0 to 1/],
  [{ prompt: "a", n: 33 }, "n", /from 1 to 32/],
  [{ prompt: "a", best_of: 3 }, "best_of", /wanted the same as "n", 1/],
  [{ prompt: "a", stop: [""] }, "stop", /up to 16 texts/],
  [{ prompt: "a", stop: Array.from({ length: 17 }, () => "a") }, "stop", /up to 16 texts/],
  [{ prompt: "a", logit_bias: { a: 1 } }, "logit_bias", /token ids/],
  [{ prompt: "a", logit_bias: { "1": 101 } }, "logit_bias", /-100 to 100/],
  [{ prompt: "a", logprobs: 21 }, "logprobs", /from 0 to 20/],
  [{ prompt: "a", suffix: "b" }, "suffix", /continued and not filled in/],
  [{ prompt: "a", seed: 1.5 }, "seed", /whole number/],
  [{ prompt: "a", stream: 1 }, "stream", /true or false/],
  [{ prompt: "a", stream_options: { include_usage: true } }, "stream_options", /"stream": true/],
  [{ prompt: "a", guided_json: {} }, "guided_json", /not constrained/],
  [
    { prompt: "a", response_format: { type: "json_schema" } },
    "response_format",
    /wanted "text" or "json_object"/,
  ],
  [{ prompt: "a", model: "other" }, "model", /Cannot find the model "other"/],
];

testDoor("what cannot be done is refused by name", model(hello), async ({ request }) => {
  for (const [body, param, pattern] of REFUSALS) {
    const response = await request(PATH, post(body));
    const { error } = (await response.json()) as {
      error: { message: string; type: string; param: string | null };
    };
    assert.equal(response.status, param === "model" ? 404 : 400, JSON.stringify(body));
    assert.match(error.message, pattern);
    assert.equal(error.param, param);
    assert.equal(error.type, "invalid_request_error");
  }
});

testDoor(
  "a model of another task says so",
  { description: { handler: "default", task: "fill-mask" } },
  async ({ request }) => {
    const response = await request("/openai/v1/completions", post({ prompt: "a" }));
    assert.equal(response.status, 400);
    const { error } = (await response.json()) as { error: { message: string; code: string } };
    assert.equal(
      error.message,
      'Cannot complete the prompt: the model "owner/name" serves fill-mask, wanted a model for text-generation',
    );
    assert.equal(error.code, "model_not_supported");
  },
);

testDoor(
  "what an engine refuses has a status, and what breaks a stream is an event",
  model({
    ...hello,
    answer(request, waiting) {
      if (request.generation?.prompt.kind === "tokens")
        throw new RuntimeError("INVALID_INPUT", "Cannot generate text: too long");
      return scripted({
        ...words(" one two"),
        breaksWith: new RuntimeError("WORKER_DIED", "Cannot finish"),
      }).answer(request, waiting);
    },
  }),
  async (door) => {
    const response = await door.request(PATH, post({ prompt: [1], stream: true }));
    assert.equal(response.status, 400);
    assert.match(response.headers.get("content-type") ?? "", /json/);
    const chunks = await streamed(door, { prompt: "a" });
    assert.deepEqual(chunks.slice(-2), [
      { error: { message: "Cannot finish", type: "server_error", param: null, code: null } },
      "[DONE]",
    ]);
    assert.equal(chunks.length, 4);
  },
);

testDoor("chance is drawn where it is asked for", model(hello), async (door) => {
  const cases = [
    [{}, undefined],
    [{ temperature: 1 }, true],
    [{ temperature: 0 }, undefined],
    [{ n: 2 }, true],
    [{ n: 2, temperature: 0 }, undefined],
    [{ top_p: 0.5 }, undefined], // as the engine sees it
  ] as const;
  for (const [body, doSample] of cases) {
    await complete(door, { prompt: "a", ...body });
    assert.equal(hello.asked.at(-1)?.parameters.doSample, doSample, JSON.stringify(body));
  }
});

testDoor(
  "the engine's refusals are told by OpenAI's names",
  model({
    ...hello,
    answer() {
      throw new RuntimeError(
        "INVALID_INPUT",
        'Cannot generate text: "max_new_tokens" is 900, wanted 5',
      );
    },
  }),
  async ({ request }) => {
    for (const stream of [false, true]) {
      const response = await request(PATH, post({ prompt: "a", max_tokens: 900, stream }));
      assert.equal(response.status, 400);
      assert.deepEqual(await response.json(), {
        error: {
          message: 'Cannot generate text: "max_tokens" is 900, wanted 5',
          type: "invalid_request_error",
          param: "max_tokens",
          code: "context_length_exceeded",
        },
      });
    }
  },
);

test("a client that leaves ends what is generated for it", async () => {
  let hasEnded = false;
  const waited: AbortSignal[] = [];
  const app = createTestApp({
    description: GENERATES,
    answer: (_, { signal }) => {
      waited.push(signal);
      async function* endless(): AsyncGenerator<JsonValue> {
        yield { type: "start", promptTokens: 1 };
        while (!signal.aborted) {
          const token = { id: 1, text: "a", logprob: -1, special: false };
          yield { type: "token", sequence: 0, text: "a", token };
          await new Promise((resolve) => setImmediate(resolve));
        }
        hasEnded = true;
      }
      return { kind: "stream", chunks: endless() };
    },
  });
  const response = await app.request(PATH, post({ prompt: ["a", "b"], stream: true }));
  const reader = response.body!.getReader();
  await reader.read();
  assert.equal(hasEnded, false);
  await reader.cancel();
  assert.deepEqual(
    waited.map(({ aborted }) => aborted),
    [true, true],
  );
});

test("one prompt that fails ends the others", async () => {
  const signals: AbortSignal[] = [];
  const app = createTestApp({
    description: GENERATES,
    answer: async (request, { signal }) => {
      signals.push(signal);
      const { prompt } = request.generation!;
      if (prompt.kind === "text" && prompt.text === "bad")
        throw new RuntimeError("QUEUE_FULL", "Cannot accept the request: no place");
      return new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(new Error("left")), { once: true });
      });
    },
  });
  const response = await app.request(PATH, post({ prompt: ["good", "bad"] }));
  assert.equal(response.status, 429);
  assert.ok(signals.length === 2 && signals.every(({ aborted }) => aborted));
});

test("a reader that takes nothing lets nothing be generated ahead", async () => {
  let told = 0;
  const app = createTestApp({
    description: GENERATES,
    answer: () => {
      async function* endless(): AsyncGenerator<JsonValue> {
        yield { type: "start", promptTokens: 1 };
        for (;;) {
          told++;
          const token = { id: 1, text: "a", logprob: -1, special: false };
          yield { type: "token", sequence: 0, text: "a", token };
        }
      }
      return { kind: "stream", chunks: endless() };
    },
  });
  const response = await app.request(PATH, post({ prompt: "a", stream: true }));
  const reader = response.body!.getReader();
  await reader.read();
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(told <= 3, `${told} tokens were taken for a reader of one`);
  await reader.cancel();
});
