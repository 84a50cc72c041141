/**
 * A program that loads a repository's handler, calls it once and prints what came of it as JSON: for what needs a
 * process of its own, such as source maps, module loaders and other versions of Node.
 *
 *     node --import tsx test/support/handler-runner.ts '{"repository": "/…"}' '{"inputs": 1}'
 */
import type { InferenceOutput } from "../../runtime/inference.ts";

export interface RunnerReport {
  readonly notes?: readonly string[];
  readonly files?: readonly string[];
  readonly output?: InferenceOutput;
  readonly error?: { readonly code?: string; readonly message: string; readonly cause: string };
  readonly loadMs?: number;
}

const [options = "{}", data = "{}"] = process.argv.slice(2);
process.stdout.write(`${JSON.stringify(await run())}\n`);

async function run(): Promise<RunnerReport> {
  // From source or from a build: the test says which.
  const runtime =
    process.env["HUBSERVE_RUNTIME"] ?? new URL("../../runtime/", import.meta.url).href;
  const extension = runtime.endsWith("/runtime/") ? "ts" : "js";
  const { loadHandler } = await import(`${runtime}handler/load.${extension}`);
  const { toOutput } = await import(`${runtime}handler/output/output.${extension}`);
  const { silentLog } = await import(`${runtime}observe/log.${extension}`);
  const log = silentLog();
  try {
    const startedAtMs = performance.now();
    const handler = await loadHandler(JSON.parse(options), log);
    const loadMs = performance.now() - startedAtMs;
    const request = { id: "1", kind: "predict", data: JSON.parse(data), headers: {} };
    const { signal } = new AbortController();
    const context = { signal, requestId: "1", log, headers: {} };
    const output = await toOutput(await handler.call(request, context));
    await handler.dispose();
    const notes = handler.description.notes.map(({ text }: { text: string }) => text);
    return { notes, files: handler.files, output, loadMs };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const cause = error.cause instanceof Error ? (error.cause.stack ?? "") : "";
    const code = "code" in error ? String(error.code) : undefined;
    return { error: { ...(code !== undefined && { code }), message: error.message, cause } };
  }
}
