import assert from "node:assert/strict";
import { after, test } from "node:test";

import { z } from "zod";

import type { BatchMember, MemberOutcome } from "../../../runtime/handler/contract.ts";
import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { Seq2SeqGolden } from "../../support/generation.ts";
import {
  ask,
  configOf,
  modelPath,
  quietLog,
  readGolden,
  variantOf,
} from "../../support/goldens.ts";

const BART = modelPath("tiny-bart");
const T5 = modelPath("tiny-t5");
const bart = await loadDefaultHandler({ repository: BART, dtype: "fp32" }, silentLog());
const t5 = await loadDefaultHandler(
  { repository: T5, task: "summarization", dtype: "fp32" },
  silentLog(),
);
after(() => Promise.all([bart.dispose(), t5.dispose()]));

const { cases } = readGolden("tiny-bart", Seq2SeqGolden);
const CAT = "The little cat went to the park.";
const GREEDY = { num_beams: 1, max_new_tokens: 16 };

const Answer = z.tuple([z.object({ summary_text: z.string() })]);
async function summary(inputs: string, parameters: Record<string, unknown>): Promise<string> {
  return Answer.parse(await ask(bart, { inputs, parameters }))[0].summary_text;
}

test("summarizes as PyTorch does, one by one and as a list", async () => {
  for (const { input, text, max_new_tokens } of cases) {
    assert.equal(await summary(input, { num_beams: 1, max_new_tokens }), text);
  }
  const inputs = cases.map(({ input }) => input);
  assert.deepEqual(
    await ask(bart, { inputs, parameters: GREEDY }),
    cases.map(({ text }) => ({ summary_text: text })),
  );
  assert.deepEqual(await ask(bart, { inputs: [] }), []);
});

test("four beams are searched by default, as in Python's pipeline", async () => {
  for (const { input } of cases) {
    const four = await summary(input, { max_new_tokens: 16, num_beams: 4 });
    assert.equal(await summary(input, { max_new_tokens: 16 }), four);
  }
  const texts = cases.map(({ input }) => summary(input, { max_new_tokens: 16 }));
  assert.notDeepEqual(
    await Promise.all(texts),
    cases.map(({ text }) => text),
  );
});

test("parameters are found wherever clients nest them; those beside count more", async () => {
  const expected = await summary(CAT, { num_beams: 1, max_new_tokens: 5 });
  for (const name of ["generate_kwargs", "generation_parameters", "generate_parameters"]) {
    assert.equal(await summary(CAT, { [name]: { num_beams: 1, max_new_tokens: 5 } }), expected);
    const both = { [name]: { num_beams: 1, max_new_tokens: 9 }, max_new_tokens: 5 };
    assert.equal(await summary(CAT, both), expected);
  }
});

test("max_length counts the decoder's start, max_new_tokens counts more", async () => {
  const five = await summary(CAT, { num_beams: 1, max_new_tokens: 5 });
  assert.equal(await summary(CAT, { num_beams: 1, max_length: 6 }), five);
  assert.equal(await summary(CAT, { num_beams: 1, max_length: 20, max_new_tokens: 5 }), five);
});

test("every parameter of the search changes what is found, and null is as good as none", async () => {
  const found = new Map<string, string>();
  for (const parameters of [
    { num_beams: 1 },
    { num_beams: 1, repetition_penalty: 3.5 },
    { num_beams: 1, no_repeat_ngram_size: 2 },
    { num_beams: 1, do_sample: true, seed: 1, temperature: 50, top_k: 0 },
    { num_beams: 3, do_sample: true, seed: 1, temperature: 50, top_k: 0 },
  ]) {
    const text = await summary(CAT, { max_new_tokens: 16, ...parameters });
    assert.ok(!found.has(text), `${JSON.stringify(parameters)} answers like ${found.get(text)}`);
    found.set(text, JSON.stringify(parameters));
  }
  const nothing = { temperature: null, top_k: null, do_sample: null, stop: null, seed: null };
  assert.equal(await summary(CAT, { ...GREEDY, ...nothing }), await summary(CAT, GREEDY));
});

test("do_sample with a seed is the same again", async () => {
  const parameters = { max_new_tokens: 16, do_sample: true, seed: 9, temperature: 30 };
  assert.equal(await summary(CAT, parameters), await summary(CAT, parameters));
});

test("what has no effect is warned of", async () => {
  const lines: string[] = [];
  const parameters = {
    ...GREEDY,
    max_new_tokens: 2,
    temperature: 2,
    early_stopping: true,
    use_cache: false,
  };
  await ask(bart, { inputs: CAT, parameters }, { log: quietLog(lines) });
  const text = lines.join("\n");
  assert.match(text, /"temperature" has no effect without "do_sample": true/);
  assert.match(text, /"early_stopping" has no effect without "num_beams" above 1/);
  assert.match(text, /"use_cache" has no effect here/);
});

test("a long text is cut to what the encoder reads, with a warning", async () => {
  const long = `${CAT} `.repeat(40);
  const lines: string[] = [];
  const answer = await ask(bart, { inputs: long, parameters: GREEDY }, { log: quietLog(lines) });
  assert.match(lines.join(""), /"inputs" was cut from \d+ to 128 tokens/);
  assert.deepEqual(answer, await ask(bart, { inputs: `${CAT} `.repeat(50), parameters: GREEDY }));
});

