/**
 * OpenAI's and Hugging Face's own clients generate, with a real server and the tiny models that write stories. What they get is compared
 * with PyTorch's answers and with each other.
 *
 * `PYTHON` names the interpreter to try; `python3` is tried by default.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { InferenceClient } from "@huggingface/inference";
import OpenAI, { BadRequestError } from "openai";
import { z } from "zod";

import type { JsonValue } from "../../runtime/inference.ts";
import { assertNear, modelPath, readGolden } from "../support/goldens.ts";
import { startHubserve, type Hubserve } from "../support/hubserve.ts";
import { eventsIn } from "../support/scripted-generation.ts";

const PYTHON = process.env["PYTHON"] ?? "python3";
const noPython =
  spawnSync(PYTHON, ["-c", "import openai, huggingface_hub"]).status === 0
    ? false
    : `${PYTHON} has no openai and huggingface_hub; name one that has as PYTHON`;

const { cases } = readGolden(
  "tiny-llama",
  z.object({
    cases: z.array(
      z.object({
        prompt: z.string(),
        input_ids: z.array(z.number()),
        /** Of the prompt's second token and those after it. */
        prompt_logprobs: z.array(z.number()),
        max_new_tokens: z.number(),
        new_ids: z.array(z.number()),
        new_text: z.string(),
        messages: z
          .array(z.object({ role: z.enum(["system", "user", "assistant"]), content: z.string() }))
          .optional(),
      }),
    ),
  }),
);
const { vocab: vocabulary } = z
  .object({ model: z.object({ vocab: z.record(z.string(), z.number()) }) })
  .parse(JSON.parse(readFileSync(`${modelPath("tiny-llama")}/tokenizer.json`, "utf8"))).model;
const PROMPT = "Once upon a time";
const STORY = ", there was a clever cat named Jack. It was a";
const MESSAGES = [{ role: "user" as const, content: "Tell me a story" }];
const ANSWER = " owl says hoot.";

async function serve(model: string): Promise<Hubserve> {
  const args = [modelPath(model), "--dtype", "fp32", "--workers", "1", "--threads", "1"];
  const server = await startHubserve({ args });
  await server.line(/Ready after/);
  return server;
}

function openai({ url }: Hubserve): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: "any", maxRetries: 0 });
}

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of stream) values.push(value);
  return values;
}

