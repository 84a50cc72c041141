import assert from "node:assert/strict";

import { createModels } from "../../runtime/engine/models.ts";
import { RuntimeError } from "../../runtime/errors.ts";
import { ONE_BY_ONE, type InferenceRequest, type JsonValue } from "../../runtime/inference.ts";
import { post, readyModels, testDoor, type Answer, type Door } from "../support/app-matrix.ts";
import { torchServeModels } from "../support/torchserve.ts";

const PREDICT = "/v1/models/owner/name:predict";
const EXPLAIN = "/v1/models/owner/name:explain";

/** Answers as the default handler does, whose engine splits lists: one element each. */
const describeInputs: Answer = ({ data }) => {
  const { inputs } = data;
  const value = Array.isArray(inputs) ? inputs.map(toText) : toText(inputs);
  return { kind: "json", value };
};

function toText(input: unknown): JsonValue {
  return JSON.stringify(input, (_key, value: unknown) =>
    typeof value === "object" && value !== null && "bytes" in value && "contentType" in value
      ? `${String(value.contentType)}: ${Buffer.from(value.bytes as Uint8Array).toString("hex")}`
      : value,
  );
}

/** A model of the default handler, and the requests that reached it. */
function defaultModel(
  task: string,
  { splits = true, answer = describeInputs }: { splits?: boolean; answer?: Answer } = {},
) {
  const requests: InferenceRequest[] = [];
  const models = readyModels(
    (request, waiting) => {
      requests.push(request);
      return answer(request, waiting);
    },
    { handler: "default", task },
  );
  const { engine } = models.ready();
  Object.defineProperty(engine, "batching", {
    value: { ...engine.batching, ...ONE_BY_ONE, splitsLists: splits },
  });
  return { models, requests };
}

async function json(response: Response, status = 200): Promise<unknown> {
  const text = await response.text();
  assert.equal(response.status, status, text);
  assert.equal(response.headers.get("content-type"), "application/json");
  return JSON.parse(text);
}

async function predictions(
  { request }: Door,
  instances: readonly unknown[],
  more: object = {},
): Promise<unknown> {
  const body = await json(await request(PREDICT, post({ instances, ...more })));
  return (body as { predictions: unknown }).predictions;
}

const text = defaultModel("text-classification");

testDoor("texts in every form of TorchServe's samples are read", text, async (door) => {
  const instances = [
    "a",
    { data: "b", target: 0 },
    { text: "c" },
    { data: { text: "d", target: 1 } },
    '{"text": "e", "target": 1}',
    { b64: Buffer.from("f").toString("base64") },
    "",
  ];
  assert.deepEqual(await predictions(door, instances), [
    '"a"',
    '"b"',
    '"c"',
    '"d"',
    '"e"',
    '"f"',
    '""',
  ]);
  const { data } = text.requests.at(-1) ?? {};
  assert.deepEqual(data, { inputs: ["a", "b", "c", "d", "e", "f", ""] });
});

const one = defaultModel("text-classification");

testDoor("a list of one is asked as an element of a longer one", one, async (door) => {
  assert.deepEqual(await predictions(door, ["a"], { parameters: { top_k: 2 } }), ['"a"']);
  const { data, part, kind } = one.requests.at(-1) ?? {};
  assert.deepEqual(data, { inputs: ["a"], parameters: { top_k: 2 } });
  assert.deepEqual(part, { index: 0 });
  assert.equal(kind, "predict");
});

const mixed = defaultModel("text-classification");

testDoor(
  "instances with parameters of their own are a request each, in order",
  mixed,
  async (door) => {
    mixed.requests.length = 0;
    const instances = Array.from({ length: 20 }, (_, index) => ({
      text: `t${index}`,
      ...(index % 2 === 0 && { parameters: { top_k: index + 1 } }),
    }));
    const more = { parameters: { function_to_apply: "none" } };
    assert.deepEqual(
      await predictions(door, instances, more),
      instances.map(({ text }) => JSON.stringify(text)),
    );
    assert.equal(mixed.requests.length, 20);
    assert.deepEqual(mixed.requests[2]?.data, {
      inputs: "t2",
      parameters: { function_to_apply: "none", top_k: 3 },
    });
    assert.deepEqual(mixed.requests[3]?.data, { inputs: "t3", ...more });
  },
);

const qa = defaultModel("question-answering");

testDoor("named inputs stay together", qa, async (door) => {
  const instance = { question: "Who?", context: "Me." };
  assert.deepEqual(await predictions(door, [instance, { data: instance }]), [
    JSON.stringify(instance),
    JSON.stringify(instance),
  ]);
});

const image = defaultModel("image-classification");
const PNG = "89504e470d0a1a0a";

