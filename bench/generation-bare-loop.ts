/**
 * The ceiling for one client: the same orders through `generation-decoding.ts`, one after the other. No HTTP, no queue, no other
 * process; the prompts are tokenized beforehand, and nothing is made text again.
 */
import { join } from "node:path";

import { AutoTokenizer, env } from "@huggingface/transformers";
import { InferenceSession } from "onnxruntime-node";

import { createDecodingLoop } from "./generation-decoding.ts";
import { createTally } from "./generation-load.ts";
import type { Order } from "./generation-orders.ts";
import { tellBench, type Observation } from "./measurement.ts";

export interface BareGenerationSetup {
  readonly model: string;
  readonly threads: number;
}

export interface BareGenerationOrder {
  readonly orders: readonly Order[];
  readonly warmupSeconds: number;
  readonly seconds: number;
}

async function main(setup: BareGenerationSetup): Promise<void> {
  env.allowRemoteModels = false;
  const tokenizer = await AutoTokenizer.from_pretrained(setup.model);
  const session = await InferenceSession.create(join(setup.model, "onnx/model.onnx"), {
    intraOpNumThreads: setup.threads,
    interOpNumThreads: 1,
    // Every step has shapes of its own: a plan of memory for each would never be used again.
    enableMemPattern: false,
  });
  const loop = createDecodingLoop(session);
  process.on("message", (order: BareGenerationOrder) => {
    obey(order).then(
      (observation) => tellBench({ type: "observed", observation }),
      (error: unknown) => tellBench({ type: "failed", message: String(error) }),
    );
  });
  process.once("disconnect", () => process.exit(0));
  console.log("Listening on ipc:bare-loop");

  /** The window opens and closes while the loop goes on, as it does for servers. */
  async function obey({
    orders,
    warmupSeconds,
    seconds,
  }: BareGenerationOrder): Promise<Observation> {
    const encoded = orders.map(({ prompt, newTokens }) => {
      const { input_ids: ids } = tokenizer(prompt, { return_tensor: false }) as {
        input_ids: number[];
      };
      return { ids, newTokens };
    });
    const openMs = performance.now() + warmupSeconds * 1000;
    const tally = createTally();
    let startMs = Infinity;
    let endMs = Infinity;
    for (let next = 0; endMs === Infinity; next++) {
      const order = encoded[next % encoded.length];
      if (order === undefined) throw new RangeError("Cannot write: there are no orders");
      const beganMs = performance.now();
      let lastMs: number | undefined;
      await loop.write(order.ids, order.newTokens, () => {
        const nowMs = performance.now();
        if (startMs === Infinity && nowMs >= openMs) {
          startMs = nowMs;
          tellBench({ type: "opened" });
        } else if (nowMs > startMs) {
          tally.token(1);
          if (lastMs === undefined) tally.firstToken(nowMs - beganMs);
          else tally.betweenTokens(nowMs - lastMs);
          if (nowMs >= startMs + seconds * 1000) endMs = nowMs;
        }
        lastMs = nowMs;
        return endMs === Infinity;
      });
      if (startMs < Infinity && endMs === Infinity) tally.answered(performance.now() - beganMs);
    }
    tellBench({ type: "closed" });
    return tally.toObservation((endMs - startMs) / 1000);
  }
}

if (process.env["BENCH_CHILD"] === "bare-loop")
  await main(JSON.parse(process.argv[2] ?? "{}") as BareGenerationSetup);