test("the configuration's words about the task count: prefix and settings", async () => {
  const generic = await loadDefaultHandler({ repository: T5, dtype: "fp32" }, silentLog());
  const prefixed = await ask(generic, { inputs: `summarize: ${CAT}`, parameters: GREEDY });
  const [expected] = z.array(z.object({ generated_text: z.string() })).parse(prefixed);
  const answer = await ask(t5, { inputs: CAT, parameters: GREEDY });
  assert.deepEqual(answer, [{ summary_text: expected?.generated_text }]);
  await generic.dispose();

  const summarization = { num_beams: 1, max_length: 7, no_repeat_ngram_size: 1 };
  await using repository = await variantOf(BART, {
    "config.json": configOf(BART, { task_specific_params: { summarization } }),
  });
  const options = { repository: repository.path, dtype: "fp32" };
  const handler = await loadDefaultHandler(options, silentLog());
  assert.deepEqual(await ask(handler, { inputs: CAT }), [
    { summary_text: await summary(CAT, summarization) },
  ]);
  // The client's word counts more.
  assert.deepEqual(await ask(handler, { inputs: CAT, parameters: { max_new_tokens: 3 } }), [
    { summary_text: await summary(CAT, { ...summarization, max_new_tokens: 3 }) },
  ]);
  await handler.dispose();
});

test("an ending that the configuration forces is the last token", async () => {
  const settings = { bos_token_id: 0, decoder_start_token_id: 2, eos_token_id: 2, pad_token_id: 1 };
  await using repository = await variantOf(BART, {
    "generation_config.json": { ...settings, forced_eos_token_id: 2 },
  });
  const options = { repository: repository.path, dtype: "fp32" };
  const handler = await loadDefaultHandler(options, silentLog());
  assert.deepEqual(await ask(handler, { inputs: CAT, parameters: GREEDY }), [
    { summary_text: await summary(CAT, { ...GREEDY, max_new_tokens: 15 }) },
  ]);
  await handler.dispose();
});

test("requests that come together are answered as if they came alone", async () => {
  const requests = [
    { inputs: cases[0]?.input, parameters: GREEDY },
    { inputs: cases[1]?.input, parameters: GREEDY },
    { inputs: cases[2]?.input, parameters: { ...GREEDY, no_repeat_ngram_size: 2 } },
    { inputs: cases[0]?.input, parameters: { max_new_tokens: 6 } },
    { inputs: cases[1]?.input, parameters: { max_new_tokens: 6, length_penalty: -2 } },
    { inputs: cases.map(({ input }) => input), parameters: { max_new_tokens: 6 } },
  ];
  const context = {
    signal: new AbortController().signal,
    requestId: "test",
    log: quietLog([]),
    headers: {},
  };
  const members = requests.map((data, index): BatchMember => {
    return { request: { id: `${index}`, kind: "predict", data, headers: {} }, context };
  });
  const outcomes: MemberOutcome[] = [];
  let passes = 0;
  await bart.callBatch?.(members, {
    onOutcome: (index, outcome) => void (outcomes[index] = outcome),
    onPass: () => void passes++,
    maxPaddedTokens: 4096,
  });
  for (const [index, data] of requests.entries()) {
    const outcome = outcomes[index];
    assert.ok(outcome && "value" in outcome);
    assert.deepEqual(outcome.value, await ask(bart, data));
  }
  assert.ok(passes < 8, `8 texts in ${passes} generations`);
});

const REFUSALS: readonly (readonly [data: Record<string, unknown>, sentence: string])[] = [
  [{}, `"inputs" is missing, wanted a string or a list of strings`],
  [{ inputs: [CAT, 4] }, `"inputs[1]" is a number, wanted a string`],
  [
    { inputs: CAT, parameters: { num_beams: 0 } },
    `"num_beams" is 0, wanted a whole number from 1 to 64`,
  ],
  [
    { inputs: CAT, parameters: { num_beam_groups: 2 } },
    `"num_beam_groups" is 2, wanted 1, as groups of beams are not searched`,
  ],
  [
    { inputs: CAT, parameters: { num_return_sequences: 2 } },
    `"num_return_sequences" is 2, wanted 1, as one sequence is answered`,
  ],
  [
    { inputs: CAT, parameters: { penalty_alpha: 0.6 } },
    `"penalty_alpha" is 0.6, wanted 0, as contrastive search is not offered`,
  ],
  [
    { inputs: CAT, parameters: { early_stopping: "always" } },
    `"early_stopping" is "always", wanted true, false or "never"`,
  ],
  [
    { inputs: CAT, parameters: { max_length: 1 } },
    `"max_length" is 1, wanted at least 2 tokens, as the sequence begins with 1`,
  ],
  [
    { inputs: CAT, parameters: { max_new_tokens: 128 } },
    `"max_new_tokens" is 128, wanted at most 127 tokens, as the sequence begins with 1 and the model holds 128`,
  ],
  [
    { inputs: CAT, parameters: { generate_kwargs: [] } },
    `"generate_kwargs" is a list, wanted an object`,
  ],
  [
    { inputs: `${CAT} `.repeat(40), parameters: { truncation: false } },
    `"inputs" is 483 tokens long, wanted at most 128 as truncation is off`,
  ],
];

for (const [data, sentence] of REFUSALS) {
  test(`refuses: ${sentence}`, async () => {
    await assert.rejects(ask(bart, data), {
      code: "INVALID_INPUT",
      message: `Cannot summarize the text: ${sentence}`,
    });
  });
}

test("an unknown parameter is answered with those that are known, wherever it stands", async () => {
  for (const parameters of [{ max_token: 1 }, { generate_parameters: { max_token: 1 } }]) {
    await assert.rejects(ask(bart, { inputs: CAT, parameters }), {
      code: "INVALID_INPUT",
      message:
        /^Cannot summarize the text: there is no parameter "max_token".*; known are truncation, .*max_new_tokens/,
    });
  }
});