testDoor("base64 is bytes with their type, on its own or under a name", image, async (door) => {
  const b64 = Buffer.from(PNG, "hex").toString("base64");
  assert.deepEqual(
    await predictions(door, [{ b64 }, { image_bytes: { b64 } }, { data: { b64 } }]),
    [`"image/png: ${PNG}"`, `"image/png: ${PNG}"`, `"image/png: ${PNG}"`],
  );
  const refused = await door.request(PREDICT, post({ instances: [{ b64 }, { b64: "ä" }] }));
  assert.deepEqual(await json(refused, 400), {
    error: 'Cannot read the body: "b64" is not base64 (instances[1])',
  });
});

const single = defaultModel("sentence-similarity", { splits: false });

testDoor("a task that takes no lists is asked once per instance", single, async (door) => {
  single.requests.length = 0;
  const instances = [1, 2, 3].map((each) => ({ source_sentence: `s${each}`, sentences: ["a"] }));
  assert.deepEqual(
    await predictions(door, instances),
    instances.map((each) => JSON.stringify(each)),
  );
  assert.equal(single.requests.length, 3);
});

/** Refuses numbers in the sentence of a task, and counts what is given up. */
const refusing = (() => {
  let aborted = 0;
  const model = defaultModel("sentence-similarity", {
    splits: false,
    answer: ({ data }, { signal }) => {
      const { inputs } = data as { inputs: { text: unknown; other?: unknown } };
      if (inputs.text === 5)
        throw new RuntimeError("INVALID_INPUT", 'Cannot compare: "inputs.text" is a number');
      if (inputs.text === 6) throw new RuntimeError("INVALID_INPUT", "Cannot compare: so there");
      return new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          aborted++;
          reject(new RuntimeError("CANCELLED", "Cannot answer the request: the client has left"));
        });
      });
    },
  });
  return { ...model, aborted: () => aborted };
})();

testDoor(
  "one bad instance fails the request, is named, and ends the others",
  refusing,
  async ({ request }) => {
    const before = refusing.aborted();
    const ask = (bad: number) =>
      request(
        PREDICT,
        post({
          instances: [
            { text: "a", other: 1 },
            { text: bad, other: 1 },
          ],
        }),
      );
    assert.deepEqual(await json(await ask(5), 400), {
      error: 'Cannot compare: "instances[1].text" is a number',
    });
    assert.deepEqual(await json(await ask(6), 400), {
      error: "Cannot compare: so there (instances[1])",
    });
    assert.equal(refusing.aborted() - before, 2);
  },
);

const list = defaultModel("text-classification", {
  answer() {
    throw new RuntimeError(
      "INVALID_INPUT",
      'Cannot classify: "inputs[1]" is a number, wanted text',
    );
  },
});

testDoor("a list's refusal names the list as the client did", list, async ({ request }) => {
  for (const key of ["instances", "inputs"]) {
    assert.deepEqual(await json(await request(PREDICT, post({ [key]: ["a", 5] })), 400), {
      error: `Cannot classify: "${key}[1]" is a number, wanted text`,
    });
  }
});

testDoor(
  "nothing is asked where there are no instances",
  defaultModel("fill-mask"),
  async (door) => {
    assert.deepEqual(await predictions(door, []), []);
    assert.deepEqual(await json(await door.request(EXPLAIN, post({ inputs: [] }))), {
      explanations: [],
    });
  },
);

const explained = defaultModel("text-classification");

testDoor("explanations know each instance's target", explained, async ({ request }) => {
  explained.requests.length = 0;
  const instances = [
    { data: "a", target: 0 },
    { data: "b", target: 1 },
  ];
  assert.deepEqual(await json(await request(EXPLAIN, post({ instances }))), {
    explanations: ['"a"', '"b"'],
  });
  assert.deepEqual(
    explained.requests.map(({ kind, data }) => [kind, data]),
    [
      ["explain", { inputs: "a", parameters: { target: 0 } }],
      ["explain", { inputs: "b", parameters: { target: 1 } }],
    ],
  );
});

testDoor(
  "who cannot explain says so with a 501",
  {
    answer() {
      throw new RuntimeError("NOT_SUPPORTED", "Cannot explain: the handler has no explain()");
    },
  },
  async ({ request }) => {
    assert.deepEqual(await json(await request(EXPLAIN, post({ instances: ["a"] })), 501), {
      error: "Cannot explain: the handler has no explain()",
    });
  },
);

/** What a custom handler answers to a list. */
function customDoor(name: string, value: JsonValue, check: (door: Door) => Promise<void>): void {
  testDoor(name, { answer: () => ({ kind: "json", value }) }, check);
}

