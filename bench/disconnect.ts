/**
 * How soon hubserve notices that a client has left.
 *
 *     npx tsx bench/disconnect.ts [--rounds N] [--hubserve CLI]
 *
 * Two clients a round: one's request is in the handler, the other's waits in the queue. Both hang up. What is printed is
 * the time from there until the handler's signal fires, and until the queue has let the other go, told by the server's
 * log line, whose way through a pipe is included.
 */
import { request, type ClientRequest } from "node:http";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { percentileOf } from "./latency.ts";
import { builtHubserve, ROOT } from "./programs.ts";

const { values: flags } = parseArgs({
  options: { rounds: { type: "string", default: "50" }, hubserve: { type: "string" } },
});

const clock = (): number => performance.timeOrigin + performance.now();

async function main(): Promise<void> {
  const cli =
    flags.hubserve === undefined
      ? await builtHubserve(() => console.log("Building hubserve"))
      : resolve(flags.hubserve);
  const handler = join(ROOT, "bench/handlers/disconnect");
  const args = [cli, "serve", handler, "--host", "127.0.0.1", "--port", "0", "--workers", "1"];
  const server = spawn(process.execPath, [...args, "--log-level", "debug", "--log-format", "text"]);
  const lines = createInterface({ input: server.stdout });
  const errors = createInterface({ input: server.stderr });
  const gone: (() => void)[] = [];
  let listening: (url: string) => void;
  const ready = new Promise<string>((done) => (listening = done));
  for (const stream of [lines, errors]) {
    stream.on("line", (line) => {
      const url = /Ready after .*(http:\/\/[^\s"]+)/.exec(line)?.[1];
      if (url !== undefined) listening(url);
      if (/POST \/ 499 /.test(line)) gone.shift()?.();
    });
  }
  const url = await ready;

  const inHandler: number[] = [];
  const inQueue: number[] = [];
  for (let round = 0; round < Number(flags.rounds); round++) {
    const working = post(url);
    await sleep(30);
    const waiting = post(url);
    await sleep(30);
    const leftQueue = new Promise<void>((done) => gone.push(done));
    const leftQueueAtMs = clock();
    waiting.destroy();
    await leftQueue;
    inQueue.push(clock() - leftQueueAtMs);

    const answered = new Promise<void>((done) => gone.push(done));
    const leftHandlerAtMs = clock();
    working.destroy();
    await answered;
    const response = await fetch(url, { method: "POST", body: '{"inputs":"report"}' });
    const [abortedAtMs] = (await response.json()) as number[];
    if (abortedAtMs === undefined) throw new Error("The handler's signal did not fire");
    inHandler.push(abortedAtMs - leftHandlerAtMs);
  }
  server.kill();
  await once(server, "exit");
  print("the queue lets it go", inQueue, 10);
  print("the handler's signal fires", inHandler, 50);
}

function post(url: string): ClientRequest {
  const headers = { "content-type": "application/json" };
  const sent = request(url, { method: "POST", headers, agent: false });
  sent.on("error", () => undefined); // it hangs up itself
  sent.end('{"inputs":"wait"}');
  return sent;
}

function print(what: string, timesMs: readonly number[], wantedMs: number): void {
  const sorted = [...timesMs].sort((a, b) => a - b);
  const [p50, p99] = [50, 99].map((percent) => percentileOf(sorted, percent).toFixed(2));
  const isReached = (sorted.at(-1) ?? Infinity) <= wantedMs;
  console.log(
    `${what.padEnd(28)} p50 ${p50} ms  p99 ${p99} ms  slowest ${sorted.at(-1)?.toFixed(2)} ms · wanted ≤ ${wantedMs} ms: ${isReached ? "reached" : "missed"}`,
  );
}

await main();
