import assert from "node:assert/strict";
import { test } from "node:test";

import { answerMixedBatch, EXPLAINED_TASKS } from "../../../runtime/handler/explain/mixed-batch.ts";
import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { callBatchSafely } from "../../../runtime/handler/custom/batch.ts";
import type { BatchMember, MemberOutcome } from "../../../runtime/handler/contract.ts";
import type { Item, OpenTask } from "../../../runtime/handler/tasks/task.ts";
import type { ForwardPass, InferenceKind, JsonValue } from "../../../runtime/inference.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { modelPath } from "../../support/goldens.ts";

interface WordItem extends Item {
  readonly word: string;
}

/** Says a word, or why: each pass is written down as `"name: words"`, each request's parameters in its answer. */
function speaker(name: string, cost: number, passes: string[]): OpenTask<WordItem, string, string> {
  return {
    notes: [],
    preprocess({ data }, { warn }) {
      const words = [data["inputs"]].flat() as string[];
      if (words.includes(`bad for ${name}`)) throw new Error(`${name} refused`);
      warn("said by both");
      warn(`said by ${name}`);
      const items = words.map((word) => ({ word, tokens: cost * word.length }));
      return { items, state: JSON.stringify(data["parameters"] ?? null) };
    },
    async inference(items) {
      passes.push(`${name}: ${items.map(({ word }) => word).join(" ")}`);
      return items.map(({ word }) => `${word} ${name}`);
    },
    postprocess: (state, results) => results.map((result) => `${result} ${state}`),
    dispose: async () => undefined,
  };
}

function openSpeaker(passes: string[]): OpenTask {
  return {
    ...(speaker("predicted", 1, passes) as OpenTask),
    explaining: {
      ...(speaker("explained", 100, passes) as OpenTask),
      parameters: new Set(["target", "truncation"]),
      ownParameters: new Set(["target"]),
    },
  };
}

function memberOf(
  inputs: unknown,
  parameters?: unknown,
  kind: InferenceKind = "predict",
  signal = new AbortController().signal,
): BatchMember {
  const data = { inputs, ...(parameters !== undefined && { parameters }) };
  return {
    request: { id: "r", kind, data, headers: {} },
    context: { signal, requestId: "r", headers: {}, log: silentLog() },
  };
}

async function answer(task: OpenTask, members: readonly BatchMember[]) {
  const outcomes: MemberOutcome[] = [];
  const order: number[] = [];
  const runs: ForwardPass[] = [];
  await answerMixedBatch(task, members, {
    maxPaddedTokens: 64,
    onPass: (pass) => runs.push(pass),
    onOutcome(index, outcome) {
      assert.equal(outcomes[index], undefined, "one outcome for each member");
      outcomes[index] = outcome;
      order.push(index);
    },
  });
  const values = outcomes.map((outcome) =>
    "value" in outcome ? (outcome.value as JsonValue) : String(outcome.error),
  );
  return { outcomes, values, order, runs };
}

test("predictions and explanations of one batch are answered apart, predictions first, and never mixed up", async () => {
  const passes: string[] = [];
  const { values, order, runs, outcomes } = await answer(openSpeaker(passes), [
    memberOf("aa", undefined, "explain"),
    memberOf("bb"),
    memberOf("cc", { explain: true }),
    memberOf("dd", { explain: false }),
    memberOf("ee", { target: 1 }, "explain"),
  ]);
  assert.deepEqual(passes, ["predicted: bb cc dd", "explained: aa cc ee"]);
  assert.deepEqual(values, [
    ["aa explained null"],
    ["bb predicted null"],
    { prediction: ["cc predicted {}"], explanation: ["cc explained {}"] },
    ["dd predicted {}"],
    ['ee explained {"target":1}'],
  ]);
  assert.deepEqual(order, [1, 3, 0, 2, 4]);
  // The engine learns what predictions cost, and how long texts are: from predictions alone.
  assert.deepEqual(
    runs.map(({ items, tokens }) => [items, tokens]),
    [[3, 6]],
  );
  const tokens = outcomes.map((outcome) => ("value" in outcome ? outcome.tokens : null));
  assert.deepEqual(tokens, [undefined, 2, 2, 2, undefined]);
});

test("each half of a request is told what concerns it; what both say is said once", async () => {
  const parameters = { explain: true, target: 1, truncation: true, top_k: 2 };
  const { values, outcomes } = await answer(openSpeaker([]), [memberOf("aa", parameters)]);
  assert.deepEqual(values, [
    {
      prediction: ['aa predicted {"truncation":true,"top_k":2}'],
      explanation: ['aa explained {"target":1,"truncation":true}'],
    },
  ]);
  const [outcome] = outcomes;
  assert.ok(outcome !== undefined && "value" in outcome);
  assert.deepEqual(outcome.warnings, ["said by both", "said by predicted", "said by explained"]);
});

