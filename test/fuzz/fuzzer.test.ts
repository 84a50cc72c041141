/**
 * The fuzzer itself: it finds what is there, makes it small, tells it once, and shows the same inputs again.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { RuntimeError } from "../../runtime/errors.ts";
import { fuzz } from "./fuzz.ts";
import { mutateTree, printTree, toTree } from "./json.ts";
import { judge } from "./oracle.ts";
import { mutateMessage } from "./protobuf.ts";
import { readerTarget } from "./readers.ts";
import { Defect, type Target } from "./target.ts";

/** Breaks where an "a" follows a "b", which the seed does not have. */
const fragile: Target = readerTarget({
  name: "fragile",
  seeds: () => ["ab ab ab ab"],
  words: ["ba"],
  read(bytes) {
    const text = Buffer.from(bytes).toString();
    if (text.includes("ba")) throw new TypeError("broken");
    if (text.length < 3) throw new RuntimeError("INVALID_INPUT", "Cannot read: too short");
  },
  refuses: ["INVALID_INPUT"],
});

test("fuzz() finds a defect, makes it small and tells it once", async () => {
  const report = await fuzz(fragile, { seed: 1, cases: 1000 });
  assert.equal(report.defects.length, 1);
  const [defect] = report.defects;
  assert.match(defect?.kind ?? "", /^TypeError at /);
  assert.equal(defect?.recipe.steps.length, 1, "the smallest recipe is one step");
  assert.match(Buffer.from(defect?.input as Uint8Array).toString(), /ba/);
  assert.ok((report.outcomes.get("INVALID_INPUT") ?? 0) > 0);
});

test("fuzz() shows the same inputs for the same seed, and the ones it is given", async () => {
  const seen: string[][] = [[], []];
  for (const list of seen)
    await fuzz(fragile, {
      seed: 5,
      cases: 100,
      onCase: (recipe) => list.push(JSON.stringify(recipe)),
    });
  assert.deepEqual(seen[0], seen[1]);
  const { defects, cases } = await fuzz(fragile, { seed: 9, only: [{ seed: 0, steps: [] }] });
  assert.deepEqual([defects, cases], [[], 1]);
});

test("fuzz() tells what never ends, what is refused with a code that is not meant, and what is not healthy", async () => {
  const hanging: Target = {
    name: "hanging",
    caseMs: 20,
    open: async () => ({
      run: () => new Promise(() => undefined),
      show: () => "",
      async [Symbol.asyncDispose]() {},
    }),
  };
  const { defects } = await fuzz(hanging, { seed: 1, only: [{ seed: 0, steps: [] }] });
  assert.equal(defects[0]?.kind, "hang");
  const wrong = readerTarget({
    name: "wrong",
    seeds: () => [""],
    read() {
      throw new RuntimeError("INTERNAL", "Cannot read: no reason");
    },
    refuses: ["INVALID_INPUT"],
  });
  const told = await fuzz(wrong, { seed: 1, only: [{ seed: 0, steps: [] }] });
  assert.equal(told.defects[0]?.kind, "code INTERNAL");
  const ill: Target = {
    name: "ill",
    open: async () => ({
      run: async () => "fine",
      show: () => "",
      assertHealthy: async () => assert.fail("it is gone"),
      async [Symbol.asyncDispose]() {},
    }),
  };
  const {
    defects: [last],
  } = await fuzz(ill, { seed: 1, cases: 3 });
  assert.deepEqual([last?.kind, last?.message], ["unhealthy", "it is gone"]);
});

test("mutateTree() and mutateMessage() change what they are given, and nothing without need", () => {
  const tree = toTree({ inputs: ["a", 1, null], parameters: { top_k: 2 } });
  const printed = printTree(tree);
  assert.deepEqual(JSON.parse(printed), { inputs: ["a", 1, null], parameters: { top_k: 2 } });
  const message = Uint8Array.of(0x0a, 3, 97, 98, 99, 0x10, 5); // field 1 "abc", field 2 the number 5
  let [trees, messages] = [0, 0];
  for (let kind = 0; kind < 200; kind++) {
    const step = [kind, kind * 31, kind * 7919] as const;
    if (printTree(mutateTree(tree, step, { keys: ["a"], others: [tree] })) !== printed) trees++;
    if (Buffer.compare(mutateMessage(message, step), message) !== 0) messages++;
  }
  assert.equal(printTree(tree), printed, "the tree itself is as it was");
  assert.ok(trees > 150 && messages > 150, `${trees} and ${messages} of 200 changed`);
});

test("judge() refuses what no answer may be", () => {
  const headers = new Headers({ "x-request-id": "a", "content-type": "application/json" });
  const say =
    (status: number, body: string, more: { sent?: string; headers?: Headers } = {}) =>
    () =>
      judge(
        { status, headers: more.headers ?? headers, body: Buffer.from(body) },
        { method: "POST", voice: "huggingface", sent: more.sent ?? "" },
      );
  assert.equal(say(200, "{}")(), "200");
  assert.equal(say(400, '{"error": "Cannot"}')(), "400");
  assert.equal(say(503, '{"error": "Cannot yet"}')(), "503");
  const refused: readonly [RegExp, () => unknown][] = [
    [/^status 500/, say(500, '{"error": "Cannot"}')],
    [/^no x-request-id/, say(200, "{}", { headers: new Headers() })],
    [/^a leak/, say(400, '{"error": "at file:///home/x"}')],
    [/^a body that is not its JSON/, say(200, "{")],
    [/^a refusal that is not huggingface's/, say(400, '{"detail": "Cannot"}')],
  ];
  for (const [kind, run] of refused)
    assert.throws(run, (error) => error instanceof Defect && kind.test(error.kind), String(kind));
  assert.equal(say(400, '{"error": "at file:///home/x"}', { sent: "file:///home/x" })(), "400");
});
