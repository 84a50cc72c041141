/**
 * `POST /v1/chat/completions` with an engine that says what is written down; and how tool calls are read.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { RuntimeError } from "../../runtime/errors.ts";
import {
  createToolHold,
  makeCallId,
  readToolCalls,
} from "../../runtime/http/protocols/openai-generation-tools.ts";
import type { JsonValue } from "../../runtime/inference.ts";
import { post, testDoor, type Door } from "../support/app-matrix.ts";
import {
  eventsIn,
  GENERATES,
  scripted,
  words,
  type Scripted,
  type ScriptedToken,
} from "../support/scripted-generation.ts";

const PATH = "/v1/chat/completions";
const HELLO = [{ role: "user", content: "Hello" }];
const WEATHER = {
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: {} } },
};

interface Message {
  readonly role?: string;
  readonly content?: string | null;
  readonly tool_calls?: readonly {
    readonly index?: number;
    readonly id: string;
    readonly type: string;
    readonly function: { readonly name: string; readonly arguments: string };
  }[];
}
interface Chat {
  readonly object: string;
  readonly choices: readonly {
    readonly index: number;
    readonly message: Message;
    readonly delta: Message;
    readonly logprobs: { readonly content: readonly { readonly token: string }[] } | null;
    readonly finish_reason: string | null;
  }[];
  readonly usage?: JsonValue;
}

async function chat({ request }: Door, body: object): Promise<Chat> {
  const response = await request(
    PATH,
    post({ messages: HELLO, ...body }, { "x-request-id": "r1" }),
  );
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text) as Chat;
}

async function streamed({ request }: Door, body: object): Promise<Chat[]> {
  const response = await request(PATH, post({ messages: HELLO, ...body, stream: true }));
  const text = await response.text();
  assert.equal(response.status, 200, text);
  const chunks = eventsIn(text);
  assert.equal(chunks.pop(), "[DONE]");
  return chunks as unknown as Chat[];
}

function model(engine: Scripted, abilities: object = {}) {
  const generation = { ...GENERATES.generation, ...abilities };
  return { answer: engine.answer, description: { ...GENERATES, generation } };
}

const hello = scripted(words("Hello there!", { promptTokens: 9 }));

testDoor("a conversation is answered, in OpenAI's shape", model(hello), async (door) => {
  const { created, system_fingerprint, ...answer } = (await chat(door, {})) as unknown as Record<
    string,
    JsonValue
  >;
  assert.deepEqual(answer, {
    id: "chatcmpl-r1",
    object: "chat.completion",
    model: "owner/name",
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: "Hello there!", refusal: null },
        logprobs: null,
        finish_reason: "stop",
      },
    ],
    usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 },
  });
  assert.equal(typeof created, "number");
  assert.equal(typeof system_fingerprint, "string");
  assert.deepEqual(hello.asked.at(-1), {
    prompt: { kind: "chat", messages: HELLO },
    parameters: { keepsStop: false, maxNewTokens: null },
    stream: false,
  });
});

testDoor("a stream begins with the role and ends with the reason", model(hello), async (door) => {
  const chunks = await streamed(door, { n: 2, stream_options: { include_usage: true } });
  const { usage, choices } = chunks.pop()!;
  assert.deepEqual(choices, []);
  assert.deepEqual(usage, { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13 });
  for (const index of [0, 1]) {
    const own = chunks.flatMap((chunk) => chunk.choices).filter((each) => each.index === index);
    assert.deepEqual(own, [
      { index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null },
      { index, delta: { content: "Hello" }, logprobs: null, finish_reason: null },
      { index, delta: { content: " there!" }, logprobs: null, finish_reason: null },
      { index, delta: {}, logprobs: null, finish_reason: "stop" },
    ]);
  }
  assert.ok(
    chunks.every((chunk) => chunk.object === "chat.completion.chunk" && chunk.usage === null),
  );
});

testDoor(
  "what was held back comes before the reason",
  model(scripted(words("A", { rest: " b", reason: "length" }))),
  async (door) => {
    const chunks = await streamed(door, {});
    assert.deepEqual(
      chunks.map(({ choices: [choice] }) => [choice?.delta.content, choice?.finish_reason]),
      [
        ["", null],
        ["A", null],
        [" b", null],
        [undefined, "length"],
      ],
    );
  },
);

testDoor("an object is asked for, or any text", model(hello), async (door) => {
  for (const stream of [false, true]) {
    const body = { response_format: { type: "json_object" } };
    await (stream ? streamed(door, body) : chat(door, body));
    assert.equal(hello.asked.at(-1)?.parameters.format, "json");
  }
  await chat(door, { response_format: { type: "text" } });
  assert.equal(hello.asked.at(-1)?.parameters.format, undefined);
});

testDoor("messages become what templates read", model(hello), async (door) => {
  await chat(door, {
    max_tokens: 7,
    max_completion_tokens: 8,
    stop: ["a", "b"],
    tools: [WEATHER],
    chat_template_kwargs: { enable_thinking: false },
    documents: [{ title: "t" }],
    add_generation_prompt: false,
    messages: [
      { role: "developer", content: "Be brief", name: "n" },
      {
        role: "user",
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b" },
        ],
      },
      {
        role: "assistant",
        content: null,
        tool_calls: [
          { id: "1", type: "function", function: { name: "f", arguments: '{"x": 1}' } },
          { id: "2", function: { name: "g", arguments: "not JSON" } },
          { id: "3", function: { name: "h", arguments: "" } },
        ],
      },
      { role: "tool", tool_call_id: "1", content: "21" },
      { role: "assistant" },
    ],
  });
  assert.deepEqual(hello.asked.at(-1), {
    prompt: {
      kind: "chat",
      messages: [
        { role: "developer", content: "Be brief", name: "n" },
        { role: "user", content: "a\nb" },
        {
          role: "assistant",
          content: null,
          tool_calls: [
            { type: "function", id: "1", function: { name: "f", arguments: { x: 1 } } },
            { type: "function", id: "2", function: { name: "g", arguments: "not JSON" } },
            { type: "function", id: "3", function: { name: "h", arguments: {} } },
          ],
        },
        { role: "tool", content: "21", tool_call_id: "1" },
        { role: "assistant", content: "" },
      ],
      tools: [WEATHER],
      templateArguments: {
        enable_thinking: false,
        documents: [{ title: "t" }],
        add_generation_prompt: false,
      },
    },
    parameters: { keepsStop: false, stop: ["a", "b"], maxNewTokens: 8 },
    stream: false,
  });
  await chat(door, { continue_final_message: true, tools: [WEATHER], tool_choice: "none" });
  assert.deepEqual(hello.asked.at(-1)?.prompt, {
    kind: "chat",
    messages: HELLO,
    continuesLast: true,
  });
});

testDoor(
  "log probabilities come with bytes and the likeliest others",
  model(
    scripted({
      tokens: [
        { text: "é", top: ["é", "a"] },
        { text: "</s>", special: true },
      ],
    }),
  ),
  async (door) => {
    const { choices } = await chat(door, { logprobs: true, top_logprobs: 2 });
    const content = [
      {
        token: "é",
        logprob: -0.5,
        bytes: [195, 169],
        top_logprobs: [
          { token: "é", logprob: -0.5, bytes: [195, 169] },
          { token: "a", logprob: -0.5, bytes: [97] },
        ],
      },
    ];
    assert.deepEqual(choices[0]?.logprobs, { content, refusal: null });
    const chunks = await streamed(door, { logprobs: true, top_logprobs: 2 });
    assert.deepEqual(
      chunks.flatMap((chunk) => chunk.choices[0]?.logprobs?.content ?? []),
      content,
    );
  },
);

/** Models' own words for calls, and what they are. */
const SPOKEN: Readonly<
  Record<
    string,
    {
      tokens: readonly (string | ScriptedToken)[];
      text: string | null;
      calls: readonly [string, string][];
    }
  >
