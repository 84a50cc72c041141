/**
 * A repository as TorchServe's users bring it, served and called by the program itself.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Labels, modelPath, variantOf } from "../support/goldens.ts";
import { runHubserve, startHubserve } from "../support/hubserve.ts";

const REJECTED = "The bank rejected my application.";

/** TorchServe's example of a `model-config.yaml`, for texts of six tokens. */
const MODEL_CONFIG = `minWorkers: 1
maxWorkers: 1
handler:
  model_name: bert-base-uncased
  mode: sequence_classification
  do_lower_case: true
  num_labels: 2
  save_mode: pretrained
  max_length: 6
  captum_explanation: true
  embedding_name: bert
  BetterTransformer: false
  model_parallel: false
pt2:
  compile:
    enable: True
    backend: inductor
    mode: reduce-overhead
`;

const FILES = {
  "model-config.yaml": MODEL_CONFIG,
  "index_to_name.json": { "0": "Refused", "1": "Granted" },
  "setup_config.json": { mode: "question_answering", max_length: "384" },
};

test("serve follows model-config.yaml and index_to_name.json, and says so", async () => {
  await using repository = await variantOf(modelPath("seqcls-bert-2way"), FILES);
  await using server = await startHubserve({ args: [repository.path, "--dtype", "fp32"] });
  await server.line(/Ready after/);
  const response = await server.post(REJECTED);
  assert.equal(response.status, 200);
  const [best] = Labels.parse(await response.json());
  assert.equal(best?.label, "Refused");
  await server.line(
    /Serving text-classification, as the mode "sequence_classification" of model-config\.yaml says/,
  );
  await server.line(/the handler section of model-config\.yaml is used/);
  await server.line(/Using the 2 labels of index_to_name\.json/);
  await server.line(/pt2 in model-config\.yaml changes nothing here/);
  assert.ok(!server.lines.some((line) => /WARN|Ignoring/.test(line)), server.lines.join("\n"));
});

test("`hubserve call` reads the same files, and answers the same", async () => {
  await using repository = await variantOf(modelPath("seqcls-bert-2way"), FILES);
  const call = async (payload: object, path = repository.path) => {
    const args = ["call", path, JSON.stringify(payload), "--dtype", "fp32"];
    const { code, stdout, stderr } = await runHubserve({ args });
    assert.equal(code, 0, stderr);
    return { labels: Labels.parse(JSON.parse(stdout)), stderr };
  };
  const { labels, stderr } = await call({ inputs: REJECTED });
  assert.equal(labels[0]?.label, "Refused");
  assert.match(stderr, /"inputs" was cut from 8 to 6 tokens/);
  assert.match(stderr, /Using the handler section of model-config\.yaml: /);
});

test("a value that does not fit stops serve and call with one sentence", async () => {
  const files = { "model-config.yaml": "handler:\n  mode: summarization\n" };
  await using repository = await variantOf(modelPath("seqcls-bert-2way"), files);
  const sentence =
    /Cannot read model-config\.yaml: handler\.mode: found "summarization", wanted one of sequence_classification, /;
  const called = await runHubserve({ args: ["call", repository.path, '{"inputs":"a"}'] });
  assert.equal(called.code, 1);
  assert.match(called.stderr, sentence);
  await using server = await startHubserve({ args: [repository.path] });
  await server.line(sentence);
  assert.notEqual(await server.exited, 0);
});
