/**
 * Requests in neutral words, asked of the default handler as a worker asks it.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import type {
  GenerationEvent,
  GenerationParameters,
  GenerationPrompt,
  GenerationRequest,
  GenerationResult,
} from "../../../runtime/generation.ts";
import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import type { LoadedHandler } from "../../../runtime/handler/contract.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { CausalGolden } from "../../support/generation.ts";
import { modelPath, quietLog, readGolden } from "../../support/goldens.ts";

const load = (name: string): Promise<LoadedHandler> =>
  loadDefaultHandler({ repository: modelPath(name), dtype: "fp32" }, silentLog());
const gpt2 = await load("tiny-gpt2");
const llama = await load("tiny-llama");
after(() => Promise.all([gpt2.dispose(), llama.dispose()]));

const PROMPT = "Once upon a time";

async function ask(handler: LoadedHandler, generation: GenerationRequest): Promise<unknown> {
  const { signal } = new AbortController();
  const request = { id: "test", kind: "generate", data: {}, headers: {}, generation } as const;
  return handler.call(request, { signal, requestId: "test", headers: {}, log: quietLog([]) });
}

const toPrompt = (prompt: string | GenerationPrompt): GenerationPrompt =>
  typeof prompt === "string" ? { kind: "text", text: prompt } : prompt;

async function answer(
  handler: LoadedHandler,
  prompt: string | GenerationPrompt,
  parameters: GenerationParameters,
): Promise<GenerationResult> {
  const asked = { prompt: toPrompt(prompt), parameters, stream: false };
  return (await ask(handler, asked)) as GenerationResult; // what `stream: false` is answered with
}

async function textOf(
  prompt: string | GenerationPrompt,
  parameters: GenerationParameters,
  handler = gpt2,
): Promise<string> {
  const { sequences } = await answer(handler, prompt, parameters);
  return sequences[0]?.text ?? "";
}

async function stream(
  handler: LoadedHandler,
  prompt: string | GenerationPrompt,
  parameters: GenerationParameters,
): Promise<GenerationEvent[]> {
  const asked = { prompt: toPrompt(prompt), parameters, stream: true };
  const events = (await ask(handler, asked)) as AsyncIterable<GenerationEvent>; // likewise
  const all: GenerationEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

test("a model that generates says so, and takes many requests at once", () => {
  assert.deepEqual(gpt2.description.generation, { chat: false, tools: false, maxTokens: 256 });
  assert.deepEqual(llama.description.generation, { chat: true, tools: false, maxTokens: 512 });
  assert.equal(gpt2.batching?.kind, "single");
  assert.equal(gpt2.batching.concurrency, 32);
});

for (const [name, handler] of [
  ["tiny-gpt2", gpt2],
  ["tiny-llama", llama],
] as const) {
  test(`${name}: texts and ids are continued as by PyTorch, whole and streamed`, async () => {
    const { cases } = readGolden(name, CausalGolden);
    await Promise.all(
      cases.map(
        async ({ prompt, input_ids: ids, max_new_tokens: maxNewTokens, new_text, new_ids }) => {
          const whole = await answer(handler, prompt, { maxNewTokens });
          assert.equal(whole.sequences[0]?.text, new_text);
          assert.deepEqual(
            whole.sequences[0]?.details.map(({ token }) => token.id),
            new_ids,
          );
          assert.equal(whole.promptTokens, ids.length);
          assert.equal(await textOf({ kind: "tokens", ids }, { maxNewTokens }, handler), new_text);
          const events = await stream(handler, prompt, { maxNewTokens });
          const shown = events.map((event) => {
            if (event.type === "token") return event.text;
            return event.type === "end" ? (event.rest ?? "") : "";
          });
          assert.equal(shown.join(""), new_text);
          const end = events.at(-1);
          assert.equal(end?.type === "end" && end.text, new_text);
        },
      ),
    );
  });
}

test("an end token is told as what it is, and its text is not shown", async () => {
  const { sequences } = await answer(gpt2, "The end of the", { maxNewTokens: 40 });
  const [{ details, reason, tokens, text } = assert.fail()] = sequences;
  assert.equal(reason, "eos_token");
  assert.equal(tokens, details.length);
  assert.deepEqual(details.at(-1)?.token.special, true);
  assert.equal(details.at(-1)?.token.text, "<|endoftext|>");
  assert.equal(text, " water.");
});

test("ignoreEos goes on, maxNewTokens null takes all the room", async () => {
  const { sequences } = await answer(gpt2, "The end of the", {
    ignoreEos: true,
    maxNewTokens: null,
  });
  assert.equal(sequences[0]?.tokens, 252);
  assert.equal(sequences[0].reason, "length");
});

test("a stop text ends the text where it begins, or where its token ends", async () => {
  const stop = ["x named J"];
  const { sequences } = await answer(gpt2, PROMPT, { maxNewTokens: 40, stop });
  assert.equal(sequences[0]?.text, ", there was a happy fo");
  assert.equal(sequences[0].reason, "stop_sequence");
  assert.equal(sequences[0].stopText, "x named J");
  assert.equal(
    await textOf(PROMPT, { maxNewTokens: 40, stop, keepsStop: true }),
    ", there was a happy fox named Jack",
  );
  for (const keepsStop of [false, true]) {
    const events = await stream(gpt2, PROMPT, { maxNewTokens: 40, stop, keepsStop });
    const shown = events.flatMap((event) => (event.type === "token" ? event.text : []));
    assert.equal(shown.join(""), await textOf(PROMPT, { maxNewTokens: 40, stop, keepsStop }));
  }
});

test("a special token can be a stop text", async () => {
  const { sequences } = await answer(gpt2, "The end of the", {
    maxNewTokens: 40,
    ignoreEos: true,
    stop: ["<|endoftext|>"],
  });
  assert.equal(sequences[0]?.text, " water.");
  assert.equal(sequences[0].reason, "stop_sequence");
});

test("characters of several tokens are streamed whole", async () => {
  const { prompt: emoji = [] } = await answer(llama, "😀", { maxNewTokens: 1, promptTokens: true });
  assert.ok(emoji.length >= 3, "several tokens");
  // Greedy: the first of its tokens has the greatest bias, and none comes twice.
  const logitBias = Object.fromEntries(
    emoji.map(({ id }, place) => [String(id), 1000 * (emoji.length - place)]),
  );
  const parameters = { maxNewTokens: emoji.length + 3, logitBias, presencePenalty: 10_000 };
  const events = await stream(llama, PROMPT, parameters);
  const pieces = events.flatMap((event) => (event.type === "token" ? event.text : []));
  const end = events.at(-1);
  assert.ok(end?.type === "end");
  assert.ok(end.text.startsWith("😀"), JSON.stringify(end.text));
  assert.equal(pieces.indexOf("😀"), emoji.length - 1, "with the last of its tokens");
  assert.equal(pieces.join("") + (end.rest ?? ""), end.text);
  assert.ok(pieces.every((piece) => !/[\uD800-\uDBFF]$/.test(piece)));
});

test("the same seed gives the same text, whatever the company", async () => {
  const parameters = { maxNewTokens: 20, temperature: 1.5, doSample: true, seed: 11 };
  const alone = await textOf(PROMPT, parameters);
  const [together] = await Promise.all([
    textOf(PROMPT, parameters),
    textOf("Tom was very sad", { ...parameters, seed: 12 }),
    textOf("The end of the", parameters),
  ]);
  assert.equal(together, alone);
  assert.notEqual(await textOf(PROMPT, { ...parameters, seed: 12 }), alone);
  assert.equal(
    await textOf(PROMPT, { ...parameters, temperature: 0 }),
    await textOf(PROMPT, { maxNewTokens: 20 }),
  );
  // Without a seed one is made and told, and gives the same text again.
  const { sequences } = await answer(gpt2, PROMPT, { maxNewTokens: 20, temperature: 1.5 });
  const [{ seed, text } = assert.fail()] = sequences;
  assert.equal(
    await textOf(PROMPT, {
      maxNewTokens: 20,
      temperature: 1.5,
      ...(seed !== undefined && { seed }),
    }),
    text,
  );
});

test("penalties and biases change what is written", async () => {
  const plain = await answer(gpt2, PROMPT, { maxNewTokens: 60, ignoreEos: true });
  const first = plain.sequences[0]?.details[0]?.token.id ?? 0;
  const banned = await answer(gpt2, PROMPT, {
    maxNewTokens: 60,
    logitBias: { [String(first)]: -100 },
  });
  assert.ok(banned.sequences[0]?.details.every(({ token }) => token.id !== first));
  // The likelihood is the model's own, whatever was done to the scores.
  const forced = await answer(gpt2, PROMPT, { maxNewTokens: 1, logitBias: { "300": 1000 } });
  assert.equal(forced.sequences[0]?.details[0]?.token.id, 300);
  assert.ok((forced.sequences[0].details[0].token.logprob ?? 0) < -5);
  const repeats = (result: GenerationResult): number => {
    const ids = result.sequences[0]?.details.map(({ token }) => token.id) ?? [];
    return ids.length - new Set(ids).size;
  };
  for (const penalty of [{ presencePenalty: 100 }, { frequencyPenalty: 100 }]) {
    const found = await answer(gpt2, PROMPT, { maxNewTokens: 60, ignoreEos: true, ...penalty });
    assert.ok(repeats(found) === 0 && repeats(plain) > 5, JSON.stringify(penalty));
  }
});

test("the likeliest tokens are told beside the chosen one, best first", async () => {
  const { sequences } = await answer(gpt2, PROMPT, { maxNewTokens: 5, topTokens: 3 });
  for (const { token, top = [] } of sequences[0]?.details ?? assert.fail()) {
    assert.equal(top.length, 3);
    assert.deepEqual(top[0], token); // greedy
    assert.ok((top[0]?.logprob ?? 0) >= (top[1]?.logprob ?? 0));
    assert.ok((token.logprob ?? 1) <= 0);
  }
});

test("the prompt is told token by token, echoed and truncated where asked", async () => {
  const { prompt = [] } = await answer(gpt2, PROMPT, { maxNewTokens: 1, promptTokens: true });
  assert.equal(prompt.map(({ text }) => text).join(""), PROMPT);
  assert.equal(prompt[0]?.logprob, null);
  assert.ok(prompt.slice(1).every(({ logprob }) => logprob !== null && logprob < 0));
  const [start] = await stream(gpt2, PROMPT, { maxNewTokens: 1, promptTokens: true });
  assert.deepEqual(start, { type: "start", promptTokens: 4, prompt });
  const echoed = await textOf(PROMPT, { maxNewTokens: 8, echo: true });
  assert.equal(echoed, PROMPT + (await textOf(PROMPT, { maxNewTokens: 8 })));
  const cut = await answer(gpt2, `Tom was sad. ${PROMPT}`, { maxNewTokens: 8, truncate: 3 });
  assert.equal(cut.promptTokens, 3);
});

test("several sequences are several texts", async () => {
  const parameters = { maxNewTokens: 12, temperature: 2, doSample: true, seed: 4, sequences: 3 };
  const { sequences } = await answer(gpt2, PROMPT, parameters);
  assert.deepEqual(
    sequences.map(({ sequence }) => sequence),
    [0, 1, 2],
  );
  assert.equal(new Set(sequences.map(({ text }) => text)).size, 3);
  const events = await stream(gpt2, PROMPT, parameters);
  const ends = events.filter((event) => event.type === "end");
  const byNumber = ends.toSorted((a, b) => a.sequence - b.sequence);
  assert.deepEqual(
    byNumber.map(({ text }) => text),
    sequences.map(({ text }) => text),
  );
});

test("a conversation is what the template makes of it", async () => {
  const messages = [{ role: "user", content: "Tell me a story." }];
  const chat = await answer(llama, { kind: "chat", messages }, { maxNewTokens: 12 });
  const text = "<|im_start|>user\nTell me a story.<|im_end|>\n<|im_start|>assistant\n";
  const written = await answer(llama, text, { maxNewTokens: 12 });
  assert.deepEqual(chat, written);
  await assert.rejects(answer(gpt2, { kind: "chat", messages }, {}), {
    code: "NOT_SUPPORTED",
    message: /this model has no chat template, wanted a prompt/,
  });
});

test("beams are searched for one text, and refused for what they cannot tell", async () => {
  const { sequences } = await answer(gpt2, PROMPT, { maxNewTokens: 10, numBeams: 3 });
  assert.equal(sequences[0]?.tokens, 10);
  assert.equal(sequences[0].details[0]?.token.logprob, null);
  const beams = { numBeams: 3, maxNewTokens: 4 };
  await assert.rejects(stream(gpt2, PROMPT, beams), {
    code: "INVALID_INPUT",
    message:
      'Cannot generate text: "num_beams" is 3, and where beams are searched, what they find is known at the end: wanted no stream',
  });
  await assert.rejects(answer(gpt2, PROMPT, { ...beams, sequences: 2 }), /one sequence is found/);
  await assert.rejects(answer(gpt2, PROMPT, { ...beams, topTokens: 2 }), /wanted no details/);
});

for (const [title, prompt, parameters, message] of [
  [
    "a prompt without room",
    "a ".repeat(300),
    {},
    /"prompt" is \d+ tokens long, wanted at most 256/,
  ],
  [
    "unknown tokens",
    { kind: "tokens", ids: [1, 5000] },
    {},
    /the prompt has the token 5000, wanted ids from 0 to 777/,
  ],
  [
    "more than the model holds",
    PROMPT,
    { maxNewTokens: 400 },
    /"max_new_tokens" is 400, wanted at most 252/,
  ],
  [
    "no tokens",
    PROMPT,
    { maxNewTokens: 0 },
    /"max_new_tokens" is 0, wanted a whole number of at least 1/,
  ],
  [
    "too many sequences",
    PROMPT,
    { sequences: 33 },
    /33 sequences were asked for, wanted at most 32/,
  ],
  [
    "a bias for no token",
    PROMPT,
    { logitBias: { cat: 1 } },
    /"logit_bias" has "cat", wanted ids of tokens/,
  ],
  ["an empty stop text", PROMPT, { stop: [""] }, /wanted up to 16 texts, none of them empty/],
] as const) {
  test(`refuses ${title}`, async () => {
    await assert.rejects(answer(gpt2, prompt, parameters), { code: "INVALID_INPUT", message });
  });
}

test("models of other tasks do not generate", async () => {
  const other = await load("tiny-bert-nli");
  assert.equal(other.description.generation, undefined);
  await assert.rejects(answer(other, PROMPT, {}), { code: "NOT_SUPPORTED" });
  await other.dispose();
});
