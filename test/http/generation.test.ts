/**
 * Text generation for Hugging Face's clients, in text-generation-inference's shapes, with an engine that says what is written down.
 */
import assert from "node:assert/strict";

import { RuntimeError } from "../../runtime/errors.ts";
import type { InferenceRequest, JsonValue } from "../../runtime/inference.ts";
import { post, testDoor, type Door } from "../support/app-matrix.ts";
import {
  eventsIn,
  GENERATES,
  scripted,
  words,
  type Scripted,
} from "../support/scripted-generation.ts";

function model({ answer }: Scripted) {
  return { answer, description: GENERATES };
}

async function generate({ request }: Door, path: string, body: object): Promise<JsonValue> {
  const response = await request(path, post(body));
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text) as JsonValue;
}

async function streamed({ request }: Door, path: string, body: object): Promise<JsonValue[]> {
  const response = await request(path, post(body));
  const text = await response.text();
  assert.equal(response.status, 200, text);
  assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/);
  return eventsIn(text);
}

async function refused(
  { request }: Door,
  path: string,
  body: object,
  pattern: RegExp,
  status = 400,
): Promise<void> {
  const response = await request(path, post(body));
  const { error, error_type } = (await response.json()) as { error: string; error_type: string };
  assert.equal(response.status, status, error);
  assert.match(error, pattern);
  assert.equal(error_type, status === 400 ? "INVALID_INPUT" : "NOT_SUPPORTED");
}

const fox = scripted({
  tokens: [
    { text: " a", top: [" a", " the"] },
    { text: " fox.", top: [] },
    { text: "</s>", special: true },
  ],
  seed: 7,
  prompt: ["Once", " upon"],
  promptTokens: 2,
});
const TOKENS = [
  { id: 100, text: " a", logprob: -0.5, special: false },
  { id: 101, text: " fox.", logprob: -1, special: false },
  { id: 102, text: "</s>", logprob: -1.5, special: true },
];
const LAST = { finish_reason: "eos_token", generated_tokens: 3, seed: 7, input_length: 2 };

testDoor(
  "a stream's last token brings the whole text and the details",
  model(fox),
  async (door) => {
    const body = { inputs: "Once upon", stream: true };
    const events = await streamed(door, "/", body);
    const [first, second, last] = TOKENS;
    assert.deepEqual(events, [
      { index: 1, token: first, generated_text: null, details: null },
      { index: 2, token: second, generated_text: null, details: null },
      { index: 3, token: last, generated_text: "Once upon a fox.", details: LAST },
    ]);
    assert.deepEqual(fox.asked.at(-1), {
      prompt: { kind: "text", text: "Once upon" },
      parameters: { keepsStop: true },
      stream: true,
    });
    // The older route gives the text alone.
    const older = await streamed(door, "/generate_stream", { inputs: "Once upon" });
    assert.deepEqual(older.at(-1), {
      index: 3,
      token: last,
      generated_text: " a fox.",
      details: LAST,
    });
    const full = { inputs: "Once upon", parameters: { return_full_text: true, top_n_tokens: 2 } };
    const [withTop] = await streamed(door, "/generate_stream", full);
    assert.deepEqual((withTop as { top_tokens: JsonValue }).top_tokens, [
      { id: 100, text: " a", logprob: -0.5, special: false },
      { id: 100, text: " the", logprob: -0.5, special: false },
    ]);
  },
);

