/**
 * Hours of mischief in minutes: good, bad, slow and left requests against one hubserve, while its memory and its
 * descriptors are read from outside.
 *
 *     npm run soak -- [--minutes 5] [--clients 8] [--hubserve CLI] [--seed 1]
 *
 * It ends with 1 when a request got an answer that it should not have got or none at all, when memory or descriptors
 * have grown, or when hubserve does not end with 0. Linux only, as /proc is.
 * To add a kind of request: a row in `KINDS`.
 */
import { Agent, request, type IncomingMessage } from "node:http";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { hubserveOptions } from "./contenders.ts";
import { judgeFlatness, type Tolerance } from "./flatness.ts";
import { readUsage, type Usage } from "./process-tree.ts";
import { builtHubserve, ROOT, startProgram } from "./programs.ts";
import { createRandom, type Random } from "./random.ts";
import { drawTable } from "./table.ts";

interface Kind {
  /** How often it comes, relative to the others. */
  readonly weight: number;
  readonly body: string;
  /** What it must be answered with; 0 where the client leaves before. */
  readonly status: number;
  /** When the client leaves: that long after it has sent, or once it has read so many bytes. */
  readonly leave?: { readonly afterMs: number } | { readonly afterBytes: number };
  readonly accept?: string;
}

const job = (what: string): string => JSON.stringify({ inputs: { do: what } });
const EVENTS = "text/event-stream";

const KINDS: Readonly<Record<string, Kind>> = {
  good: { weight: 40, body: job("answer"), status: 200 },
  large: { weight: 1, body: job("large"), status: 200 },
  slow: { weight: 5, body: job("sleep"), status: 200 },
  streamed: { weight: 5, body: job("stream"), status: 200, accept: EVENTS },
  "handler throws": { weight: 5, body: job("throw"), status: 500 },
  "handler refuses": { weight: 5, body: job("refuse"), status: 400 },
  "no JSON": { weight: 5, body: '{"inputs": ', status: 400 },
  "no inputs": { weight: 5, body: '{"text": "I love you"}', status: 400 },
  "left at once": { weight: 3, body: job("sleep"), status: 0, leave: { afterMs: 0 } },
  "left while it ran": { weight: 5, body: job("sleep"), status: 0, leave: { afterMs: 10 } },
  "left a stream": {
    weight: 3,
    body: job("endless"),
    status: 0,
    accept: EVENTS,
    leave: { afterBytes: 500 },
  },
};

const RESPONSE_TIMEOUT_MS = 30_000;
const SAMPLE_EVERY_MS = 1000;
/** Rows of the printed table, however long it runs. */
const MOST_ROWS = 30;

/** V8 lets a heap grow while there is room; a leak of 1 kB a request would be gigabytes. */
const MEMORY: Tolerance = { share: 0.1, absolute: 16 * 2 ** 20 };
/** Connections that are just being made or closed. */
const DESCRIPTORS: Tolerance = { share: 0, absolute: 8 };

const { values: flags } = parseArgs({
  options: {
    minutes: { type: "string", default: "5" },
    clients: { type: "string", default: "8" },
    seed: { type: "string", default: "1" },
    hubserve: { type: "string" },
  },
});