testDoor(
  "a custom handler gets the whole body, with the list as inputs",
  { answer: ({ data }) => ({ kind: "json", value: [JSON.stringify(data)] }) },
  async (door) => {
    const instances = [{ data: "x", b64: "y" }];
    const more = { parameters: { a: 1 }, signature_name: "s" };
    const [told] = (await predictions(door, instances, more)) as string[];
    assert.deepEqual(JSON.parse(told ?? ""), { ...more, instances, inputs: instances });
  },
);

customDoor("a custom handler's list is the predictions", [{ a: 1 }, 2], async (door) => {
  assert.deepEqual(await predictions(door, ["x", "y"]), [{ a: 1 }, 2]);
});

customDoor(
  "a custom handler may write the answer itself",
  { predictions: [1], more: true },
  async (door) => {
    const response = await door.request(PREDICT, post({ instances: ["x", "y"] }));
    assert.deepEqual(await json(response), { predictions: [1], more: true });
  },
);

customDoor(
  "one instance's answer is its prediction, whatever it is",
  { label: "a" },
  async (door) => {
    assert.deepEqual(await predictions(door, ["x"]), [{ label: "a" }]);
    const response = await door.request(PREDICT, post({ instances: ["x", "y"] }));
    assert.deepEqual(await json(response, 500), {
      error:
        'Cannot answer: the handler answered an object to 2 instances, wanted a list of as many, or {"predictions": [...]}',
    });
  },
);

testDoor(
  "a file is base64, a stream the list of its chunks",
  {
    answer: ({ data }) =>
      Array.isArray(data["inputs"]) && data["inputs"][0] === "file"
        ? { kind: "media", media: { bytes: Buffer.from("hi"), contentType: "text/x" } }
        : { kind: "stream", chunks: chunks() },
  },
  async (door) => {
    assert.deepEqual(await predictions(door, ["file"]), [{ b64: "aGk=", content_type: "text/x" }]);
    assert.deepEqual(await predictions(door, ["x", "y"]), [{ n: 1 }, { n: 2 }]);
  },
);

async function* chunks(): AsyncGenerator<JsonValue> {
  yield { n: 1 };
  yield { n: 2 };
}

testDoor("what is no list of instances is a 400", {}, async ({ request }) => {
  for (const [body, sentence] of [
    ["[]", 'found a list, wanted {"instances": [...]}'],
    ["5", 'found a number, wanted {"instances": [...]}'],
    ["{}", '"instances" is missing, wanted a list'],
    ['{"instances": {"a": 1}}', '"instances" is an object, wanted a list'],
    ['{"inputs": "a"}', '"inputs" is a string, wanted a list'],
    ["{", "it is not valid JSON; it ends too early"],
    ["", 'it is empty, wanted JSON such as {"inputs": "…"}'],
  ] as const) {
    const response = await request(PREDICT, { method: "POST", body });
    const { error } = (await json(response, 400)) as { error: string };
    assert.ok(error.startsWith(`Cannot read the body: ${sentence.slice(0, 20)}`), error);
  }
  const large = await request(PREDICT, post({ instances: ["a".repeat(20_000)] }));
  assert.equal(large.status, 413);
});

testDoor("the content type need not say JSON", {}, async ({ request }) => {
  for (const type of ["application/x-www-form-urlencoded", "text/plain", "image/png"]) {
    const init = { method: "POST", headers: { "content-type": type }, body: '{"instances":[1]}' };
    await json(await request(PREDICT, init));
  }
});

testDoor("a model's name may be encoded, and have a version", {}, async ({ request }) => {
  for (const path of [
    "/v1/models/owner%2Fname:predict",
    "/v1/models/owner/name%3Apredict",
    "/v1/models/owner/name:predict/",
    "/v1/models/owner/name/versions/1.0:predict",
  ])
    await json(await request(path, post({ instances: [1] })));
  assert.deepEqual(
    await json(
      await request("/v1/models/owner/name/versions/2:predict", post({ instances: [1] })),
      404,
    ),
    { error: "Version 2 of the model with name owner/name does not exist." },
  );
});

testDoor("readiness is told to both protocols' readers", {}, async ({ request }) => {
  for (const path of ["/v1/models/owner/name", "/v1/models/owner%2Fname"]) {
    const { created, ...card } = (await json(await request(path))) as { created: number };
    assert.deepEqual(card, {
      name: "owner/name",
      ready: true,
      id: "owner/name",
      object: "model",
      owned_by: "owner",
    });
    assert.ok(Number.isInteger(created) && created > 1_500_000_000);
  }
  assert.deepEqual(await json(await request("/v1/models/x"), 404), {
    error: "Model with name x does not exist.",
  });
  assert.deepEqual(
    await json(await request("/v1/models/x:predict", post({ instances: [] })), 404),
    {
      error: "Model with name x does not exist.",
    },
  );
});