test("OpenAI's JavaScript client completes prompts", async (t) => {
  await using server = await serve("tiny-llama");
  const client = openai(server);
  const model = "tiny-llama";

  await t.test("as PyTorch does, likelihoods included", async () => {
    for (const { prompt, input_ids, prompt_logprobs, max_new_tokens, new_ids, new_text } of cases) {
      const { choices, usage } = await client.completions.create({
        model,
        prompt: input_ids,
        max_tokens: max_new_tokens,
        logprobs: 1,
        echo: true,
      });
      assert.equal(choices[0]?.text, prompt + new_text);
      assert.equal(usage?.completion_tokens, new_ids.length);
      const found = choices[0].logprobs?.token_logprobs?.slice(1, input_ids.length) ?? [];
      // fp32 in another order of sums.
      assertNear(found, prompt_logprobs, 1e-3);
      // What evaluation harnesses score by: at each place the likeliest, and the token itself.
      const { tokens = [], top_logprobs: tops = [] } = choices[0].logprobs ?? {};
      assert.equal(tops[0], null);
      for (const [place, token] of tokens.entries()) {
        if (place === 0) continue;
        const best = Math.max(...Object.values(tops[place] ?? {}));
        const own = tops[place]?.[token] ?? Number.NaN;
        if (place < input_ids.length) assert.ok(own <= best, `${place}`);
        else assert.equal(own, best, "what is written is the likeliest");
      }
    }
  });

  await t.test("whole", async () => {
    const answer = await client.completions.create({ model, prompt: PROMPT, max_tokens: 12 });
    assert.equal(answer.choices[0]?.text, STORY);
    assert.equal(answer.choices[0].finish_reason, "length");
    const { prompt_tokens, completion_tokens } = answer.usage!;
    assert.deepEqual([prompt_tokens, completion_tokens], [cases[0]!.input_ids.length, 12]);
  });

  await t.test("streamed, with usage", async () => {
    const stream = await client.completions.create({
      model,
      prompt: PROMPT,
      max_tokens: 12,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await all(stream);
    assert.equal(chunks.flatMap(({ choices }) => choices.map((each) => each.text)).join(""), STORY);
    assert.ok(chunks.length > 10);
    assert.equal(chunks.at(-1)?.usage?.completion_tokens, 12);
  });

  await t.test("of token ids, which are echoed as their text", async () => {
    const prompt = cases[0]!.input_ids;
    const { choices } = await client.completions.create({
      model,
      prompt,
      max_tokens: 12,
      echo: true,
    });
    assert.equal(choices[0]?.text, PROMPT + STORY);
  });

  await t.test("with log probabilities of every token that is shown", async () => {
    const { choices } = await client.completions.create({
      model,
      prompt: PROMPT,
      max_tokens: 12,
      logprobs: 2,
      echo: true,
    });
    const { tokens = [], token_logprobs = [], text_offset = [] } = choices[0]?.logprobs ?? {};
    assert.equal(tokens.join(""), PROMPT + STORY);
    assert.deepEqual(
      text_offset.map((offset, index) => (PROMPT + STORY).startsWith(tokens[index]!, offset)),
      tokens.map(() => true),
    );
    assert.equal(token_logprobs[0], null);
    assert.ok(token_logprobs.slice(1).every((value) => value < 0));
  });

  await t.test("several prompts and choices, alike by seed and else different", async () => {
    const body = {
      model,
      prompt: [PROMPT, "Tom was"],
      n: 2,
      max_tokens: 20,
      temperature: 1.5,
      seed: 7,
    };
    const texts = async (): Promise<string[]> =>
      (await client.completions.create(body)).choices.map((each) => each.text);
    const [first, second] = [await texts(), await texts()];
    assert.deepEqual(first, second);
    assert.equal(new Set(first).size, 4);
  });

  await t.test("up to a text that ends them", async () => {
    const body = { model, prompt: PROMPT, max_tokens: 40, stop: ["named"] };
    const { choices } = await client.completions.create(body);
    assert.equal(choices[0]?.text, ", there was a clever cat ");
    assert.equal(choices[0].finish_reason, "stop");
    const chunks = await all(await client.completions.create({ ...body, stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.text).join(""), choices[0].text);
    const kept = await client.completions.create({
      ...body,
      // @ts-expect-error vLLM's.
      include_stop_str_in_output: true,
    });
    assert.equal(kept.choices[0]?.text, ", there was a clever cat named");
  });

  await t.test("but not more than the model holds", async () => {
    await assert.rejects(
      client.completions.create({ model, prompt: PROMPT, max_tokens: 5000, stream: true }),
      (error) => {
        assert.ok(error instanceof BadRequestError);
        assert.equal(error.param, "max_tokens");
        assert.equal(error.code, "context_length_exceeded");
        assert.match(error.message, /"max_tokens" is 5000, wanted at most 508/);
        return true;
      },
    );
  });
});

test("OpenAI's JavaScript client holds conversations", async (t) => {
  await using server = await serve("tiny-llama");
  const client = openai(server);
  const model = "tiny-llama";

  await t.test("as PyTorch does, with the tokens of its own template", async () => {
    const conversations = cases.filter(({ messages }) => messages !== undefined);
    assert.ok(conversations.length > 3, `only ${conversations.length} conversations`);
    for (const { messages = [], input_ids, new_ids, new_text } of conversations) {
      const { choices, usage } = await client.chat.completions.create({ model, messages });
      assert.equal(choices[0]?.message.content, new_text);
      assert.deepEqual(
        [usage?.prompt_tokens, usage?.completion_tokens],
        [input_ids.length, new_ids.length],
      );
    }
  });

  await t.test("whole and streamed alike", async () => {
    const body = { model, messages: MESSAGES, max_tokens: 20 };
    const { choices, usage } = await client.chat.completions.create(body);
    assert.equal(choices[0]?.message.content, ANSWER);
    assert.equal(choices[0].finish_reason, "stop");
    const runner = client.chat.completions.stream({
      ...body,
      stream_options: { include_usage: true },
    });
    const whole = await runner.finalChatCompletion();
    assert.equal(whole.choices[0]?.message.content, ANSWER);
    assert.equal(whole.choices[0].finish_reason, "stop");
    assert.deepEqual(whole.usage, usage);
  });

  await t.test("with log probabilities", async () => {
    const { choices } = await client.chat.completions.create({
      model,
      messages: MESSAGES,
      logprobs: true,
      top_logprobs: 2,
    });
    const content = choices[0]?.logprobs?.content ?? [];
    assert.equal(content.map(({ token }) => token).join(""), ANSWER);
    assert.ok(content.every(({ top_logprobs }) => top_logprobs.length === 2));
  });

  await t.test("and continues what it began to say", async () => {
    const { choices } = await client.chat.completions.create({
      model,
      messages: [...MESSAGES, { role: "assistant", content: " owl says" }],
      // @ts-expect-error vLLM's.
      continue_final_message: true,
    });
    assert.equal(choices[0]?.message.content, " hoot.");
  });

  await t.test(
    "with a JSON object, whole and streamed, and its beginning where it is cut",
    async () => {
      // The tiny model has never seen an object: what one ends with is made likelier, by its tokenizer's ids.
      const ids = ['"', "}", ":", "1"].map((token) => String(vocabulary[token]));
      const body = {
        model,
        messages: MESSAGES,
        response_format: { type: "json_object" as const },
        temperature: 1,
        max_tokens: 120,
        logit_bias: Object.fromEntries(ids.map((id) => [id, 8])),
      };
      for (const seed of [1, 2, 3]) {
        const { choices } = await client.chat.completions.create({ ...body, seed });
        const text = choices[0]?.message.content ?? "";
        assert.equal(choices[0]?.finish_reason, "stop", text);
        assert.equal(typeof JSON.parse(text), "object");
        const runner = client.chat.completions.stream({ ...body, seed });
        assert.equal((await runner.finalChatCompletion()).choices[0]?.message.content, text);
      }
      const { choices } = await client.chat.completions.create({ ...body, max_tokens: 1, seed: 1 });
      assert.equal(choices[0]?.finish_reason, "length");
      await assert.rejects(
        client.chat.completions.create({
          ...body,
          response_format: { type: "json_schema", json_schema: { name: "x", schema: {} } },
        }),
        (error) => error instanceof BadRequestError && error.param === "response_format",
      );
    },
  );

  await t.test("tools are refused, as this template does not know them", async () => {
    const tools = [{ type: "function" as const, function: { name: "f" } }];
    await assert.rejects(
      client.chat.completions.create({ model, messages: MESSAGES, tools }),
      (error) => error instanceof BadRequestError && error.param === "tools",
    );
  });
});

test("a client that leaves ends its generation", async () => {
  await using server = await serve("tiny-llama");
  const leaving = new AbortController();
  const response = await fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      prompt: PROMPT,
      max_tokens: 500,
      n: 8,
      ignore_eos: true,
      temperature: 1,
      stream: true,
    }),
    signal: leaving.signal,
  });
  await response.body!.getReader().read();
  leaving.abort();
  let running = 1;
  while (running > 0) {
    const info = (await (await fetch(`${server.url}/info`)).json()) as {
      requests: { running: number };
    };
    ({ running } = info.requests);
  }
  let written = NaN; // told a little later
  while (Number.isNaN(written)) {
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    written = Number(/^hubserve_generated_tokens_total\{[^}]*\} (\d+)$/m.exec(metrics)?.[1]);
  }
  assert.ok(written < 8 * 500, `${written} tokens were written`);
});

