/**
 * Who runs: each a process of its own with the same model, weights and threads.
 *
 * To add one: a function here and a line in `startContenders`.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

import type { BareOrder, BareSetup } from "./bare-loop.ts";
import type { LoadOrder } from "./load.ts";
import type { PlainSetup } from "./plain-route.ts";
import {
  measure,
  measureLoad,
  ROOT,
  startProgram,
  type Measurement,
  type Program,
  type ProgramOptions,
} from "./programs.ts";
import type { Text } from "./texts.ts";

export type Dtype = "fp32" | "q8";

/** What every contender gets. */
export interface Setup {
  readonly model: string;
  readonly task: PlainSetup["task"];
  readonly dtype: Dtype;
  /** Intra-operator threads of one inference. */
  readonly threads: number;
  /** hubserve's `cli.js` or `cli.ts`. */
  readonly hubserve: string;
  /** Compiled programs of the bench. */
  readonly files: Readonly<Record<"load" | "bare-loop" | "plain-route", string>>;
}

/** One load on everyone. */
export interface Load {
  readonly texts: readonly Text[];
  readonly arrivals: LoadOrder["arrivals"];
  readonly warmupSeconds: number;
  readonly seconds: number;
}

export const CONTENDER_NAMES = ["hubserve", "no-batching", "plain", "python", "ceiling"] as const;
export type ContenderName = (typeof CONTENDER_NAMES)[number];

export interface Contender extends AsyncDisposable {
  readonly name: ContenderName;
  /** From spawn to ready, in milliseconds. */
  readonly startMs: number;
  /** Whether requests come to it as they come to a server; false for the bare loop. */
  readonly isServer: boolean;
  measure(load: Load): Promise<Measurement>;
}

/** Bounds a window that is bounded in time too. */
const MOST_REQUESTS = 1_000_000;
const REQUEST_TIMEOUT_MS = 30_000;

/** The budgets of padded tokens that the ceiling may choose from: it shall be the best there is. */
export const CEILING_BUDGETS = [256, 512, 1024] as const;

/**
 * Starts the wanted contenders, one after the other so that they do not slow each other's start.
 *
 * @param onMissing Told why one does not take part.
 */
export async function startContenders(
  setup: Setup,
  isWanted: (name: ContenderName) => boolean,
  onMissing: (name: ContenderName, why: string) => void,
): Promise<Contender[]> {
  const started: Contender[] = [];
  const start: Record<ContenderName, () => Promise<Contender | string>> = {
    hubserve: () => startServer("hubserve", setup, hubserveOptions(setup, [])),
    "no-batching": () => startUnbatched(setup),
    plain: () => startServer("plain", setup, plainOptions(setup)),
    python: () => startPython(setup),
    ceiling: () => startCeiling(setup),
  };
  try {
    for (const name of CONTENDER_NAMES) {
      if (!isWanted(name)) continue;
      const contender = await start[name]();
      if (typeof contender === "string") onMissing(name, contender);
      else started.push(contender);
    }
  } catch (error) {
    await endContenders(started);
    throw error;
  }
  return started;
}

export async function endContenders(contenders: readonly Contender[]): Promise<void> {
  await Promise.all(contenders.map((contender) => contender[Symbol.asyncDispose]()));
}