testDoor(
  "details tell tokens, and the prompt's where they are wanted",
  model(fox),
  async (door) => {
    const details = {
      finish_reason: "eos_token",
      generated_tokens: 3,
      seed: 7,
      prefill: [
        { id: 100, text: "Once", logprob: null },
        { id: 101, text: " upon", logprob: -1 },
      ],
      tokens: TOKENS,
    };
    const body = {
      inputs: "Once upon",
      parameters: { details: true, decoder_input_details: true },
    };
    assert.deepEqual(await generate(door, "/", body), [
      { generated_text: "Once upon a fox.", details },
    ]);
    assert.equal(fox.asked.at(-1)?.parameters.promptTokens, true);
    assert.deepEqual(await generate(door, "/generate", body), {
      generated_text: " a fox.",
      details,
    });
    assert.deepEqual(await generate(door, "/generate", { inputs: "Once upon" }), {
      generated_text: " a fox.",
    });
    const list = { inputs: ["A", "B"], parameters: { details: true } };
    const answers = (await generate(door, "/", list)) as { generated_text: string }[][];
    assert.deepEqual(
      answers.map((each) => each.map(({ generated_text }) => generated_text)),
      [["A a fox."], ["B a fox."]],
    );
  },
);

testDoor("every parameter reaches the engine under its neutral name", model(fox), async (door) => {
  await generate(door, "/", {
    inputs: "x",
    parameters: {
      details: true,
      generate_kwargs: { max_new_tokens: 3, top_k: 9 },
      min_new_tokens: 1,
      temperature: 0.5,
      top_p: 0.9,
      top_k: 5,
      min_p: 0.1,
      typical_p: 0.8,
      repetition_penalty: 1.2,
      frequency_penalty: 0.3,
      presence_penalty: 0.4,
      no_repeat_ngram_size: 2,
      do_sample: true,
      num_beams: 1,
      num_return_sequences: 2,
      stop: "a",
      stop_sequences: ["b"],
      seed: 3,
      truncate: 10,
      top_n_tokens: 4,
      watermark: false,
      grammar: null,
      best_of: null,
    },
  });
  assert.deepEqual(fox.asked.at(-1)?.parameters, {
    maxNewTokens: 3,
    minNewTokens: 1,
    doSample: true,
    temperature: 0.5,
    topK: 5,
    topP: 0.9,
    minP: 0.1,
    typicalP: 0.8,
    repetitionPenalty: 1.2,
    presencePenalty: 0.4,
    frequencyPenalty: 0.3,
    noRepeatNgramSize: 2,
    numBeams: 1,
    seed: 3,
    truncate: 10,
    topTokens: 4,
    stop: ["a", "b"],
    keepsStop: true,
    sequences: 2,
  });
});

const several = scripted(words(" likely"), words(" less likely still"));

testDoor(
  "several sequences are a list, and of the best of them the others go along",
  model(several),
  async (door) => {
    const parameters = { num_return_sequences: 2, return_full_text: false };
    assert.deepEqual(await generate(door, "/", { inputs: "x", parameters }), [
      { generated_text: " likely" },
      { generated_text: " less likely still" },
    ]);
    assert.equal(several.asked.at(-1)?.parameters.doSample, true);
    const best = { best_of: 2, details: true, return_full_text: false };
    const [answer, ...more] = (await generate(door, "/", { inputs: "x", parameters: best })) as {
      generated_text: string;
      details: { best_of_sequences: { generated_text: string; generated_tokens: number }[] };
    }[];
    assert.deepEqual(more, []);
    assert.equal(answer?.generated_text, " likely");
    const [other] = answer.details.best_of_sequences;
    assert.equal(other?.generated_text, " less likely still");
    assert.equal(other.generated_tokens, 3);
  },
);

const plain: InferenceRequest[] = [];

testDoor(
  "what asks for nothing more goes the way of every task, unchanged",
  {
    description: GENERATES,
    answer(request) {
      plain.push(request);
      return { kind: "json", value: [{ generated_text: "plain" }] };
    },
  },
  async (door) => {
    const bodies = [
      { inputs: "x" },
      { inputs: "x", stream: false },
      {
        inputs: "x",
        parameters: {
          max_new_tokens: 3,
          details: false,
          best_of: 1,
          top_n_tokens: 0,
          frequency_penalty: 0,
        },
      },
      { inputs: "x", parameters: null },
    ];
    for (const body of bodies) {
      assert.deepEqual(await generate(door, "/", body), [{ generated_text: "plain" }]);
      assert.equal(plain.at(-1)?.kind, "predict");
      assert.deepEqual(plain.at(-1)?.data, body);
    }
  },
);