test("a model without a chat template completes, and says so to conversations", async () => {
  await using server = await serve("tiny-gpt2");
  const client = openai(server);
  const { choices } = await client.completions.create({ model: "tiny-gpt2", prompt: PROMPT });
  assert.ok(choices[0]!.text.length > 10);
  await assert.rejects(
    client.chat.completions.create({ model: "tiny-gpt2", messages: MESSAGES }),
    (error) =>
      error instanceof BadRequestError &&
      error.code === "no_chat_template" &&
      error.message.includes("POST /v1/completions"),
  );
});

test("Hugging Face's JavaScript client generates and chats", async () => {
  await using server = await serve("tiny-llama");
  const client = new InferenceClient("hf_anyToken").endpoint(server.url);
  const inputs = PROMPT;
  const parameters = { max_new_tokens: 12 };
  assert.equal((await client.textGeneration({ inputs, parameters })).generated_text, STORY);
  const chunks = (await all(client.textGenerationStream({ inputs, parameters }))) as unknown as {
    choices: { text: string }[];
  }[]; // the type is older than what the client asks for
  assert.equal(chunks.map(({ choices }) => choices[0]?.text).join(""), STORY);
  const { choices } = await client.chatCompletion({ messages: MESSAGES, max_tokens: 20 });
  assert.equal(choices[0]?.message.content, ANSWER);
  const deltas = await all(client.chatCompletionStream({ messages: MESSAGES, max_tokens: 20 }));
  assert.equal(deltas.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""), ANSWER);
});