async function main(): Promise<number> {
  if (process.platform !== "linux") {
    console.error("Cannot soak here: memory and descriptors are read from Linux's /proc");
    return 2;
  }
  const hubserve = flags.hubserve ? resolve(flags.hubserve) : await builtHubserve(() => undefined);
  const model = join(ROOT, "bench/handlers/soak");
  await using program = await startProgram(hubserveOptions({ hubserve, model, threads: 1 }, []));
  const idleBefore = readUsage(program.pid);

  const minutes = Number(flags.minutes);
  const counts = new Map(Object.keys(KINDS).map((name) => [name, 0]));
  const surprises = new Map<string, number>();
  const samples: (Usage & { readonly atS: number; readonly sent: number })[] = [];
  const startMs = performance.now();
  const endMs = startMs + minutes * 60_000;
  const agent = new Agent({ keepAlive: true });
  const total = (): number => [...counts.values()].reduce((a, b) => a + b, 0);

  async function client(random: Random): Promise<void> {
    while (performance.now() < endMs) {
      const [name, kind] = chooseKind(random);
      counts.set(name, (counts.get(name) ?? 0) + 1);
      const found = await send(agent, program.url, kind);
      if (found === kind.status) continue;
      const surprise = `${name}: ${found}, wanted ${kind.status}`;
      surprises.set(surprise, (surprises.get(surprise) ?? 0) + 1);
    }
  }

  async function watch(): Promise<void> {
    while (performance.now() < endMs) {
      await sleep(SAMPLE_EVERY_MS);
      const usage = readUsage(program.pid);
      const atS = (performance.now() - startMs) / 1000;
      if (usage !== undefined) samples.push({ ...usage, atS, sent: total() });
    }
  }

  console.log(`${minutes} minutes, ${flags.clients} clients, process ${program.pid}`);
  const clients = Array.from({ length: Number(flags.clients) }, (_, i) =>
    client(createRandom(Number(flags.seed) * 1000 + i)),
  );
  await Promise.all([watch(), ...clients]);
  agent.destroy();
  await sleep(2000); // connections close, aborted handlers end
  const idleAfter = readUsage(program.pid);

  printSamples(samples);
  console.log([...counts].map(([name, count]) => `${name} ${count}`).join(", "));
  let isGood = surprises.size === 0;
  console.log(`${total()} sent, all answered as they should: ${isGood ? "yes" : "no"}`);
  for (const [surprise, count] of surprises) console.log(`  ${count} × ${surprise}`);

  const memory = judgeFlatness(
    samples.map(({ residentBytes }) => residentBytes),
    MEMORY,
  );
  const open = judgeFlatness(
    samples.map(({ descriptors }) => descriptors),
    DESCRIPTORS,
  );
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  console.log(
    `memory ${mib(memory.early)} → ${mib(memory.late)}: ${memory.isFlat ? "flat" : "grown"}`,
  );
  console.log(`descriptors ${open.early} → ${open.late}: ${open.isFlat ? "flat" : "grown"}`);
  const [before, after] = [idleBefore?.descriptors ?? 0, idleAfter?.descriptors ?? 0];
  const isBack = after <= before + 2;
  console.log(`descriptors when idle ${before} → ${after}: ${isBack ? "given back" : "kept"}`);
  isGood &&= memory.isFlat && open.isFlat && isBack;

  program.child.kill("SIGTERM");
  const end = await program.exited;
  console.log(`ended with ${end}`);
  return isGood && end === "code 0" ? 0 : 1;
}

function chooseKind(random: Random): [string, Kind] {
  const kinds = Object.entries(KINDS);
  let left = random() * kinds.reduce((sum, [, { weight }]) => sum + weight, 0);
  for (const entry of kinds) {
    left -= entry[1].weight;
    if (left < 0) return entry;
  }
  throw new RangeError("Cannot choose a kind of request: there are none");
}

/** @returns The status; 0 when the client left; in words what else happened. */
function send(agent: Agent, url: string, { body, accept, leave }: Kind): Promise<number | string> {
  return new Promise((resolve) => {
    const headers = { "content-type": "application/json", ...(accept !== undefined && { accept }) };
    const outgoing = request(url, { method: "POST", agent, headers });
    const timer = setTimeout(() => {
      resolve("no answer");
      outgoing.destroy();
    }, RESPONSE_TIMEOUT_MS);
    let hasLeft = false;
    const settle = (found: number | string): void => {
      clearTimeout(timer);
      resolve(hasLeft ? 0 : found);
    };
    function goAway(): void {
      hasLeft = true;
      outgoing.destroy();
      settle(0);
    }
    outgoing.on("error", (error) => settle(error.message));
    outgoing.on("response", (response: IncomingMessage) => {
      let bytes = 0;
      response.on("data", (part: Buffer) => {
        bytes += part.length;
        if (leave !== undefined && "afterBytes" in leave && bytes >= leave.afterBytes) goAway();
      });
      response.on("end", () => settle(response.statusCode ?? 0));
      response.on("error", (error) => settle(error.message));
    });
    outgoing.end(body, () => {
      if (leave !== undefined && "afterMs" in leave) setTimeout(goAway, leave.afterMs);
    });
  });
}

function printSamples(samples: readonly (Usage & { atS: number; sent: number })[]): void {
  const step = Math.max(1, Math.ceil(samples.length / MOST_ROWS));
  const rows = samples
    .filter((_, i) => i % step === 0 || i === samples.length - 1)
    .map(({ atS, sent, residentBytes, descriptors, processes }) => [
      atS.toFixed(0),
      String(sent),
      (residentBytes / 2 ** 20).toFixed(0),
      String(descriptors),
      String(processes),
    ]);
  const titles = ["s", "sent", "RSS MiB", "descriptors", "processes"];
  console.log(
    drawTable(
      titles.map((title) => ({ title })),
      rows,
    ),
  );
}

process.exit(await main());
