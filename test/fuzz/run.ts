/**
 * Fuzzes at length: `npx tsx test/fuzz/run.ts [--seed n] [--minutes m] [--cases n] [--only name] [--replay file]`.
 *
 * Every target has a process of its own, so one that crashes or never comes to an end is told of too. What was found lies in
 * `build/fuzz/`: the input, smallest that was found, and beside it the recipe, which `--replay` runs again.
 */
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import type { PlainReport } from "./target-process.ts";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const OUT = fileURLToPath(new URL("../../build/fuzz/", import.meta.url));

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    minutes: { type: "string", default: "5" },
    cases: { type: "string" },
    only: { type: "string" },
    replay: { type: "string" },
    list: { type: "boolean", default: false },
  },
});

/** A process that says no more about its case for so long hangs. */
const HANG_MS = 60_000;

mkdirSync(OUT, { recursive: true });
if (values.replay !== undefined) await replay(values.replay);
else await runAll();

async function runAll(): Promise<void> {
  const { TARGETS } = await import("./targets.ts");
  const names = TARGETS.map(({ name }) => name).filter(
    (name) => values.only === undefined || name.includes(values.only),
  );
  if (values.list) return console.log(names.join("\n"));
  if (names.length === 0)
    throw new Error(`No target has "${values.only}" in its name; --list shows them`);
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 30));
  const eachMs = (Number(values.minutes) * 60_000) / names.length;
  console.log(`Seed ${seed}, ${(eachMs / 1000).toFixed(0)} s for each of ${names.length} targets`);
  let count = 0;
  for (const name of names) {
    const report = await runOne({ name, seed, ms: eachMs, cases: values.cases });
    const outcomes = report.outcomes.map(([outcome, times]) => `${outcome} ${times}`).join(", ");
    console.log(
      `${name.padEnd(22)} ${String(report.cases).padStart(8)} cases, worst ${report.worstMs.toFixed(0)} ms: ${outcomes}`,
    );
    for (const { kind, message, recipe, input } of report.defects) {
      const file = join(OUT, `${name}-${seed}-${++count}`.replace(/[^\w.-]+/g, "-"));
      writeFileSync(`${file}.input`, Buffer.from(input, "base64"));
      writeFileSync(
        `${file}.json`,
        JSON.stringify({ target: name, seed, kind, recipe, message }, undefined, 2),
      );
      console.log(
        `  DEFECT ${kind}\n    ${message.slice(0, 600).replaceAll("\n", "\n    ")}\n    ${file}.json`,
      );
    }
  }
  console.log(
    count === 0 ? "No defects" : `${count} defects; run one again with --replay <its .json>`,
  );
  process.exitCode = count === 0 ? 0 : 1;
}

interface Job {
  readonly name: string;
  readonly seed: number;
  readonly ms: number;
  readonly cases?: string | undefined;
  readonly recipe?: unknown;
}

/** Runs one target in its process; where that dies or hangs, goes on with the next seed and tells of it. */
async function runOne(job: Job): Promise<PlainReport> {
  const startedAtMs = performance.now();
  const crashes: PlainReport["defects"][number][] = [];
  for (let attempt = 0; ; attempt++) {
    const leftMs = job.ms - (performance.now() - startedAtMs);
    const { report, end, recipe } = await runProcess({
      ...job,
      seed: job.seed + attempt,
      ms: leftMs,
    });
    if (report !== undefined) return { ...report, defects: [...crashes, ...report.defects] };
    const message = `the process ended with ${end}; the case was ${JSON.stringify(recipe)}`;
    crashes.push({ kind: end === "hang" ? "hang" : "crash", message, recipe, input: "" });
    if (crashes.length > 5 || leftMs < 1000)
      return { target: job.name, cases: 0, outcomes: [], worstMs: 0, defects: crashes };
  }
}

async function runProcess(job: Job): Promise<{
  report?: PlainReport;
  end: string;
  recipe: PlainReport["defects"][number]["recipe"];
}> {
  const now = join(OUT, `.now-${process.pid}`);
  const done = join(OUT, `.done-${process.pid}`);
  for (const file of [now, done]) writeFileSync(file, "");
  const log = openSync(join(OUT, "output.log"), "a"); // decoders print what they think of a file
  const child = spawn(
    process.execPath,
    ["--import", "tsx", join(HERE, "target-process.ts"), JSON.stringify({ ...job, now, done })],
    { stdio: ["ignore", log, log] },
  );
  closeSync(log);
  const exited = new Promise<string>((resolve) =>
    child.once("exit", (code, signal) => resolve(signal ?? `code ${code}`)),
  );
  let [last, lastAtMs] = ["", performance.now()];
  let end: string | undefined;
  while (end === undefined) {
    end = await Promise.race([exited, delay(1000, undefined)]);
    const current = readFileSync(now, "latin1");
    if (current !== last) [last, lastAtMs] = [current, performance.now()];
    else if (end === undefined && performance.now() - lastAtMs > HANG_MS) {
      child.kill("SIGKILL");
      await exited;
      end = "hang";
    }
  }
  const text = existsSync(done) ? readFileSync(done, "utf8") : "";
  const recipe = parseRecipe(last);
  // What the child wrote is a report.
  return text === "" ? { end, recipe } : { report: JSON.parse(text) as PlainReport, end, recipe };
}

function parseRecipe(text: string): PlainReport["defects"][number]["recipe"] {
  try {
    return JSON.parse(text.trim()) as PlainReport["defects"][number]["recipe"];
  } catch {
    return { seed: 0, steps: [] };
  }
}

/** Runs a recipe alone. */
async function replay(file: string): Promise<void> {
  const { target, recipe } = JSON.parse(readFileSync(file, "utf8")) as {
    target: string;
    recipe: unknown;
  };
  const { report, end } = await runProcess({ name: target, seed: 0, ms: 0, recipe });
  const [defect] = report?.defects ?? [];
  console.log(
    defect?.message ?? (report === undefined ? `The process ended with ${end}` : "No defect"),
  );
  process.exitCode = report !== undefined && defect === undefined ? 0 : 1;
}