> = {
  Hermes: {
    tokens: [
      "Let me",
      " see.",
      "\n",
      "<tool",
      "_call>",
      '\n{"name": "get_weather",',
      ' "arguments": {"city": "Köln"}}',
      "\n</tool_call>",
      '\n<tool_call>{"name": "f"',
      ', "arguments": {}}</tool_call>',
    ],
    text: "Let me see.",
    calls: [
      ["get_weather", '{"city":"Köln"}'],
      ["f", "{}"],
    ],
  },
  "Hermes with special tokens": {
    tokens: [
      { text: "<tool_call>", special: true },
      '{"name": "get_weather", "arguments": {}}',
      { text: "</tool_call>", special: true },
    ],
    text: null,
    calls: [["get_weather", "{}"]],
  },
  Llama: {
    tokens: ["\n", '{"name"', ': "get_weather", ', '"parameters": {"a": [1, "}"]}}'],
    text: null,
    calls: [["get_weather", '{"a":[1,"}"]}']],
  },
  "Llama with its tag": {
    tokens: [
      { text: "<|python_tag|>", special: true },
      '{"name": "get_weather", "parameters": {}}',
    ],
    text: null,
    calls: [["get_weather", "{}"]],
  },
  Mistral: {
    tokens: [
      { text: "[TOOL_CALLS]", special: true },
      ' [{"name": "f", "arguments": {"x": 1}},',
      ' {"name": "g", "arguments": "{}"}]',
    ],
    text: null,
    calls: [
      ["f", '{"x":1}'],
      ["g", "{}"],
    ],
  },
  "later Mistral": {
    tokens: [
      "ok",
      { text: "[TOOL_CALLS]", special: true },
      "f",
      { text: "[ARGS]", special: true },
      '{"x": 1}',
    ],
    text: "ok",
    calls: [["f", '{"x":1}']],
  },
  "an unknown function in plain JSON": {
    tokens: ['{"name": "other",', ' "parameters": {}}'],
    text: '{"name": "other", "parameters": {}}',
    calls: [],
  },
  "JSON that is no call": {
    tokens: ['{"a":', " 1}", " is JSON"],
    text: '{"a": 1} is JSON',
    calls: [],
  },
  "a broken call": {
    tokens: ["hm ", '<tool_call>{"name": "get_wea'],
    text: 'hm <tool_call>{"name": "get_wea',
    calls: [],
  },
  "a text that is nearly a marker": {
    tokens: ["a <", "tool", "_box> b", " "],
    text: "a <tool_box> b ",
    calls: [],
  },
};

