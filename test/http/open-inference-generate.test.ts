/**
 * The Open Inference Protocol's generate extension, against its own description of answers.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";

import { Ajv2020 } from "ajv/dist/2020.js";
import { parse } from "yaml";

import { RuntimeError } from "../../runtime/errors.ts";
import type { JsonValue } from "../../runtime/inference.ts";
import { post, testDoor, type Door } from "../support/app-matrix.ts";
import { eventsIn, GENERATES, scripted, words } from "../support/scripted-generation.ts";

const SPECIFICATION = new URL("../fixtures/oip/generate_rest.yaml", import.meta.url);

const { components } = parse(await readFile(SPECIFICATION, "utf8")) as { components: object };
const ajv = new Ajv2020({ strict: false, formats: { float: true, int32: true } });
ajv.addSchema({ $id: "oip", components });

function assertIs(schema: string, value: JsonValue): void {
  const validate = ajv.getSchema(`oip#/components/schemas/${schema}`);
  assert.ok(validate, `there is no ${schema}`);
  assert.equal(validate(value), true, ajv.errorsText(validate.errors));
}

const fox = scripted({
  tokens: [{ text: " a" }, { text: " ST", shown: "" }, { text: "</s>", special: true }],
  rest: " ST",
});
const model = { answer: fox.answer, description: GENERATES };
const HEADING = { model_name: "owner/name", model_version: "1.0" };

async function ask({ request }: Door, path: string, body: object): Promise<string> {
  const response = await request(path, post(body));
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return text;
}

testDoor("a text is generated, by any of its paths", model, async (door) => {
  const paths = [
    "/v2/models/owner/name/generate",
    "/v2/models/owner%2Fname/generate",
    "/v2/models/owner/name/versions/1.0/generate",
  ];
  for (const path of paths) {
    const answer = JSON.parse(await ask(door, path, { text_input: "Once" })) as JsonValue;
    assert.deepEqual(answer, { text_output: " a ST", ...HEADING });
    assertIs("GenerateResponse", answer);
  }
  assert.deepEqual(fox.asked.at(-1), {
    prompt: { kind: "text", text: "Once" },
    parameters: { maxNewTokens: 20, keepsStop: true },
    stream: false,
  });
});

testDoor("parameters count wherever they stand, and details are told", model, async (door) => {
  const body = {
    text_input: "Once",
    top_k: 3,
    max_tokens: 4,
    parameters: {
      details: true,
      temperature: 0.5,
      top_p: 0.9,
      max_tokens: 5,
      stop: ["x"],
      seed: 1,
      other: {},
    },
  };
  const answer = JSON.parse(await ask(door, "/v2/models/owner/name/generate", body)) as {
    details: { finish_reason: string; logprobs: readonly { text: string }[] };
  };
  assertIs("GenerateResponse", answer);
  assert.equal(answer.details.finish_reason, "eos_token");
  assert.deepEqual(
    answer.details.logprobs.map(({ text }) => text),
    [" a", " ST", "</s>"],
  );
  assert.deepEqual(fox.asked.at(-1)?.parameters, {
    temperature: 0.5,
    topP: 0.9,
    topK: 3,
    doSample: true,
    seed: 1,
    maxNewTokens: 5,
    stop: ["x"],
    keepsStop: true,
  });
});

testDoor("a stream tells the text piece by piece", model, async (door) => {
  const path = "/v2/models/owner/name/generate_stream";
  const events = eventsIn(await ask(door, path, { text_input: "Once" }));
  assert.deepEqual(events, [
    { text_output: " a", ...HEADING },
    { text_output: " ST", ...HEADING },
  ]);
  const body = { text_input: "Once", parameters: { details: true } };
  const detailed = eventsIn(await ask(door, path, body)) as {
    text_output: string;
    token: { text: string };
    details?: { finish_reason: string; token: { text: string } };
  }[];
  assert.deepEqual(
    detailed.map(({ text_output, token }) => [text_output, token.text]),
    [
      [" a", " a"],
      ["", " ST"],
      [" ST", "</s>"],
    ],
  );
  assert.deepEqual(
    detailed.map(({ details }) => details?.finish_reason),
    [undefined, undefined, "eos_token"],
  );
  for (const event of [...events, ...(detailed as unknown as JsonValue[])])
    assertIs("GenerateStreamResponse", event);
});

const REFUSALS: readonly (readonly [
  path: string,
  body: JsonValue,
  status: number,
  message: RegExp,
])[] = [
  ["owner/name/generate", {}, 400, /"text_input" must be a text/],
  ["owner/name/generate", { text_input: 5 }, 400, /"text_input" must be a text/],
  ["owner/name/generate", [], 400, /the body must be an object/],
  [
    "owner/name/generate",
    { text_input: "a", parameters: 5 },
    400,
    /"parameters" must be an object/,
  ],
  [
    "owner/name/generate",
    { text_input: "a", parameters: { max_tokens: 0 } },
    400,
    /"max_tokens" must be a whole number of at least 1/,
  ],
  [
    "owner/name/generate_stream",
    { text_input: "a", parameters: { top_p: 2 } },
    400,
    /"top_p" must be/,
  ],
  ["other/generate", { text_input: "a" }, 404, /other/],
  ["owner/name/versions/9/generate", { text_input: "a" }, 404, /9/],
];

testDoor("errors are the protocol's own, with its statuses", model, async ({ request }) => {
  for (const [path, body, status, pattern] of REFUSALS) {
    const response = await request(`/v2/models/${path}`, post(body));
    const answer = (await response.json()) as { error: string };
    assert.equal(response.status, status, answer.error);
    assertIs("GenerateErrorResponse", answer);
    assert.match(answer.error, pattern);
  }
  const get = await request("/v2/models/owner/name/generate");
  assert.equal(get.status, 405);
  assert.equal(get.headers.get("allow"), "POST");
  const broken = await request("/v2/models/owner/name/generate", { method: "POST", body: "{" });
  assert.equal(broken.status, 400);
  assertIs("GenerateErrorResponse", (await broken.json()) as JsonValue);
});

testDoor(
  "a stream that breaks ends with an error",
  {
    description: GENERATES,
    answer: scripted(words("a b", { breaksWith: new RuntimeError("WORKER_DIED", "Gone") })).answer,
  },
  async (door) => {
    const text = await ask(door, "/v2/models/owner/name/generate_stream", { text_input: "x" });
    assert.deepEqual(eventsIn(text).at(-1), { error: "Gone" });
  },
);

testDoor(
  "other models do not generate",
  { description: { handler: "default", task: "fill-mask" } },
  async ({ request }) => {
    const response = await request("/v2/models/owner/name/generate", post({ text_input: "a" }));
    const { error } = (await response.json()) as { error: string };
    assert.match(error, /wanted one for text-generation/);
    assert.ok(response.status === 400 || response.status === 501, String(response.status));
  },
);
