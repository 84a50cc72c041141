/**
 * Who writes: each a process of its own with the same graph and as many threads.
 *
 * To add one: a function here and a line in `startWriters`.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

import { hubserveOptions } from "./contenders.ts";
import type { BareGenerationOrder, BareGenerationSetup } from "./generation-bare-loop.ts";
import type { GenerationLoadOrder } from "./generation-load.ts";
import type { Order } from "./generation-orders.ts";
import type { PlainGenerationSetup } from "./generation-plain-route.ts";
import {
  measure,
  measureLoad,
  ROOT,
  startProgram,
  type Measurement,
  type ProgramOptions,
} from "./programs.ts";

/** What every contender gets. */
export interface WriterSetup {
  readonly model: string;
  /** Intra-operator threads of one run. */
  readonly threads: number;
  /** hubserve's `cli.js` or `cli.ts`. */
  readonly hubserve: string;
  /** Python with torch and transformers, if there is one. */
  readonly python: string | undefined;
  /** Compiled programs of the bench. */
  readonly files: Readonly<
    Record<"generation-load" | "generation-plain-route" | "generation-bare-loop", string>
  >;
}

export interface WriterLoad {
  readonly orders: readonly Order[];
  readonly streams: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
}

export const WRITER_NAMES = ["hubserve", "plain", "python", "bare-loop"] as const;
export type WriterName = (typeof WRITER_NAMES)[number];

export interface Writer extends AsyncDisposable {
  readonly name: WriterName;
  /** Whether it takes requests; false for the bare loop, which writes one text after the other. */
  readonly isServer: boolean;
  measure(load: WriterLoad): Promise<Measurement>;
}

/** Sixteen texts that take turns in one thread are slow, and still no failure. */
const REQUEST_TIMEOUT_MS = 300_000;

/**
 * Starts the wanted ones, one after the other.
 *
 * @param onMissing Told why one does not take part.
 */
export async function startWriters(
  setup: WriterSetup,
  isWanted: (name: WriterName) => boolean,
  onMissing: (name: WriterName, why: string) => void,
): Promise<Writer[]> {
  const started: Writer[] = [];
  const start: Record<WriterName, () => Promise<Writer | string>> = {
    hubserve: () => {
      const options = hubserveOptions({ ...setup, dtype: "fp32" }, []);
      return startServer("hubserve", setup, options, { path: "/v1/completions", toBody: toOpenAI });
    },
    plain: () => {
      const { model, threads } = setup;
      const own: PlainGenerationSetup = { model, threads };
      const options = {
        file: setup.files["generation-plain-route"],
        args: [JSON.stringify(own)],
        ready: /Listening on (\S+)/,
      };
      return startServer("plain", setup, options, PLAIN);
    },
    python: () => startPython(setup),
    "bare-loop": () => startBareLoop(setup),
  };
  try {
    for (const name of WRITER_NAMES) {
      if (!isWanted(name)) continue;
      const writer = await start[name]();
      if (typeof writer === "string") onMissing(name, writer);
      else started.push(writer);
    }
  } catch (error) {
    await endWriters(started);
    throw error;
  }
  return started;
}

export async function endWriters(writers: readonly Writer[]): Promise<void> {
  await Promise.all(writers.map((writer) => writer[Symbol.asyncDispose]()));
}

/** How a server is asked. */
interface Asking {
  readonly path: string;
  readonly toBody: (order: Order) => unknown;
}

const PLAIN: Asking = {
  path: "/",
  toBody: ({ prompt, newTokens }) => ({ prompt, newTokens }),
};

function toOpenAI({ prompt, newTokens }: Order): unknown {
  return {
    prompt,
    max_tokens: newTokens,
    ignore_eos: true,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  };
}

async function startServer(
  name: WriterName,
  { files }: WriterSetup,
  options: ProgramOptions,
  { path, toBody }: Asking,
): Promise<Writer> {
  const program = await startProgram(options);
  return {
    name,
    isServer: true,
    async measure({ orders, ...load }) {
      const order: GenerationLoadOrder = {
        ...load,
        url: `${program.url}${path}`,
        bodies: orders.map((order) => ({
          body: JSON.stringify(toBody(order)),
          newTokens: order.newTokens,
        })),
        requestTimeoutMs: REQUEST_TIMEOUT_MS,
      };
      const measurement = await measureLoad(files["generation-load"], order, program.pid);
      if (measurement.tokens === 0)
        throw new Error(
          `${name} wrote nothing, errors: ${JSON.stringify(measurement.errors)}\n${program.lastLines()}`,
        );
      return measurement;
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

async function startBareLoop({ model, threads, files }: WriterSetup): Promise<Writer> {
  const setup: BareGenerationSetup = { model, threads };
  const program = await startProgram({
    file: files["generation-bare-loop"],
    args: [JSON.stringify(setup)],
    env: { BENCH_CHILD: "bare-loop" },
    ready: /Listening on (\S+)/,
  });
  return {
    name: "bare-loop",
    isServer: false,
    measure({ orders, warmupSeconds, seconds }) {
      const order: BareGenerationOrder = { orders, warmupSeconds, seconds };
      return measure(program.child, order, program.pid);
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

async function startPython(setup: WriterSetup): Promise<Writer | string> {
  const probe = "import torch, transformers";
  const names = setup.python === undefined ? ["python3", "python"] : [setup.python];
  const found = names.find(
    (python) => spawnSync(python, ["-c", probe], { timeout: 60_000 }).status === 0,
  );
  if (found === undefined)
    return `${names.join(" and ")} cannot import torch and transformers; name one that can with --python`;
  const options = {
    file: join(ROOT, "bench/generation-python-route.py"),
    args: [setup.model, String(setup.threads)],
    program: found,
    ready: /Listening on (\S+)/,
  };
  return startServer("python", setup, options, PLAIN);
}