/** How hubserve is started on a folder. */
export function hubserveOptions(
  {
    hubserve,
    model,
    dtype,
    threads,
  }: Pick<Setup, "hubserve" | "model" | "threads"> & { readonly dtype?: Dtype },
  more: readonly string[],
): ProgramOptions {
  return {
    file: hubserve,
    args: [
      "serve",
      model,
      ...Object.entries({ host: "127.0.0.1", port: 0, workers: 1, threads }).flatMap(
        ([flag, value]) => [`--${flag}`, String(value)],
      ),
      "--offline",
      ...(dtype === undefined ? [] : ["--dtype", dtype]),
      ...more,
    ],
    nodeFlags: hubserve.endsWith(".ts") ? ["--import", import.meta.resolve("tsx")] : [],
    ready: /Ready after .*(http:\/\/[^\s"]+)/,
  };
}

export function plainOptions({ model, task, dtype, threads, files }: Setup): ProgramOptions {
  const own: PlainSetup = { model, task, dtype, threads };
  return {
    file: files["plain-route"],
    args: [JSON.stringify(own)],
    ready: /Listening on (\S+)/,
  };
}

async function startUnbatched(setup: Setup): Promise<Contender | string> {
  const help = spawnSync(process.execPath, [
    ...(hubserveOptions(setup, []).nodeFlags ?? []),
    setup.hubserve,
    "--help",
  ]);
  if (!String(help.stdout).includes("--batch-size"))
    return "this hubserve has no --batch-size: it answers one request after the other anyway";
  return startServer("no-batching", setup, hubserveOptions(setup, ["--batch-size", "1"]));
}

async function startServer(
  name: ContenderName,
  { files }: Setup,
  options: ProgramOptions,
): Promise<Contender> {
  const program = await startProgram(options);
  return {
    name,
    startMs: program.startMs,
    isServer: true,
    measure: (load) => measureServer(program, load, files.load),
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

async function measureServer(
  program: Program,
  load: Load,
  generator: string,
): Promise<Measurement> {
  const order: LoadOrder = {
    url: `${program.url}/`,
    bodies: load.texts.map(({ text, tokens }) => ({
      body: JSON.stringify({ inputs: text }),
      tokens,
    })),
    arrivals: load.arrivals,
    warmupSeconds: load.warmupSeconds,
    seconds: load.seconds,
    mostRequests: MOST_REQUESTS,
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
  };
  const before = await readTokens(program.url);
  const observed = await measureLoad(generator, order, program.pid);
  const after = await readTokens(program.url);
  const padded = after.padded - before.padded;
  const measurement: Measurement =
    padded > 0
      ? { ...observed, paddingWaste: 1 - (after.tokens - before.tokens) / padded }
      : observed;
  if (measurement.requests === 0)
    throw new Error(
      `No request was answered, errors: ${JSON.stringify(measurement.errors)}\n${program.lastLines()}`,
    );
  return measurement;
}

/** What the server says it has computed, warm-up included; zeros where it does not say. */
async function readTokens(url: string): Promise<{ tokens: number; padded: number }> {
  const response = await fetch(`${url}/metrics`);
  const page = response.ok ? await response.text() : "";
  const read = (name: string): number =>
    Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, "m").exec(page)?.[1] ?? 0);
  return {
    tokens: read("hubserve_tokens_total"),
    padded: read("hubserve_padded_tokens_total"),
  };
}

async function startCeiling({ model, dtype, threads, files }: Setup): Promise<Contender | string> {
  const weights = `onnx/model${dtype === "q8" ? "_quantized" : ""}.onnx`;
  if (!existsSync(join(model, weights))) return `"${model}" has no ${weights}`;
  const setup: BareSetup = { model, weights, threads };
  const program = await startProgram({
    file: files["bare-loop"],
    args: [JSON.stringify(setup)],
    env: { BENCH_CHILD: "bare-loop" },
    ready: /Listening on (\S+)/,
  });
  /** The best budget for each list of texts, found once. */
  const budgets = new Map<readonly Text[], number>();

  function obey(
    load: Load,
    mode: BareOrder["mode"],
    budget: number,
    seconds: number,
  ): Promise<Measurement> {
    const { texts, warmupSeconds } = load;
    const order: BareOrder = { texts, mode, budget, warmupSeconds, seconds };
    return measure(program.child, order, program.pid);
  }

  async function bestBudget(load: Load): Promise<number> {
    const known = budgets.get(load.texts);
    if (known !== undefined) return known;
    let best = { budget: 0, speed: 0 };
    for (const budget of CEILING_BUDGETS) {
      const measurement = await obey(load, "batches", budget, Math.min(0.7, load.seconds));
      const speed = measurement.tokens / (measurement.cpuSeconds || measurement.seconds);
      if (speed > best.speed) best = { budget, speed };
    }
    budgets.set(load.texts, best.budget);
    return best.budget;
  }

  return {
    name: "ceiling",
    startMs: program.startMs,
    isServer: false,
    async measure(load) {
      // With one client there is never more than one text to run.
      const isAlone = load.arrivals.kind === "closed" && load.arrivals.concurrency === 1;
      return isAlone
        ? obey(load, "single", 0, load.seconds)
        : obey(load, "batches", await bestBudget(load), load.seconds);
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

async function startPython(setup: Setup): Promise<Contender | string> {
  const probe = "import fastapi, torch, transformers, uvicorn";
  const found = ["python3", "python"].find(
    (python) => spawnSync(python, ["-c", probe], { timeout: 60_000 }).status === 0,
  );
  if (found === undefined)
    return "no python with fastapi, torch, transformers and uvicorn was found";
  if (!existsSync(join(setup.model, "model.safetensors")))
    return `"${setup.model}" has no model.safetensors, and Python's pipeline reads no ONNX`;
  const { model, task, threads } = setup;
  return startServer("python", setup, {
    file: join(ROOT, "bench/python-route.py"),
    args: [model, task, String(threads)],
    program: found,
    ready: /Listening on (\S+)/,
  });
}
