/**
 * The ceiling: the same tokens through onnxruntime-node in a bare loop. No HTTP, no queue, no other process; the texts
 * are tokenized beforehand and batched with all of them known.
 *
 * Two orders: `batches` sorts the texts by length and fills batches up to a budget of padded tokens; `single` runs one
 * text after the other, which is what a request cannot be faster than.
 */
import { join } from "node:path";
import { AutoTokenizer, env } from "@huggingface/transformers";
import { InferenceSession, Tensor } from "onnxruntime-node";

import { toPercentiles } from "./latency.ts";
import { paddingWaste, sortIntoBatches } from "./length-batches.ts";
import { tellBench, type Observation } from "./measurement.ts";
import { createRandom } from "./random.ts";
import type { Text } from "./texts.ts";

export interface BareSetup {
  readonly model: string;
  /** Relative to `model`. */
  readonly weights: string;
  readonly threads: number;
}

export interface BareOrder {
  readonly texts: readonly Text[];
  readonly mode: "batches" | "single";
  /** The most padded tokens of a batch. */
  readonly budget: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
}

interface BatchOfIds {
  readonly ids: readonly (readonly number[])[];
  readonly tokens: number;
}

async function main(setup: BareSetup): Promise<void> {
  env.allowRemoteModels = false;
  const tokenizer = await AutoTokenizer.from_pretrained(setup.model);
  const session = await InferenceSession.create(join(setup.model, setup.weights), {
    intraOpNumThreads: setup.threads,
    interOpNumThreads: 1,
  });
  const wantsTypes = session.inputNames.includes("token_type_ids");
  process.on("message", (order: BareOrder) => {
    obey(order).then(
      (observation) => tellBench({ type: "observed", observation }),
      (error: unknown) => tellBench({ type: "failed", message: String(error) }),
    );
  });
  process.once("disconnect", () => process.exit(0));
  console.log("Listening on ipc:bare-loop");

  async function obey(order: BareOrder): Promise<Observation> {
    const encoded = order.texts.map(({ text, tokens }) => {
      const { input_ids: ids } = tokenizer(text, { return_tensor: false }) as {
        input_ids: number[];
      };
      if (ids.length !== tokens)
        throw new Error(
          `Cannot trust the texts: "${text}" has ${ids.length} tokens, wanted ${tokens}`,
        );
      return ids;
    });
    const lengths = encoded.map((ids) => ids.length);
    const indices =
      order.mode === "single" ? encoded.map((_, i) => [i]) : sortIntoBatches(lengths, order.budget);
    const batches = indices.map((batch): BatchOfIds => {
      const ids = batch.map((index) => encoded[index] ?? []);
      return { ids, tokens: ids.reduce((sum, { length }) => sum + length, 0) };
    });
    // Sorted batches come in a random order, so that a window that ends early has seen all lengths.
    if (order.mode === "batches") shuffle(batches);
    await run(batches, order.warmupSeconds);
    tellBench({ type: "opened" });
    const result = await run(batches, order.seconds);
    tellBench({ type: "closed" });
    return { ...result, paddingWaste: paddingWaste(lengths, indices) };
  }

  async function run(batches: readonly BatchOfIds[], seconds: number): Promise<Observation> {
    const timesMs: number[] = [];
    let [requests, tokens, next] = [0, 0, 0];
    const startMs = performance.now();
    while (performance.now() < startMs + seconds * 1000) {
      const batch = batches[next++ % batches.length];
      if (batch === undefined) break;
      const beforeMs = performance.now();
      const outputs = await session.run(toFeeds(batch.ids, wantsTypes));
      timesMs.push(performance.now() - beforeMs);
      for (const output of Object.values(outputs)) output.dispose();
      requests += batch.ids.length;
      tokens += batch.tokens;
    }
    const elapsed = (performance.now() - startMs) / 1000;
    return { requests, tokens, seconds: elapsed, errors: {}, latencyMs: toPercentiles(timesMs) };
  }
}

/** `[B, T]`, padded on the right. */
function toFeeds(
  batch: readonly (readonly number[])[],
  wantsTypes: boolean,
): Record<string, Tensor> {
  const B = batch.length;
  const T = Math.max(...batch.map(({ length }) => length));
  const ids = new BigInt64Array(B * T);
  const mask = new BigInt64Array(B * T);
  for (const [b, row] of batch.entries()) {
    for (const [t, id] of row.entries()) {
      ids[b * T + t] = BigInt(id);
      mask[b * T + t] = 1n;
    }
  }
  return {
    input_ids: new Tensor("int64", ids, [B, T]),
    attention_mask: new Tensor("int64", mask, [B, T]),
    ...(wantsTypes && {
      token_type_ids: new Tensor("int64", new BigInt64Array(B * T), [B, T]),
    }),
  };
}

/** Fisher–Yates. */
function shuffle(items: unknown[]): void {
  const random = createRandom(7);
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j], items[i]];
  }
}

if (process.env["BENCH_CHILD"] === "bare-loop")
  await main(JSON.parse(process.argv[2] ?? "{}") as BareSetup);