for (const [name, { tokens, text, calls }] of Object.entries(SPOKEN)) {
  const engine = scripted({
    tokens: tokens.map((token) => (typeof token === "string" ? { text: token } : token)),
  });
  testDoor(`calls are read: ${name}`, model(engine), async (door) => {
    const reason = calls.length > 0 ? "tool_calls" : "stop";
    const { choices } = await chat(door, { tools: [WEATHER] });
    const { message, finish_reason } = choices[0]!;
    assert.equal(message.content, text);
    assert.equal(finish_reason, reason);
    const read = (message.tool_calls ?? []).map(({ id, type, function: called }) => {
      assert.match(id, /^[a-zA-Z0-9]{9}$/);
      assert.equal(type, "function");
      return [called.name, called.arguments];
    });
    assert.deepEqual(read, calls);

    const chunks = await streamed(door, { tools: [WEATHER] });
    const deltas = chunks.flatMap((chunk) => chunk.choices.map(({ delta }) => delta));
    assert.equal(deltas.map(({ content }) => content ?? "").join(""), text ?? "");
    const told = deltas.flatMap(({ tool_calls }) => tool_calls ?? []);
    assert.deepEqual(
      told.map(({ index, function: called }) => [index, called.name, called.arguments]),
      calls.map((call, index) => [index, ...call]),
    );
    assert.equal(chunks.at(-1)?.choices[0]?.finish_reason, reason);
  });
}

testDoor(
  "one call is told where only one is wanted",
  model(
    scripted({
      tokens: [
        { text: '<tool_call>{"name": "f"}</tool_call><tool_call>{"name": "g"}</tool_call>' },
      ],
    }),
  ),
  async (door) => {
    const { choices } = await chat(door, { tools: [WEATHER], parallel_tool_calls: false });
    assert.deepEqual(
      choices[0]?.message.tool_calls?.map(({ function: called }) => called.name),
      ["f"],
    );
  },
);

testDoor(
  "without tools nothing is read as a call",
  model(scripted({ tokens: [{ text: '<tool_call>{"name": "f"}</tool_call>' }] })),
  async (door) => {
    const { choices } = await chat(door, {});
    assert.equal(choices[0]?.message.content, '<tool_call>{"name": "f"}</tool_call>');
    assert.equal(choices[0].finish_reason, "stop");
  },
);

test("a held text is shown piece by piece as soon as it cannot be a call", () => {
  const hold = createToolHold(new Set(["f"]));
  assert.equal(hold.add("Hello"), "Hello");
  assert.equal(hold.add(" there <"), " there");
  assert.equal(hold.add("b> "), " <b>");
  assert.equal(hold.add('{"name"'), ' {"name"');
  assert.equal(hold.add("\n<tool_call>"), "");
  assert.equal(hold.add("{}"), "");
  assert.deepEqual(hold.end(), { text: "\n<tool_call>{}", calls: [] });
});

test("whatever a model writes, no text is lost and nothing throws", () => {
  const names = new Set(["f"]);
  const pieces = [
    "<tool_call>",
    "</tool_call>",
    "{",
    "}",
    '"',
    "f",
    " ",
    "\n",
    '{"name":"f"}',
    "<",
    "é",
  ];
  let seed = 7;
  const pick = (): string => pieces[(seed = (seed * 48271) % 0x7fffffff) % pieces.length]!;
  let called = 0;
  for (let round = 0; round < 3000; round++) {
    const parts = Array.from({ length: 1 + (round % 9) }, pick);
    const hold = createToolHold(names);
    const shown = parts.map((part) => hold.add(part)).join("");
    const { text, calls } = hold.end();
    const whole = readToolCalls(parts.join(""), names);
    assert.deepEqual(calls, whole.calls);
    if (calls.length === 0) assert.equal(shown + text, parts.join(""));
    else assert.equal((shown + text).trim(), whole.text.trim());
    called += calls.length;
  }
  assert.ok(called > 50, `only ${called} calls were made`);
});

