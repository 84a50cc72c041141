/**
 * What one writes without hubserve: a route around `pipeline("text-generation")`, streamed, in the same process.
 *
 * Requests that come at once are under way at once, as nothing holds them back: their runs take turns.
 *
 *     npx tsx bench/generation-plain-route.ts '{"model":"/folder","threads":1}'
 */
import { serve } from "@hono/node-server";
import { env, pipeline, TextStreamer } from "@huggingface/transformers";
import { Hono } from "hono";
import { streamSSE } from "hono/streaming";

export interface PlainGenerationSetup {
  readonly model: string;
  readonly threads: number;
}

const { model, threads } = JSON.parse(process.argv[2] ?? "{}") as PlainGenerationSetup;
env.allowRemoteModels = false;
const generate = await pipeline("text-generation", model, {
  dtype: "fp32",
  session_options: { intraOpNumThreads: threads, interOpNumThreads: 1 },
});

const app = new Hono();
app.post("/", async (c) => {
  const { prompt, newTokens } = await c.req.json<{ prompt: string; newTokens: number }>();
  return streamSSE(c, async (stream) => {
    let hasLeft = false;
    stream.onAbort(() => void (hasLeft = true));
    const streamer = new TextStreamer(generate.tokenizer, {
      skip_prompt: true,
      callback_function: () => undefined, // not to the terminal
      token_callback_function: ([token]) => {
        if (hasLeft) throw new Error("The client has left");
        void stream.writeSSE({ data: JSON.stringify({ token: Number(token) }) });
      },
    });
    await generate(prompt, {
      streamer,
      do_sample: false,
      max_new_tokens: newTokens,
      min_new_tokens: newTokens,
    });
    await stream.writeSSE({ data: "[DONE]" });
  });
});
serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) =>
  console.log(`Listening on http://127.0.0.1:${port}`),
);
