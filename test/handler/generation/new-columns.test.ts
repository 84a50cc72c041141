/**
 * Graphs that are made to tell their new columns, and which are left as they are.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { AutoModelForCausalLM } from "@huggingface/transformers";

import { readOnnxModel, toSession, type OnnxModel } from "../../../runtime/explain/onnx-model.ts";
import type { Node } from "../../../runtime/explain/onnx-schema.ts";
import { fillsInPlace } from "../../../runtime/handler/generation/alignment.ts";
import { openCausalGraph } from "../../../runtime/handler/generation/causal-graph.ts";
import { loadDecoder } from "../../../runtime/handler/model/decoder-files.ts";
import { readModelFolder } from "../../../runtime/handler/model/folder.ts";
import { attendsByDistance, findNewColumns } from "../../../runtime/handler/model/new-columns.ts";
import { fixtureModel } from "../../support/generation.ts";
import { modelPath, variantOf } from "../../support/goldens.ts";

const read = (name: string): Promise<OnnxModel> =>
  readOnnxModel(`${modelPath(name)}/onnx/model.onnx`);

for (const name of ["tiny-gpt2", "tiny-llama"]) {
  test(`${name}: the second input of every Concat that lengthens the cache is found`, async () => {
    const { graph } = await read(name);
    const found = findNewColumns(graph);
    assert.equal(found?.size, 8);
    for (const [present, { name: fresh }] of found ?? []) {
      const node = graph.node.find(({ output }) => output.includes(present));
      assert.equal(node?.input[1], fresh);
    }
  });

  test(`${name} is loaded so that its cache is filled in place, and shows the outputs it was exported with`, async () => {
    const model = await fixtureModel(name);
    const shown: (readonly string[])[] = [];
    const network = await loadDecoder(
      { ...model, onSession: ({ outputNames }) => void shown.push(outputNames) },
      AutoModelForCausalLM,
      { enableMemPattern: false },
    );
    try {
      const { columns } = network;
      assert.ok(columns);
      const graph = openCausalGraph(columns.session, undefined, columns.columns);
      assert.ok(graph);
      assert.equal(await fillsInPlace(graph), true);
      const { graph: file } = await read(name);
      const exported = file.output.map((output) => output.name);
      assert.deepEqual(shown, [exported]);
      assert.deepEqual(network.sessions["model"].outputNames, exported);
    } finally {
      await network.dispose();
    }
  });
}

test("weights in a file of their own are found by the edited graph", async () => {
  const weights = await readFile(join(modelPath("tiny-gpt2"), "onnx/model.onnx"));
  await using repository = await variantOf(modelPath("tiny-gpt2"), {
    "onnx/model.onnx": null,
    "onnx/weights.bin": weights,
  });
  const { bytes } = toSession(await readOnnxModel(join(repository.path, "onnx/weights.bin")));
  assert.ok(bytes.length < weights.length / 4, "it refers to the weights");
  await writeFile(join(repository.path, "onnx/model.onnx"), bytes);
  const model = await fixtureModel("tiny-gpt2");
  const folder = await readModelFolder(repository.path);
  const network = await loadDecoder({ ...model, folder }, AutoModelForCausalLM, {});
  try {
    assert.equal(network.columns?.columns.size, 8);
  } finally {
    await network.dispose();
  }
});

test("a graph any part of whose cache is made in another way is left as it is", async () => {
  const { graph } = await read("tiny-gpt2");
  const changed = (change: (node: Node) => Node): unknown =>
    findNewColumns({
      ...graph,
      node: graph.node.map((node) => (node.output.includes("present.2.key") ? change(node) : node)),
    });
  assert.ok(changed((node) => node));
  assert.equal(
    changed((node) => ({ ...node, opType: "GroupQueryAttention", domain: "com.microsoft" })),
    undefined,
  );
  assert.equal(
    changed((node) => ({ ...node, input: node.input.toReversed() })),
    undefined,
  );
  assert.equal(
    changed((node) => ({ ...node, attribute: [{ name: "axis", i: 1 }] })),
    undefined,
  );
  assert.equal(
    changed((node) => ({ ...node, input: ["past_key_values.1.key", node.input[1] ?? ""] })),
    undefined,
  );
  const [weight] = graph.initializer;
  assert.equal(
    changed((node) => ({ ...node, input: [node.input[0] ?? "", weight?.name ?? ""] })),
    undefined,
  );
  assert.equal(findNewColumns({ ...graph, input: [] }), undefined);
});

test("models that attend by how far apart columns are, are told by their configuration", () => {
  for (const config of [
    { sliding_window: 4096 },
    { use_sliding_window: true, sliding_window: 4096 },
    { attention_types: [[["global", "local"], 6]], window_size: 256 },
    { layer_types: ["full_attention", "sliding_attention"] },
    { attn_config: { alibi: true } },
    { text_config: { attention_chunk_size: 8192 } },
  ])
    assert.equal(attendsByDistance(config), true, JSON.stringify(config));
  for (const config of [
    {},
    { sliding_window: null, chunk_size_feed_forward: 0 },
    { use_sliding_window: false, sliding_window: 32768, max_window_layers: 28 },
    { layer_types: ["full_attention", "full_attention"] },
    { attn_config: { alibi: false } },
  ])
    assert.equal(attendsByDistance(config), false, JSON.stringify(config));
});
