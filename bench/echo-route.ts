/** What a hono route costs that does nothing: hubserve's no-op handler stands beside it. */
import { serve } from "@hono/node-server";
import { Hono } from "hono";

const app = new Hono();
app.post("/", async (c) => {
  const { inputs } = await c.req.json<{ inputs: string }>();
  return c.json({ length: inputs.length });
});
serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, ({ port }) =>
  console.log(`Listening on http://127.0.0.1:${port}`),
);
