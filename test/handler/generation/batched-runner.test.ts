import assert from "node:assert/strict";
import { test } from "node:test";

import { fillsInPlace, findAlignment } from "../../../runtime/handler/generation/alignment.ts";
import { createBatchedRunner } from "../../../runtime/handler/generation/batched-runner.ts";
import type { CacheRow } from "../../../runtime/handler/generation/cache-block.ts";
import {
  openCausalGraph,
  type CausalGraph,
  type GraphSession,
} from "../../../runtime/handler/generation/causal-graph.ts";
import { planCohorts } from "../../../runtime/handler/generation/cohorts.ts";
import { indexOfLargest } from "../../../runtime/handler/model/generation-choice.ts";
import { expectedOf, fakeGraph, type FakeRun } from "../../support/fake-graph.ts";

const COLUMNS = new Map([["present.0.key", "fresh.0.key"]]);

function open(session: GraphSession): CausalGraph {
  const graph = openCausalGraph(session, undefined, COLUMNS);
  assert.ok(graph);
  return graph;
}

const PROMPTS = [[1], [2, 3, 4], [5, 6], [7, 8, 9, 1, 2], [3, 3]];

/** Reads the prompts and writes `count` tokens after each; a new one joins and an old one leaves after every second step. */
async function writeAll(graph: CausalGraph, count: number, inPlace = false): Promise<number[][]> {
  const runner = createBatchedRunner({ graph, weightsBytes: 1e6, padId: 0, inPlace });
  const written: number[][] = PROMPTS.map(() => []);
  const rows = new Map<number, { row: CacheRow; last: number }>();
  let next = 0;
  while (next < PROMPTS.length || rows.size > 0) {
    const prompt = PROMPTS[next];
    if (prompt) {
      const row = runner.open();
      await runner.read(row, prompt.slice(0, -1), "none");
      rows.set(next++, { row, last: prompt.at(-1) ?? 0 });
    }
    for (let step = 0; step < 2; step++) {
      const live = [...rows];
      const scores = await runner.step(
        live.map(([, { row }]) => row),
        live.map(([, { last }]) => last),
      );
      for (const [place, [index, one]] of live.entries()) {
        one.last = indexOfLargest(scores[place] ?? []);
        written[index]?.push(one.last);
        if (written[index]?.length !== count) continue;
        runner.release(one.row);
        rows.delete(index);
      }
    }
  }
  return written;
}

for (const kind of ["masks", "looks at the beginning"] as const) {
  test(`rows of unequal length are written as each alone, by a graph that ${kind}`, async () => {
    const graph = open(fakeGraph({ kind }));
    assert.deepEqual(
      await writeAll(graph, 8),
      PROMPTS.map((prompt) => expectedOf(prompt, 8)),
    );
    assert.equal(await findAlignment(graph), kind === "masks" ? "left" : "right");
  });
}

for (const type of ["float32", "float16"] as const) {
  test(`caches of ${type} are filled in place, past where a block is widened`, async () => {
    const graph = open(fakeGraph({ givesColumns: true, type }));
    assert.equal(await fillsInPlace(graph), true);
    assert.deepEqual(
      await writeAll(graph, 80, true),
      PROMPTS.map((prompt) => expectedOf(prompt, 80)),
    );
  });
}

for (const inPlace of [false, true]) {
  test(`a fork gets a place of its own when another leaves its own free, ${inPlace ? "in place" : "with two buffers"}`, async () => {
    const graph = open(fakeGraph({ givesColumns: inPlace }));
    const runner = createBatchedRunner({ graph, weightsBytes: 1e6, padId: 0, inPlace });
    const [first, second] = [runner.open(), runner.open()];
    await runner.read(first, [1, 2], "none");
    await runner.read(second, [3, 4], "none");
    await runner.step([first, second], [5, 6]);
    const fork = runner.fork?.(first);
    assert.ok(fork);
    runner.release(second);
    const scores = await runner.step([first, fork], [7, 8]);
    assert.deepEqual(
      scores.map((own) => [indexOfLargest(own)]),
      [expectedOf([1, 2, 5, 7], 1), expectedOf([1, 2, 5, 8], 1)],
    );
  });
}

test("only graphs that may be shown masked columns are filled in place", async () => {
  for (const kind of ["counts columns", "looks at the beginning"] as const)
    assert.equal(await fillsInPlace(open(fakeGraph({ givesColumns: true, kind }))), false);
  assert.equal(await fillsInPlace(open(fakeGraph())), false, "it does not give columns");
});

