import assert from "node:assert/strict";
import { test } from "node:test";

import { findAlignment } from "../../../runtime/handler/generation/alignment.ts";
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

function open(session: GraphSession): CausalGraph {
  const graph = openCausalGraph(session);
  assert.ok(graph);
  return graph;
}

const PROMPTS = [[1], [2, 3, 4], [5, 6], [7, 8, 9, 1, 2], [3, 3]];

/** Reads the prompts and writes `count` tokens after each; a new one joins and an old one leaves after every second step. */
async function writeAll(graph: CausalGraph, count: number): Promise<number[][]> {
  const runner = createBatchedRunner({ graph, weightsBytes: 1e6, padId: 0 });
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