test("the same prompt gives the same story, plain and streamed, by every protocol", async () => {
  await using server = await serve("tiny-llama");
  const ask = async (path: string, body: object): Promise<string> => {
    const response = await fetch(`${server.url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.text();
    assert.equal(response.status, 200, answer);
    return answer;
  };
  const parameters = { max_new_tokens: 12 };
  const whole = PROMPT + STORY;
  const inputs = PROMPT;
  const text_input = PROMPT;
  const own = { max_tokens: 12 };
  const v2 = "/v2/models/tiny-llama";
  const plain = JSON.parse(await ask("/", { inputs, parameters })) as JsonValue;
  assert.deepEqual(plain, [{ generated_text: whole }]);
  const [detailed] = JSON.parse(
    await ask("/", { inputs, parameters: { ...parameters, details: true } }),
  ) as { generated_text: string; details: { tokens: { text: string }[] } }[];
  assert.equal(detailed?.generated_text, whole);
  assert.equal(detailed.details.tokens.map((token) => token.text).join(""), STORY);
  const events = eventsIn(await ask("/", { inputs, parameters, stream: true })) as {
    token: { text: string };
    generated_text: string | null;
  }[];
  assert.equal(events.map(({ token }) => token.text).join(""), STORY);
  assert.equal(events.at(-1)?.generated_text, whole);
  const generated = JSON.parse(await ask("/generate", { inputs, parameters })) as JsonValue;
  assert.deepEqual(generated, { generated_text: STORY });
  const oip = JSON.parse(await ask(`${v2}/generate`, { text_input, parameters: own })) as {
    text_output: string;
  };
  assert.equal(oip.text_output, STORY);
  const pieces = eventsIn(await ask(`${v2}/generate_stream`, { text_input, ...own })) as {
    text_output: string;
  }[];
  assert.equal(pieces.map((piece) => piece.text_output).join(""), STORY);
});

test("Python's clients generate and chat", { skip: noPython }, async () => {
  await using server = await serve("tiny-llama");
  const hub = { client: "hub" };
  const openaiClient = { client: "openai" };
  const usual = { model: "tiny-llama", max_tokens: 12 };
  const calls: readonly (readonly [call: object, check: (result: never) => void])[] = [
    [
      { ...hub, method: "text_generation", arguments: { prompt: PROMPT, max_new_tokens: 12 } },
      (result: string) => assert.equal(result, PROMPT + STORY),
    ],
    [
      {
        ...hub,
        method: "text_generation",
        arguments: { prompt: PROMPT, max_new_tokens: 12, stream: true },
      },
      (result: string[]) => assert.equal(result.join(""), STORY),
    ],
    [
      {
        ...hub,
        method: "text_generation",
        arguments: {
          prompt: PROMPT,
          max_new_tokens: 12,
          details: true,
          stream: true,
          top_n_tokens: 2,
        },
      },
      (
        result: { details: { generated_tokens: number } | null; generated_text: string | null }[],
      ) => {
        assert.equal(result.at(-1)?.generated_text, PROMPT + STORY);
        assert.equal(result.at(-1)?.details?.generated_tokens, 12);
      },
    ],
    [
      {
        ...hub,
        method: "text_generation",
        arguments: {
          prompt: PROMPT,
          max_new_tokens: 12,
          details: true,
          decoder_input_details: true,
          return_full_text: false,
        },
      },
      (result: { generated_text: string; details: { tokens: unknown[]; prefill: unknown[] } }) => {
        assert.equal(result.generated_text, STORY);
        assert.equal(result.details.tokens.length, 12);
        assert.equal(result.details.prefill.length, 4);
      },
    ],
    [
      { ...hub, method: "chat_completion", arguments: { messages: MESSAGES, max_tokens: 20 } },
      (result: { choices: { message: { content: string } }[] }) =>
        assert.equal(result.choices[0]?.message.content, ANSWER),
    ],
    [
      {
        ...hub,
        method: "chat_completion",
        arguments: { messages: MESSAGES, max_tokens: 20, stream: true },
      },
      (result: { choices: { delta: { content: string } }[] }[]) =>
        assert.equal(result.map(({ choices }) => choices[0]?.delta.content ?? "").join(""), ANSWER),
    ],
    [
      {
        ...openaiClient,
        method: "completions.create",
        arguments: { ...usual, prompt: PROMPT, logprobs: 1 },
      },
      (result: { choices: { text: string; logprobs: { tokens: string[] } }[] }) => {
        assert.equal(result.choices[0]?.text, STORY);
        assert.equal(result.choices[0]?.logprobs.tokens.length, 12);
      },
    ],
    [
      {
        ...openaiClient,
        method: "chat.completions.create",
        arguments: { ...usual, messages: MESSAGES, stream: true },
      },
      (result: { choices: { delta: { content: string | null } }[] }[]) =>
        assert.equal(result.map(({ choices }) => choices[0]?.delta.content ?? "").join(""), ANSWER),
    ],
  ];
  const script = fileURLToPath(new URL("../support/python-generation.py", import.meta.url));
  const child = spawn(PYTHON, [script], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(JSON.stringify({ url: server.url, calls: calls.map(([call]) => call) }));
  const answers = (await text(child.stdout)).trim().split("\n");
  for (const [index, [call, check]] of calls.entries()) {
    const answer = JSON.parse(answers[index] ?? "{}") as { result?: unknown };
    assert.ok("result" in answer, `${JSON.stringify(call)}: ${answers[index]}`);
    check(answer.result as never); // each check names the shape that it expects
  }
});