test("what only explanations know is no parameter of a prediction", async () => {
  const { values } = await answer(openSpeaker([]), [memberOf("aa", { target: 1 })]);
  assert.deepEqual(values, [['aa predicted {"target":1}']], "left for the task to refuse");
});

test("a list of inputs is answered with a list of pairs", async () => {
  const { values } = await answer(openSpeaker([]), [memberOf(["aa", "b"], { explain: true })]);
  assert.deepEqual(values, [
    [
      { prediction: "aa predicted {}", explanation: "aa explained {}" },
      { prediction: "b predicted {}", explanation: "b explained {}" },
    ],
  ]);
});

test("whose prediction fails is told so at once, and is not explained", async () => {
  const passes: string[] = [];
  const { values } = await answer(openSpeaker(passes), [
    memberOf("bad for predicted", { explain: true }),
    memberOf("bad for explained", { explain: true }),
    memberOf("cc", { explain: true }),
  ]);
  assert.equal(values[0], "Error: predicted refused");
  assert.equal(values[1], "Error: explained refused");
  assert.deepEqual(passes, ["predicted: cc", "predicted: bad for explained", "explained: cc"]);
});

test("explanations that cost much go one by one", async () => {
  const passes: string[] = [];
  const long = "x".repeat(50);
  await answer(openSpeaker(passes), [
    memberOf(long, undefined, "explain"),
    memberOf(long, undefined, "explain"),
  ]);
  assert.equal(passes.length, 2);
});

test("an explain that is neither true nor false is refused, and absent where it is null", async () => {
  const { values } = await answer(openSpeaker([]), [
    memberOf("aa", { explain: 3 }),
    memberOf("aa", { explain: "yes" }),
    memberOf("aa", { explain: null }),
  ]);
  assert.match(JSON.stringify(values[0]), /\\"explain\\" is 3, wanted true or false/);
  assert.match(JSON.stringify(values[1]), /\\"explain\\" is of type string, wanted true or false/);
  assert.deepEqual(values[2], ["aa predicted {}"]);
});

test("an explanation whose client has left is not computed", async () => {
  const passes: string[] = [];
  const gone = AbortSignal.abort();
  const { outcomes } = await answer(openSpeaker(passes), [
    memberOf("aa", undefined, "explain", gone),
  ]);
  assert.deepEqual(passes, []);
  assert.ok(outcomes[0] !== undefined && "error" in outcomes[0]);
});

test("a custom handler's predictions go together, its explanations one by one", async () => {
  const calls: unknown[] = [];
  const outcomes: MemberOutcome[] = [];
  const members = [
    memberOf("a", undefined, "explain"),
    memberOf("b"),
    memberOf("c"),
    memberOf("d", undefined, "explain"),
  ];
  const hooks = {
    maxPaddedTokens: 64,
    onPass: () => undefined,
    onOutcome: (index: number, outcome: MemberOutcome) => void (outcomes[index] = outcome),
  };
  const handler = {
    call: () => assert.fail("batches are offered"),
    callBatch(items: { inputs: unknown }[]) {
      calls.push(items.map(({ inputs }) => inputs));
      return items.map(({ inputs }) => `predicted ${String(inputs)}`);
    },
  };
  const explain = ({ inputs }: { inputs: unknown }) => `explained ${String(inputs)}`;
  await callBatchSafely({ ...handler, explain }, members, hooks, silentLog());
  assert.deepEqual(calls, [["b", "c"]]);
  assert.deepEqual(
    outcomes.map((outcome) => ("value" in outcome ? outcome.value : outcome.error)),
    ["explained a", "predicted b", "predicted c", "explained d"],
  );
  outcomes.length = 0;
  await callBatchSafely(handler, members, hooks, silentLog());
  const [first] = outcomes;
  assert.ok(first !== undefined && "error" in first);
  assert.match(String(first.error), /has no method explain/);
});

/** A small model of each task that explains. */
const MODELS: Readonly<Record<(typeof EXPLAINED_TASKS)[number], string>> = {
  "text-classification": "seqcls-bert-2way",
  "token-classification": "ner-bert",
  "question-answering": "qa-bert",
  "text-generation": "tiny-gpt2",
};

for (const task of EXPLAINED_TASKS) {
  test(`${task} explains, as the sentence of those that do not says`, async () => {
    const handler = await loadDefaultHandler({ repository: modelPath(MODELS[task]) }, silentLog());
    assert.equal(handler.description.task, task);
    const { example } = handler.description;
    assert.ok(typeof example === "object" && example !== null && "inputs" in example);
    const request = {
      id: "1",
      kind: "explain",
      data: { inputs: example["inputs"] },
      headers: {},
    } as const;
    const [member] = [memberOf("")];
    const found = await handler.call(request, { ...member.context });
    assert.ok(typeof found === "object" && found !== null && "words" in found);
    await handler.dispose();
  });
}