test("ids of calls differ", () => {
  assert.equal(new Set(Array.from({ length: 1000 }, makeCallId)).size, 1000);
});

const REFUSALS: readonly (readonly [body: object, param: string, message: RegExp])[] = [
  [{ messages: undefined }, "messages", /"messages" is missing, wanted a list of messages/],
  [{ messages: [] }, "messages", /at least one message/],
  [{ messages: [{ content: "a" }] }, "messages", /"messages\[0\]\.role" is missing/],
  [{ messages: [{ role: "user", content: 7 }] }, "messages", /"messages\[0\]\.content" is 7/],
  [
    { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "x" } }] }] },
    "messages",
    /"messages\[0\]\.content\[0\]" is of type "image_url", wanted "text"/,
  ],
  [
    { messages: [{ role: "user", content: [{ type: "text" }] }] },
    "messages",
    /content\[0\]\.text" is missing/,
  ],
  [{ max_tokens: 0 }, "max_tokens", /at least 1/],
  [{ top_logprobs: 2 }, "top_logprobs", /"logprobs": true with it/],
  [{ top_logprobs: 21, logprobs: true }, "top_logprobs", /from 0 to 20/],
  [{ tools: [{ type: "function" }] }, "tools", /"tools\[0\]\.function" is missing/],
  [{ tools: Array.from({ length: 129 }, () => 0) }, "tools", /up to 128/],
  [{ tools: [WEATHER], tool_choice: "required" }, "tool_choice", /"auto" or "none"/],
  [
    { tools: [WEATHER], tool_choice: { type: "function", function: { name: "f" } } },
    "tool_choice",
    /is an object, wanted "auto" or "none"/,
  ],
  [
    { response_format: { type: "json_schema", json_schema: { name: "x", schema: {} } } },
    "response_format",
    /"response_format\.type" is "json_schema", wanted "text" or "json_object", as schemas are not followed/,
  ],
  [{ response_format: "json_object" }, "response_format", /wanted an object/],
  [
    { continue_final_message: true, add_generation_prompt: true },
    "continue_final_message",
    /both true/,
  ],
];

testDoor("what cannot be done is refused by name", model(hello), async ({ request }) => {
  const asked = hello.asked.length;
  for (const [body, param, pattern] of REFUSALS) {
    const response = await request(PATH, post({ messages: HELLO, ...body }));
    const { error } = (await response.json()) as { error: { message: string; param: string } };
    assert.equal(response.status, 400, param);
    assert.match(error.message, pattern);
    assert.equal(error.param, param);
  }
  assert.equal(hello.asked.length, asked);
});

testDoor(
  "tools are refused where the template does not know them",
  model(hello, { tools: false }),
  async (door) => {
    const response = await door.request(PATH, post({ messages: HELLO, tools: [WEATHER] }));
    assert.equal(response.status, 400);
    assert.match(await response.text(), /the model's chat template does not know tools/);
    await chat(door, { tools: [WEATHER], tool_choice: "none" });
    await chat(door, { tools: [] });
  },
);

testDoor(
  "a model without a chat template names the other route",
  model(hello, { chat: false }),
  async ({ request }) => {
    const response = await request("/openai/v1/chat/completions", post({ messages: HELLO }));
    assert.equal(response.status, 400);
    assert.deepEqual(await response.json(), {
      error: {
        message:
          'Cannot answer the conversation: the model "owner/name" has no chat template; POST /v1/completions continues a prompt',
        type: "invalid_request_error",
        param: "model",
        code: "no_chat_template",
      },
    });
  },
);

testDoor(
  "a stream that breaks says so in an event",
  model(
    scripted(words("one two", { breaksWith: new RuntimeError("DEADLINE_EXCEEDED", "Too late") })),
  ),
  async (door) => {
    const chunks = await streamed(door, {});
    assert.deepEqual(chunks.at(-1), {
      error: { message: "Too late", type: "timeout_error", param: null, code: "deadline_exceeded" },
    });
  },
);

testDoor("Hugging Face's clients name an address, or nothing", model(hello), async (door) => {
  for (const name of [
    "http://127.0.0.1:8080",
    "https://x.endpoints.huggingface.cloud/v1",
    "tgi",
    "dummy",
  ])
    assert.equal((await chat(door, { model: name })).choices.length, 1);
});
