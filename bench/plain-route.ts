/**
 * What one writes without hubserve: a route around `pipeline()`, in the same process.
 *
 *     npx tsx bench/plain-route.ts '{"model":"/folder","task":"feature-extraction","dtype":"fp32","threads":1}'
 */
import { serve } from "@hono/node-server";
import {
  env,
  pipeline,
  type FeatureExtractionPipeline,
  type TextClassificationPipeline,
} from "@huggingface/transformers";
import { Hono } from "hono";

export interface PlainSetup {
  readonly model: string;
  readonly task: "feature-extraction" | "text-classification";
  readonly dtype: "fp32" | "q8";
  readonly threads: number;
}

const { model, task, dtype, threads } = JSON.parse(process.argv[2] ?? "{}") as PlainSetup;
env.allowRemoteModels = false;
const session_options = { intraOpNumThreads: threads, interOpNumThreads: 1 };
const run = await pipeline(task, model, { dtype, session_options });

const app = new Hono();
app.post("/", async (c) => {
  const { inputs } = await c.req.json<{ inputs: string }>();
  if (task === "text-classification")
    return c.json(await (run as TextClassificationPipeline)(inputs));
  const options = { pooling: "mean", normalize: true } as const;
  const vectors = await (run as FeatureExtractionPipeline)(inputs, options);
  return c.json(vectors.tolist());
});
serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) =>
  console.log(`Listening on http://127.0.0.1:${port}`),
);