test("in place a run reads one array, and those who stay are not copied when others come and go", async () => {
  const seen: { data: ArrayBufferLike; rows: number; columns: number }[] = [];
  const graph = open(
    fakeGraph({
      givesColumns: true,
      onRun({ feeds, rows, columns }) {
        const data = feeds["past_key_values.0.key"]?.data;
        if (data instanceof Float32Array) seen.push({ data: data.buffer, rows, columns });
      },
    }),
  );
  const runner = createBatchedRunner({ graph, weightsBytes: 1e6, padId: 0, inPlace: true });
  const prompts = [[1, 2], [3], [4, 5, 6], [7, 1, 2]];
  const rows: CacheRow[] = [];
  for (const prompt of prompts) {
    const row = runner.open();
    await runner.read(row, prompt, "none");
    rows.push(row);
  }
  const ids = prompts.map((prompt) => [...prompt]);
  let next = [1, 2, 3, 4];
  async function step(of: readonly number[]): Promise<void> {
    const scores = await runner.step(
      of.map((index) => rows[index]!),
      of.map((index) => next[index]!),
    );
    for (const [place, index] of of.entries()) {
      ids[index]?.push(next[index]!);
      const written = indexOfLargest(scores[place] ?? []);
      assert.deepEqual([written], expectedOf(ids[index]!, 1));
      next = next.with(index, written);
    }
  }
  await step([0, 1, 2]);
  seen.length = 0;
  for (let count = 0; count < 5; count++) await step([0, 1, 2]);
  await step([0, 1, 2, 3]); // one joins
  runner.release(rows[0]!);
  await step([1, 2, 3]); // the first leaves, and the last one takes its place
  const fork = runner.fork?.(rows[1]!);
  assert.ok(fork);
  rows[0] = fork;
  ids[0] = [...ids[1]!];
  next = next.with(0, 7);
  await step([3, 0, 1, 2]); // the fork of one joins
  await step([0, 1, 3]); // one sits out
  await step([2, 3, 0, 1]);
  assert.deepEqual(
    seen.map((run) => run.rows),
    [3, 3, 3, 3, 3, 4, 3, 4, 3, 4],
  );
  assert.equal(new Set(seen.map(({ data }) => data)).size, 1, "one array all the time");
  assert.deepEqual([...new Set(seen.map(({ columns }) => columns))], [32]);
});

test("a graph whose positions are columns is given rows of equal length only", async () => {
  const runs: FakeRun[] = [];
  const graph = open(fakeGraph({ kind: "counts columns", onRun: (run) => runs.push(run) }));
  assert.equal(await findAlignment(graph), undefined);
  const runner = createBatchedRunner({ graph, weightsBytes: 1e6, padId: 0 });
  const rows = [runner.open(), runner.open(), runner.open()];
  for (const [index, row] of rows.entries())
    await runner.read(row, index === 1 ? [1, 2] : [1, 2, 3], "none");
  runs.length = 0;
  await runner.step(rows, [4, 4, 4]);
  const steps = runs.slice(-2).map((run) => [run.rows, run.columns]);
  assert.deepEqual(steps, [
    [2, 3],
    [1, 2],
  ]);
});

test("while the same rows go on, a run reads what the one before has written", async () => {
  const buffers = new Set<ArrayBufferLike>();
  const graph = open(
    fakeGraph({
      onRun({ feeds }) {
        const data = feeds["past_key_values.0.key"]?.data;
        if (data instanceof Float32Array) buffers.add(data.buffer);
      },
    }),
  );
  const runner = createBatchedRunner({ graph, weightsBytes: 1e6, padId: 0 });
  const rows = [runner.open(), runner.open()];
  for (const row of rows) await runner.read(row, [1, 2], "none");
  await runner.step(rows, [3, 3]);
  buffers.clear();
  for (let step = 0; step < 40; step++) await runner.step(rows, [3, 3]);
  assert.equal(buffers.size, 2, "two buffers, in turn");
});

test("a graph is fed what it asks for: the branch, one score, float16", async () => {
  const runs: FakeRun[] = [];
  const inputs = ["use_cache_branch", "num_logits_to_keep"];
  const session = fakeGraph({ inputs, type: "float16", onRun: (run) => runs.push(run) });
  const graph = open(session);
  assert.deepEqual([graph.givesLastOnly, graph.readsParts], [true, false]);
  const runner = createBatchedRunner({ graph, weightsBytes: 1e6, padId: 0 });
  const row = runner.open();
  const first = await runner.read(row, [1, 2, 3], "last");
  assert.deepEqual([first?.columns, first?.size], [1, 10]);
  await runner.step([row], [4]);
  const fed = runs.map(({ feeds }) => [
    Number(feeds["use_cache_branch"]?.data[0]),
    Number(feeds["num_logits_to_keep"]?.data[0]),
    feeds["past_key_values.0.key"]?.type,
  ]);
  assert.deepEqual(fed, [
    [0, 1, "float16"],
    [1, 1, "float16"],
  ]);
});

test("graphs of other kinds are left to others", () => {
  const session = fakeGraph();
  const changed = (shape: readonly (string | number)[]): GraphSession => ({
    ...session,
    inputMetadata: session.inputMetadata.map((one) =>
      one.name.startsWith("past") && one.isTensor ? { ...one, shape } : one,
    ),
  });
  assert.equal(openCausalGraph(changed(["batch", "past", 64])), undefined); // heads and keys in one
  assert.equal(openCausalGraph(changed(["batch", 16, 3])), undefined); // a state of fixed size
  const strange = fakeGraph({ inputs: ["encoder_hidden_states"] });
  assert.equal(openCausalGraph(strange), undefined);
  assert.equal(openCausalGraph({ ...session, inputMetadata: [] }), undefined); // no cache
});

test("a row shares a run while its padding costs less than a run of its own", () => {
  const costs = { weightsBytes: 3000, bytesPerToken: 10 }; // 100 columns of padding
  assert.deepEqual(planCohorts([10, 10, 10], "left", costs), [[0, 1, 2]]);
  assert.deepEqual(planCohorts([10, 100, 90, 20], "left", costs), [[1, 2, 3], [0]]);
  assert.deepEqual(planCohorts([10, 500, 490], "right", costs), [[1, 2], [0]]);
  assert.deepEqual(planCohorts([4, 5, 4], undefined, costs), [[1], [0, 2]]);
  assert.deepEqual(planCohorts([], "left", costs), []);
});
