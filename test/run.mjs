/**
 * Runs every test, or those whose path contains one of the given words: `npm test -- hub engine`.
 *
 * `node --test` takes globs only from Node 22 on, so the files are listed here.
 */
import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const words = process.argv.slice(2).filter((argument) => !argument.startsWith("-"));
const flags = process.argv.slice(2).filter((argument) => argument.startsWith("-"));

const files = readdirSync(here, { recursive: true })
  .map(String)
  .filter((file) => file.endsWith(".test.ts") && !file.startsWith("fixtures"))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort()
  .map((file) => join(here, file));

if (files.length === 0) {
  console.error(`No test file matches ${words.join(", ")}`);
  process.exit(2);
}

const child = spawn(
  process.execPath,
  ["--import", "tsx", "--test", "--test-timeout=120000", ...flags, ...files],
  {
    stdio: "inherit",
    cwd: join(here, ".."),
    // Children of a test must not believe that they are test files, and no test may reach a real Hub by accident.
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, ORT_DISABLE_TELEMETRY: "1" },
  },
);
child.on("exit", (code, signal) => process.exit(signal === null ? code : 1));
