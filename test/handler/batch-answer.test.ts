import assert from "node:assert/strict";
import { test } from "node:test";
import { answerBatch } from "../../runtime/handler/batch-answer.ts";
import { callBatchSafely } from "../../runtime/handler/custom/batch.ts";
import type {
  BatchMember,
  EndpointHandler,
  HandlerData,
  MemberOutcome,
} from "../../runtime/handler/contract.ts";
import type { Item, OpenTask } from "../../runtime/handler/tasks/task.ts";
import type { ForwardPass } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";

interface WordItem extends Item {
  readonly word: string;
}

/** Shouts words; "poison" kills the pass it is in, "bad" is refused before. */
function shouter(passes: string[][]): OpenTask<WordItem, string, undefined> {
  return {
    notes: [],
    preprocess({ data }) {
      const words = [data["inputs"]].flat() as string[];
      if (words.includes("bad")) throw new Error("bad word");
      return { items: words.map((word) => ({ word, tokens: word.length })), state: undefined };
    },
    async inference(items) {
      passes.push(items.map(({ word }) => word));
      if (items.some(({ word }) => word === "poison")) throw new Error("poisoned");
      return items.map(({ word }) => word.toUpperCase());
    },
    postprocess: (_state, results) => [...results],
    dispose: async () => undefined,
  };
}

function memberOf(inputs: unknown, signal = new AbortController().signal): BatchMember {
  return {
    request: { id: "r", kind: "predict", data: { inputs }, headers: {} },
    context: { signal, requestId: "r", headers: {}, log: silentLog() },
  };
}

function record(): {
  outcomes: MemberOutcome[];
  runs: ForwardPass[];
  hooks: Parameters<typeof answerBatch>[2];
} {
  const outcomes: MemberOutcome[] = [];
  const runs: ForwardPass[] = [];
  return {
    outcomes,
    runs,
    hooks: {
      maxPaddedTokens: 64,
      onPass: (pass) => runs.push(pass),
      onOutcome(index, outcome) {
        assert.equal(outcomes[index], undefined, "one outcome for each member");
        outcomes[index] = outcome;
      },
    },
  };
}

function outcomeOf(outcome: MemberOutcome | undefined): Extract<MemberOutcome, { value: unknown }> {
  assert.ok(outcome !== undefined && "value" in outcome);
  return outcome;
}

function messageOf(outcome: MemberOutcome | undefined): string | undefined {
  return outcome !== undefined && "error" in outcome && outcome.error instanceof Error
    ? outcome.error.message
    : undefined;
}

test("requests share passes by length, and each gets its own items back in order", async () => {
  const passes: string[][] = [];
  const { outcomes, runs, hooks } = record();
  await answerBatch(
    shouter(passes),
    [memberOf(["aa", "cccccccc"]), memberOf("bb"), memberOf([])],
    hooks,
  );
  assert.deepEqual(passes, [["aa", "bb"], ["cccccccc"]]);
  assert.deepEqual(
    outcomes.map((outcome) => ("value" in outcome ? outcome.value : outcome)),
    [["AA", "CCCCCCCC"], ["BB"], []],
  );
  assert.deepEqual(
    runs.map(({ items, length, tokens }) => [items, length, tokens]),
    [
      [2, 2, 4],
      [1, 8, 8],
    ],
  );
});

test("one request that is refused, and one that breaks the pass, fail alone among 32", async () => {
  const passes: string[][] = [];
  const { outcomes, hooks } = record();
  const words = Array.from({ length: 32 }, (_, i) =>
    i === 7 ? "bad" : i === 20 ? "poison" : `word${String(i).padStart(2, "0")}`,
  );
  await answerBatch(
    shouter(passes),
    words.map((word) => memberOf(word)),
    hooks,
  );
  for (const [index, word] of words.entries()) {
    if (word === "bad") assert.equal(messageOf(outcomes[index]), "bad word");
    else if (word === "poison")
      assert.equal(messageOf(outcomes[index]), "Cannot run the model: poisoned");
    else {
      const { stages, ...outcome } = outcomeOf(outcomes[index]);
      assert.deepEqual(outcome, { value: [word.toUpperCase()], tokens: 6 });
      assert.ok(stages !== undefined && stages.batchSize >= 1);
    }
  }
  assert.ok(passes.length <= 16, `halving finds it in few passes, not ${passes.length}`);
});

test("a member is told what its parts took: a run once, however many of its items were in it", async () => {
  const { outcomes, runs, hooks } = record();
  await answerBatch(shouter([]), [memberOf(["aa", "bb", "cccccccc"]), memberOf("dd")], hooks);
  const [both, one] = outcomes.map((outcome) => outcomeOf(outcome).stages);
  assert.ok(both && one);
  const [short, long] = runs.map(({ ms }) => ms);
  assert.equal(both.modelMs, (short ?? NaN) + (long ?? NaN));
  assert.equal(one.modelMs, short);
  assert.deepEqual([both.batchSize, one.batchSize], [3, 3]);
  for (const { prepareMs, waitMs } of [both, one]) assert.ok(prepareMs >= 0 && waitMs >= 0);
});

test("nobody computes for a member whose client has left", async () => {
  const passes: string[][] = [];
  const { outcomes, hooks } = record();
  await answerBatch(shouter(passes), [memberOf("aa"), memberOf("bb", AbortSignal.abort())], hooks);
  assert.deepEqual(passes, [["aa"]]);
  assert.ok(outcomes[1] !== undefined && "error" in outcomes[1]);
});

async function callBatch(
  callBatch: (items: HandlerData[]) => unknown,
  members: readonly BatchMember[],
) {
  const { outcomes, hooks } = record();
  const handler: EndpointHandler = { call: () => assert.fail("callBatch is there"), callBatch };
  await callBatchSafely(handler, members, hooks, silentLog());
  return outcomes;
}

test("callBatch() answers each item in its place, and an Error fails its item alone", async () => {
  const outcomes = await callBatch(
    (items) =>
      items.map(({ inputs }) => (inputs === 2 ? new Error("no twos") : Number(inputs) * 10)),
    [memberOf(1), memberOf(2), memberOf(3)],
  );
  assert.deepEqual(outcomes[0], { value: 10 });
  assert.equal(messageOf(outcomes[1]), "Handler failed: no twos");
  assert.deepEqual(outcomes[2], { value: 30 });
});

test("when callBatch() throws, halving leaves the failure with the item at fault", async () => {
  let calls = 0;
  const outcomes = await callBatch(
    (items) => {
      calls++;
      if (items.some(({ inputs }) => inputs === 13)) throw new Error("unlucky");
      return items.map(({ inputs }) => inputs);
    },
    Array.from({ length: 32 }, (_, i) => memberOf(i)),
  );
  for (let i = 0; i < 32; i++) {
    if (i === 13) assert.equal(messageOf(outcomes[i]), "Handler failed: unlucky");
    else assert.deepEqual(outcomes[i], { value: i });
  }
  assert.ok(calls <= 11, `${calls} calls`);
});

test("callBatch() that returns something else is told what is wanted", async () => {
  const [outcome] = await callBatch(() => "one", [memberOf(1)]);
  assert.equal(
    messageOf(outcome),
    "Handler failed: callBatch returned a string, wanted an array of 1, one result for each item",
  );
});
