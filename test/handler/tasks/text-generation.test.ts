import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { CausalGolden } from "../../support/generation.ts";
import {
  ask,
  configOf,
  modelPath,
  quietLog,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";

const GPT2 = modelPath("tiny-gpt2");
const gpt2 = await loadDefaultHandler({ repository: GPT2, dtype: "fp32" }, silentLog());
const llama = await loadDefaultHandler(
  { repository: modelPath("tiny-llama"), dtype: "fp32" },
  silentLog(),
);
after(() => Promise.all([gpt2.dispose(), llama.dispose()]));

const Answer = z.tuple([z.object({ generated_text: z.string() })]);
const PROMPT = "Once upon a time";

async function continued(inputs: string, parameters?: Record<string, unknown>): Promise<string> {
  return Answer.parse(await ask(gpt2, { inputs, parameters }))[0].generated_text;
}

/** What was added to the prompt. */
const added = (inputs: string, parameters: Record<string, unknown>) =>
  continued(inputs, { return_full_text: false, ...parameters });

for (const [name, handler] of [
  ["tiny-gpt2", gpt2],
  ["tiny-llama", llama],
] as const) {
  test(`${name} continues prompts as PyTorch does, one by one and as a list`, async () => {
    const { cases } = readGolden(name, CausalGolden);
    for (const { prompt, max_new_tokens, new_text } of cases) {
      const parameters = { max_new_tokens };
      const answer = await ask(handler, { inputs: prompt, parameters });
      assert.deepEqual(answer, [{ generated_text: `${prompt}${new_text}` }]);
    }
    const limit = Math.max(...cases.map(({ max_new_tokens }) => max_new_tokens));
    const same = cases.filter(({ max_new_tokens }) => max_new_tokens === limit);
    const list = await ask(handler, {
      inputs: same.map(({ prompt }) => prompt),
      parameters: { max_new_tokens: limit, return_full_text: false },
    });
    assert.deepEqual(
      list,
      same.map(({ new_text }) => [{ generated_text: new_text }]),
    );
  });
}

test("a list keeps its order, and an empty one is answered with one", async () => {
  const inputs = ["Tom was very sad", PROMPT, "The end of the"];
  const parameters = { max_new_tokens: 6 };
  const list = z.array(Answer).parse(await ask(gpt2, { inputs, parameters }));
  for (const [index, prompt] of inputs.entries()) {
    assert.equal(list[index]?.[0].generated_text, await continued(prompt, parameters));
  }
  assert.deepEqual(await ask(gpt2, { inputs: [] }), []);
});

test("without a limit it writes 256 tokens, or what the model still holds", async () => {
  // tiny-gpt2 holds 256 tokens, the prompt has 4.
  const text = await continued(PROMPT);
  assert.equal(text, await continued(PROMPT, { max_new_tokens: 252 }));
});

test("max_length counts the prompt, min_new_tokens holds the end back", async () => {
  assert.equal(
    await continued(PROMPT, { max_length: 10 }),
    await continued(PROMPT, { max_new_tokens: 6 }),
  );
  const short = "The end of the";
  assert.equal(await added(short, { max_new_tokens: 40 }), " water.");
  const longer = await added(short, { max_new_tokens: 40, min_new_tokens: 12 });
  assert.ok(longer.startsWith(" water.") && longer.length > 20, longer);
  assert.equal(longer, await added(short, { max_new_tokens: 40, min_length: 16 }));
});

test("a stop text ends the answer and stays in it", async () => {
  const full = await continued(PROMPT, { max_new_tokens: 40 });
  for (const name of ["stop", "stop_sequences", "stop_strings", "stop_sequence"]) {
    for (const stop of ["fox", ["nothing", "fox"]]) {
      const text = await continued(PROMPT, { max_new_tokens: 40, [name]: stop });
      assert.ok(text.endsWith("fox") && full.startsWith(text), text);
    }
  }
  // Over two tokens, and with beams.
  assert.match(
    await continued(PROMPT, { max_new_tokens: 40, stop: "x named J" }),
    /fox named Jack$/,
  );
  const beams = { max_new_tokens: 40, num_beams: 3 };
  const searched = await continued(PROMPT, { ...beams, stop: "." });
  assert.match(searched, /^[^.]*\.$/);
});

test("beams are searched when asked for", async () => {
  const parameters = { max_new_tokens: 20, num_beams: 4 };
  const inputs = ["Anna went to the park with her red", "The end of the", PROMPT];
  const list = z.array(Answer).parse(await ask(gpt2, { inputs, parameters }));
  for (const [index, prompt] of inputs.entries()) {
    assert.equal(list[index]?.[0].generated_text, await continued(prompt, parameters));
  }
});

test("chance needs a parameter of chance, and a seed repeats it", async () => {
  const prompt = "Anna went to the park with her red";
  const greedy = await added(prompt, { max_new_tokens: 12 });
  const drawn = (seed: number, more = {}) =>
    added(prompt, { max_new_tokens: 12, temperature: 1.5, seed, ...more });
  const texts = await Promise.all([1, 2, 3, 4, 5].map((seed) => drawn(seed)));
  assert.ok(new Set(texts).size > 1);
  assert.equal(await drawn(3), texts[2]);
  assert.equal(await drawn(3, { do_sample: true }), texts[2]);
  // What leaves one token, or asks for none, is greedy.
  for (const more of [{ top_k: 1 }, { top_p: 0 }, { temperature: 0 }, { do_sample: false }]) {
    assert.equal(await drawn(3, more), greedy, JSON.stringify(more));
  }
});

test("a parameter of chance without chance is warned of", async () => {
  const lines: string[] = [];
  const parameters = { max_new_tokens: 1, top_p: 0.5, do_sample: false, length_penalty: 2 };
  await ask(gpt2, { inputs: PROMPT, parameters }, { log: quietLog(lines) });
  assert.match(lines[0] ?? "", /The parameter "top_p" has no effect without "do_sample": true/);
  assert.match(
    lines[1] ?? "",
    /The parameter "length_penalty" has no effect without "num_beams" above 1/,
  );
  assert.equal(lines.length, 2);
});

test("repetition is penalized where asked", async () => {
  const text = await added(PROMPT, { max_new_tokens: 40, no_repeat_ngram_size: 1 });
  const words = text.split(/[\s,."!]+/).filter((word) => word.length > 3);
  assert.equal(new Set(words).size, words.length);
  const penalized = await added(PROMPT, { max_new_tokens: 40, repetition_penalty: 1.8 });
  assert.notEqual(penalized, await added(PROMPT, { max_new_tokens: 40 }));
});

test("an empty prompt begins with the model's own token", async () => {
  assert.match(await continued("", { max_new_tokens: 8 }), /^[A-Z]\w+ .*/);
});

test("a long prompt is cut at its beginning where the client allows it", async () => {
  const long = `${PROMPT}. `.repeat(80) + "The end of the";
  const parameters = { max_new_tokens: 20 };
  const lines: string[] = [];
  const data = {
    inputs: long,
    parameters: { ...parameters, truncate: 4, return_full_text: false },
  };
  const answer = await ask(gpt2, data, { log: quietLog(lines) });
  assert.deepEqual(answer, [{ generated_text: await added(" The end of the", parameters) }]);
  assert.match(lines[0] ?? "", /"inputs" was cut from \d+ to 4 tokens/);
  const whole = await continued(long, { ...parameters, truncation: true });
  assert.ok(whole.startsWith(long) && whole.length > long.length);
});

test("the model's own generation_config.json counts", async () => {
  const answerWith = async (settings: object, parameters: object = {}) => {
    await using repository = await variantOf(GPT2, { "generation_config.json": settings });
    const options = { repository: repository.path, dtype: "fp32" };
    const handler = await loadDefaultHandler(options, silentLog());
    const answer = Answer.parse(await ask(handler, { inputs: PROMPT, parameters }));
    await handler.dispose();
    return answer[0].generated_text;
  };
  assert.equal(
    await answerWith({ eos_token_id: 0, max_length: 12 }),
    await continued(PROMPT, { max_length: 12 }),
  );
  assert.equal(
    await answerWith({ eos_token_id: [14, 0] }),
    "Once upon a time, there was a happy fox named Jack",
  );
  assert.equal(
    await answerWith({ eos_token_id: 0, repetition_penalty: 1.8 }, { max_new_tokens: 30 }),
    await continued(PROMPT, { max_new_tokens: 30, repetition_penalty: 1.8 }),
  );
  const sampled = { eos_token_id: 0, do_sample: true, temperature: 3, top_k: 0 };
  const seeded = { max_new_tokens: 12, seed: 5 };
  assert.equal(
    await answerWith(sampled, seeded),
    await continued(PROMPT, { ...seeded, do_sample: true, temperature: 3, top_k: 0 }),
  );
  assert.equal(
    await answerWith(sampled, { ...seeded, do_sample: false }),
    await continued(PROMPT, { max_new_tokens: 12 }),
  );
});

test("an old config.json speaks where there is no generation_config.json", async () => {
  await using repository = await variantOf(GPT2, {
    "generation_config.json": null,
    "config.json": configOf(GPT2, {
      task_specific_params: { "text-generation": { max_length: 9, top_k: "many" } },
      num_beams: "none", // what nobody understands takes nothing else with it
    }),
  });
  const options = { repository: repository.path, dtype: "fp32" };
  const handler = await loadDefaultHandler(options, silentLog());
  const answer = await ask(handler, { inputs: PROMPT });
  assert.deepEqual(answer, [{ generated_text: await continued(PROMPT, { max_length: 9 }) }]);
  const ended = await ask(handler, { inputs: "The end of the", parameters: { max_length: 40 } });
  assert.deepEqual(ended, [{ generated_text: "The end of the water." }]);
  await handler.dispose();
});

test("a broken generation_config.json is refused with its name", async () => {
  await using repository = await variantOf(GPT2, {
    "generation_config.json": { eos_token_id: "0" },
  });
  await assert.rejects(loadDefaultHandler({ repository: repository.path }, silentLog()), {
    code: "MODEL_INVALID",
    message: /^Cannot read generation_config.json: "eos_token_id" is not what was wanted/,
  });
});

test("an aborted request ends with the client's reason", async () => {
  const controller = new AbortController();
  const parameters = { max_new_tokens: 250, min_new_tokens: 250 };
  const answer = ask(gpt2, { inputs: PROMPT, parameters }, { signal: controller.signal });
  setImmediate(() => controller.abort());
  await assert.rejects(answer, { code: "CANCELLED" });
});

const LONG = `${PROMPT} `.repeat(70);
const holds = "as the sequence begins with 4 and the model holds 256";

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, wanted a string or a list of strings`],
  [{ inputs: [{ role: "user", content: "Hi" }] }, `"inputs[0]" is an object, wanted a string`],
  [
    { inputs: PROMPT, stream: true },
    `"stream" is true, wanted false, as this route answers a prompt, or a list of them, whole`,
  ],
  [
    { inputs: PROMPT, parameters: { details: true } },
    `"details" is true, wanted false, as details are not answered yet`,
  ],
  [
    { inputs: PROMPT, parameters: { best_of: 2 } },
    `"best_of" is 2, wanted 1, as one sequence is answered`,
  ],
  [
    { inputs: PROMPT, parameters: { grammar: { type: "json", value: {} } } },
    `"grammar" is an object, wanted null, as grammars are not followed`,
  ],
  [
    { inputs: PROMPT, parameters: { max_new_tokens: 0 } },
    `"max_new_tokens" is 0, wanted a whole number of at least 1`,
  ],
  [
    { inputs: PROMPT, parameters: { max_new_tokens: 300 } },
    `"max_new_tokens" is 300, wanted at most 252 tokens, ${holds}`,
  ],
  [
    { inputs: PROMPT, parameters: { max_length: 300 } },
    `"max_length" is 300, wanted at most 256 tokens, ${holds}`,
  ],
  [
    { inputs: PROMPT, parameters: { max_length: 4 } },
    `"max_length" is 4, wanted at least 5 tokens, as the sequence begins with 4`,
  ],
  [
    { inputs: PROMPT, parameters: { temperature: -1 } },
    `"temperature" is -1, wanted a number of at least 0`,
  ],
  [{ inputs: PROMPT, parameters: { top_p: 2 } }, `"top_p" is 2, wanted a number from 0 to 1`],
  [
    { inputs: PROMPT, parameters: { repetition_penalty: 0 } },
    `"repetition_penalty" is 0, wanted a number above 0`,
  ],
  [
    { inputs: PROMPT, parameters: { stop: [""] } },
    `"stop[0]" is "", wanted up to 16 texts, none of them empty`,
  ],
  [{ inputs: LONG }, `"inputs" is 350 tokens long, wanted at most 256 as truncation is off`],
  [
    { inputs: LONG, parameters: { truncate: 256 } },
    `"inputs" is 256 tokens long, wanted at most 255, so that there is room for one more; "truncate" cuts it`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(gpt2, data), {
      code: "INVALID_INPUT",
      message: `Cannot generate text: ${sentence}`,
    });
  });
}