testDoor("what cannot be done is refused in a sentence", model(fox), async (door) => {
  const asked = fox.asked.length;
  const cases: readonly (readonly [path: string, body: object, pattern: RegExp])[] = [
    ["/", { inputs: ["a", "b"], stream: true }, /Cannot stream the answer: "inputs" is a list/],
    ["/", { inputs: "a", stream: true, parameters: { best_of: 2 } }, /2 sequences are asked for/],
    [
      "/",
      { inputs: "a", stream: true, parameters: { decoder_input_details: true } },
      /"decoder_input_details" is true/,
    ],
    ["/", { inputs: 7, stream: true }, /"inputs" must be a text/],
    ["/", { inputs: [], parameters: { details: true } }, /list of 1 to 64/],
    [
      "/generate",
      { inputs: "a", parameters: { temperature: -1 } },
      /"temperature" must be a number of at least 0/,
    ],
    [
      "/generate",
      { inputs: "a", parameters: { max_new_tokens: 0 } },
      /"max_new_tokens" must be a whole number of at least 1/,
    ],
    [
      "/generate",
      { inputs: "a", parameters: { watermark: true } },
      /must be false, as texts are not watermarked/,
    ],
    ["/generate", { inputs: "a", parameters: { grammar: {} } }, /"grammar" must be null/],
    ["/generate", { inputs: "a", parameters: { max_length: 5 } }, /"max_length" must be null/],
    [
      "/generate",
      { inputs: "a", parameters: { best_of: 2, num_beams: 2 } },
      /"best_of" is 2, wanted 1/,
    ],
    [
      "/generate",
      { inputs: "a", parameters: { num_return_sequences: 2, do_sample: false } },
      /2 sequences are asked for without chance/,
    ],
    ["/generate", { inputs: "a", parameters: [] }, /"parameters" must be an object/],
    ["/generate", {}, /"inputs" is missing/],
  ];
  for (const [path, body, pattern] of cases) await refused(door, path, body, pattern);
  assert.equal(fox.asked.length, asked);
});

testDoor(
  "other models do not generate",
  { description: { handler: "default", task: "fill-mask" } },
  async (door) => {
    const pattern =
      /the model "owner\/name" is there for fill-mask, wanted one for text-generation/;
    await refused(door, "/generate", { inputs: "a" }, pattern, 501);
    await refused(door, "/generate_stream", { inputs: "a" }, pattern, 501);
    assert.equal((await door.request("/generate")).status, 405);
  },
);

testDoor(
  "a stream that breaks says so in words that the clients know",
  model(scripted(words("a b", { breaksWith: new RuntimeError("WORKER_DIED", "Gone") }))),
  async (door) => {
    const events = await streamed(door, "/", { inputs: "x", stream: true });
    assert.deepEqual(events.at(-1), { error: "Gone", error_type: "generation" });
    assert.equal(events.length, 2);
  },
);

testDoor(
  "TorchServe's route streams the text alone, in chunks",
  model(fox),
  async ({ request }) => {
    const body = { inputs: "Once upon", stream: true, parameters: { max_new_tokens: 9 } };
    const response = await request("/predictions/owner/name", post(body));
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("ts_stream_next"), "true");
    assert.equal(await response.text(), " a fox.");
    assert.deepEqual(fox.asked.at(-1), {
      prompt: { kind: "text", text: "Once upon" },
      parameters: { maxNewTokens: 9, keepsStop: true },
      stream: true,
    });
    const wrong = { ...body, parameters: { top_p: 7 } };
    assert.equal((await request("/predictions/owner/name", post(wrong))).status, 400);
  },
);
