/** Starts `handler-runner.ts` in a process of its own and reads its report. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { LoadOptions } from "../../runtime/inference.ts";
import type { RunnerReport } from "./handler-runner.ts";

const RUNNER = fileURLToPath(new URL("./handler-runner.ts", import.meta.url));
const HOUSE = fileURLToPath(new URL("../../", import.meta.url));

/** Loads and calls a handler elsewhere. The process must end by itself: nothing of the load may keep it alive. */
export async function runHandler(
  options: LoadOptions,
  data: unknown,
  env: Readonly<Record<string, string>> = {},
): Promise<RunnerReport> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", "tsx", RUNNER, JSON.stringify(options), JSON.stringify(data)],
    { cwd: HOUSE, env: { ...process.env, ...env }, timeout: 60_000 },
  );
  return JSON.parse(stdout) as RunnerReport; // what the runner printed
}
