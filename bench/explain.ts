/**
 * What an explanation costs: one text of 32 tokens, 50 points, a model of DistilBERT's shape.
 *
 *     npx tsx bench/explain.ts [tokens] [points]
 *
 * Beside it a forward pass over as many rows, and where Python with PyTorch and transformers is present, what PyTorch's autograd
 * takes for the same (`explain.py`). One thread each; processor time, as other programs may run.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import { InferenceSession, Tensor } from "onnxruntime-node";

import { openExplainer, type Question } from "../runtime/explain/explainer.ts";
import { makeModel } from "./make-model.ts";
import { drawTable } from "./table.ts";

const [T = 32, points = 50] = process.argv.slice(2).map(Number);
const RUNS = 5;
const RUN_SIZES = [64, 128, 256, 512, 1024];

const folder = makeModel("distilbert-base");
const file = `${folder}/onnx/model.onnx`;
const inputIds = Array.from({ length: T }, (_, t) => (t === 0 ? 2 : t === T - 1 ? 3 : 100 + 7 * t));
const baseline = { ids: inputIds.map((id, t) => (t === 0 || t === T - 1 ? id : 0)) };
const question: Question = { inputIds, baseline, targets: [[1]], steps: points };

/** The median of a few runs, in milliseconds of the processor, after one that does not count. */
async function measure(run: () => Promise<unknown>): Promise<number> {
  await run();
  const times: number[] = [];
  for (let n = 0; n < RUNS; n++) {
    const before = process.cpuUsage();
    await run();
    const { user, system } = process.cpuUsage(before);
    times.push((user + system) / 1000);
  }
  return times.sort((a, b) => a - b)[RUNS >> 1] ?? 0;
}

async function measureForward(): Promise<number> {
  const session = await InferenceSession.create(file, { intraOpNumThreads: 1 });
  const ids = Array.from({ length: points }, () => inputIds).flat();
  const feeds = {
    input_ids: new Tensor("int64", BigInt64Array.from(ids, BigInt), [points, T]),
    attention_mask: new Tensor("int64", new BigInt64Array(points * T).fill(1n), [points, T]),
  };
  const ms = await measure(() => session.run(feeds));
  await session.release();
  return ms;
}

async function measureExplanation(
  maxTokensPerRun: number,
): Promise<{ openMs: number; ms: number }> {
  const startedAtMs = performance.now();
  const explainer = await openExplainer({
    file,
    output: "logits",
    intraOpThreads: 1,
    maxTokensPerRun,
  });
  const openMs = performance.now() - startedAtMs;
  const ms = await measure(() => explainer.explain([question]));
  await explainer.dispose();
  return { openMs, ms };
}

/** Forward pass and explanation by PyTorch, or why there are none. */
function measurePython(): { forwardMs: number; ms: number } | string {
  const script = fileURLToPath(new URL("./explain.py", import.meta.url));
  const { status, stdout, stderr, error } = spawnSync(
    "python3",
    [script, String(T), String(points)],
    {
      encoding: "utf8",
    },
  );
  if (error !== undefined) return `there is no python3 (${error.message})`;
  if (status !== 0) return stderr.trim().split("\n").at(-1) ?? `python3 ended with ${status}`;
  return JSON.parse(stdout) as { forwardMs: number; ms: number }; // what explain.py prints
}

const forwardMs = await measureForward();
const rows = [["forward pass", "", forwardMs.toFixed(0), "1.00", ""]];
for (const size of RUN_SIZES) {
  const { openMs, ms } = await measureExplanation(size);
  const perForward = (ms / forwardMs).toFixed(2);
  rows.push(["explanation", `${size}`, ms.toFixed(0), perForward, openMs.toFixed(0)]);
}
const python = measurePython();
if (typeof python !== "string") {
  rows.push([
    "PyTorch: forward pass",
    "",
    python.forwardMs.toFixed(0),
    (python.forwardMs / forwardMs).toFixed(2),
    "",
  ]);
  rows.push([
    "PyTorch: explanation",
    "",
    python.ms.toFixed(0),
    (python.ms / forwardMs).toFixed(2),
    "",
  ]);
}
console.log(`${points} points of ${T} tokens, DistilBERT-base's shape, one thread\n`);
console.log(
  drawTable(
    [
      { title: "what", align: "left" },
      { title: "tokens per run" },
      { title: "cpu ms" },
      { title: "forwards" },
      { title: "opened in ms" },
    ],
    rows,
  ),
);
if (typeof python === "string") console.log(`\nWithout PyTorch's numbers: ${python}`);