const loading = createModels();
loading.register("m").progress("Downloading owner/name");

testDoor("a model that loads is a 503", { models: loading }, async ({ request }) => {
  const response = await request("/v1/models/m");
  assert.equal(response.headers.get("retry-after"), "1");
  const { ready, error } = (await json(response, 503)) as { ready: boolean; error: string };
  assert.equal(ready, false);
  assert.equal(error, "Model with name m is not ready: Downloading owner/name");
  const refused = await request("/v1/models/m:predict", post({ instances: ["a"] }));
  assert.equal(refused.headers.get("retry-after"), "1");
  assert.match(JSON.stringify(await json(refused, 503)), /^\{"error":"Cannot answer yet: .*"\}$/);
});

testDoor("methods and paths that are not there are named", {}, async ({ request }) => {
  for (const [method, path, allow] of [
    ["DELETE", "/v1/models/owner/name", "GET, HEAD"],
    ["GET", PREDICT, "POST"],
    ["PUT", EXPLAIN, "POST"],
  ] as const) {
    const response = await request(path, { method });
    assert.equal(response.headers.get("allow"), allow);
    assert.match(JSON.stringify(await json(response, 405)), /^\{"error":"Cannot answer: /);
  }
  const head = await request("/v1/models/owner/name", { method: "HEAD" });
  assert.equal(head.status, 200);
  assert.equal(await head.text(), "");
  const { error } = (await json(
    await request("/v1/models/owner/name:classify", post({})),
    404,
  )) as {
    error: string;
  };
  assert.match(error, /try POST \/v1\/models\/owner\/name:predict or :explain$/);
});

const several = torchServeModels({ name: "a" }, { name: "a/b" }, { name: "a", version: "2.0" });

testDoor(
  "every model is listed once, and asked by its own name",
  { models: several },
  async ({ request }) => {
    const { models } = (await json(await request("/v1/models"))) as { models: string[] };
    assert.deepEqual(models, ["a", "a/b"]);
    for (const name of models)
      await json(await request(`/v1/models/${name}:predict`, post({ instances: [1] })));
  },
);

testDoor(
  "a full queue is a 429 with a word on when to come again",
  {
    answer() {
      throw new RuntimeError("QUEUE_FULL", "Cannot accept the request: full", {
        retryAfterMs: 2500,
      });
    },
  },
  async ({ request }) => {
    const response = await request(PREDICT, post({ instances: ["a"] }));
    assert.equal(response.headers.get("retry-after"), "3");
    assert.deepEqual(await json(response, 429), { error: "Cannot accept the request: full" });
  },
);

/** What nobody would send, and JSON allows. */
const ODD: readonly unknown[] = [
  null,
  true,
  -0.5,
  [],
  [[]],
  [null, { text: 1 }],
  {},
  { data: null },
  { data: { data: { data: [] } } },
  { b64: "" },
  { b64: 5 },
  { b64: "AA==", more: 1 },
  { inputs: null },
  { inputs: { b64: "AA==" }, parameters: [] },
  { text: { text: "a" }, target: {} },
  { parameters: 5, text: "a" },
  '{"text": ',
  "{",
  "[1, 2",
  "\ud800",
  JSON.parse('{"__proto__": {"toString": 1}, "text": {"b64": "__proto__"}}'),
];

for (const task of [
  "text-classification",
  "question-answering",
  "image-classification",
  "constructor",
]) {
  for (const splits of [true, false]) {
    const model = defaultModel(task, { splits });
    testDoor(
      `no instance is a mistake of the server's (${task}, ${splits})`,
      model,
      async ({ request }) => {
        for (const path of [PREDICT, EXPLAIN])
          for (const instances of [...ODD.map((each) => [each]), ODD])
            for (const parameters of [undefined, null, 5, { top_k: 1 }]) {
              const response = await request(path, post({ instances, parameters }));
              const answer = (await response.json()) as Record<string, unknown>;
              const found = `${response.status} ${JSON.stringify(answer)} for ${JSON.stringify(instances)}`;
              assert.ok([200, 400].includes(response.status), found);
              const list = answer["predictions"] ?? answer["explanations"];
              if (response.status === 200)
                assert.equal((list as unknown[]).length, instances.length);
              else assert.match(String(answer["error"]), /instances\[\d+\]/);
            }
        assert.equal(
          ({} as Record<string, unknown>)["text"],
          undefined,
          "no prototype was touched",
        );
      },
    );
  }
}
