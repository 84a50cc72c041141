/**
 * The load generator, a process of its own: closed loop (`concurrency` clients, each sends its next request when the
 * last was answered) or open loop (requests come when they come, as users do).
 *
 * Open-loop latency counts from the moment a request was due, not from when it was sent: a server that stalls cannot
 * hide the requests that wait in front of it. Every window is bounded in time and in requests.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { openConnection, toRequest, type Connection } from "./http-connection.ts";
import { toPercentiles } from "./latency.ts";
import { tellBench, type Observation } from "./measurement.ts";
import { createRandom, drawGap, type Random } from "./random.ts";

export interface LoadBody {
  /** JSON. */
  readonly body: string;
  readonly tokens: number;
}

export type Arrivals =
  | { readonly kind: "closed"; readonly concurrency: number }
  /** Poisson arrivals. */
  | { readonly kind: "open"; readonly ratePerSecond: number; readonly seed: number };

export interface LoadOrder {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent in turn, from the first on; again when they are used up. */
  readonly bodies: readonly LoadBody[];
  readonly arrivals: Arrivals;
  /** Sent before the window opens. */
  readonly warmupSeconds: number;
  readonly seconds: number;
  readonly mostRequests: number;
  readonly requestTimeoutMs: number;
  /** Answers are server-sent events whose first has the time of its making under `at`. */
  readonly areEvents?: boolean;
}

/** An open loop opens a connection for each request under way; above that many a request counts as not sent. */
const MOST_CONNECTIONS = 1000;

/** Runs one order. */
export async function generateLoad(
  order: LoadOrder,
  onWindow: (edge: "opened" | "closed") => void,
): Promise<Observation> {
  const url = new URL(order.url);
  const requests = order.bodies.map(({ body, tokens }) => ({
    bytes: toRequest(url, body, order.headers),
    tokens,
  }));
  const idle: Connection[] = [];
  const connections = new Set<Connection>();
  let next = 0;
  let window = createWindow();

  /** @param dueMs When the request was due; its latency counts from then. */
  async function sendOne(dueMs = performance.now()): Promise<void> {
    const request = requests[next++ % requests.length];
    if (request === undefined) throw new RangeError("Cannot make load: there are no bodies");
    const connection = idle.pop() ?? openConnection(url);
    connections.add(connection);
    const watch = order.areEvents === true ? watchEvents(window) : undefined;
    try {
      const { status } = await connection.exchange(request.bytes, order.requestTimeoutMs, watch);
      if (window.isOpen) window.answered(status, performance.now() - dueMs, request.tokens);
    } catch (error) {
      if (window.isOpen) window.failed(error instanceof Error ? codeOf(error) : "unknown");
    }
    if (connection.isOpen) idle.push(connection);
    else connections.delete(connection);
  }

  /** One client of a closed loop. */
  async function loop(endMs: number): Promise<void> {
    while (performance.now() < endMs && next < order.mostRequests) {
      const before = performance.now();
      await sendOne();
      // A server that refuses at once would otherwise be asked in a tight loop.
      if (performance.now() - before < 0.05) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** The window opens and closes while the clients go on: what is counted is what was answered in between. */
  async function runClosed(concurrency: number): Promise<Observation> {
    const endMs = performance.now() + (order.warmupSeconds + order.seconds) * 1000;
    const isCold = order.warmupSeconds === 0;
    let startMs = isCold ? openWindow() : NaN;
    const clients = Promise.all(Array.from({ length: concurrency }, () => loop(endMs)));
    if (!isCold) {
      await Promise.race([clients, bound(order.warmupSeconds)]);
      startMs = openWindow();
    }
    await Promise.race([clients, bound(order.seconds)]);
    return closeWindow(startMs);
  }

  async function arrive(ratePerSecond: number, random: Random, seconds: number): Promise<void> {
    const underWay = new Set<Promise<void>>();
    let dueMs = performance.now();
    const endMs = dueMs + seconds * 1000;
    for (;;) {
      dueMs += drawGap(random, ratePerSecond) * 1000;
      if (dueMs > endMs || next >= order.mostRequests) break;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) await sleep(waitMs);
      if (underWay.size >= MOST_CONNECTIONS) {
        window.failed("not sent");
        continue;
      }
      const sent = sendOne(dueMs).finally(() => underWay.delete(sent));
      underWay.add(sent);
    }
    await Promise.all(underWay); // all that came are answered for
  }

  async function runOpen(ratePerSecond: number, seed: number): Promise<Observation> {
    await arrive(ratePerSecond, createRandom(seed + 1), order.warmupSeconds);
    const startMs = openWindow();
    await arrive(ratePerSecond, createRandom(seed), order.seconds);
    return closeWindow(startMs);
  }

  function openWindow(): number {
    window = createWindow();
    next = 0;
    onWindow("opened");
    return performance.now();
  }

  function closeWindow(startMs: number): Observation {
    const seconds = (performance.now() - startMs) / 1000;
    window.isOpen = false;
    onWindow("closed");
    return window.toObservation(seconds, order.areEvents === true);
  }

  const { arrivals } = order;
  try {
    return await (arrivals.kind === "closed"
      ? runClosed(arrivals.concurrency)
      : runOpen(arrivals.ratePerSecond, arrivals.seed));
  } finally {
    for (const connection of connections) connection.close();
  }
}

/** Does not keep the process alive when the clients are done before. */
function bound(seconds: number): Promise<void> {
  return sleep(seconds * 1000, undefined, { ref: false });
}

interface Window {
  isOpen: boolean;
  answered(status: number, latencyMs: number, tokens: number): void;
  failed(reason: string): void;
  event(count: number): void;
  firstEvent(delayMs: number): void;
  toObservation(seconds: number, hasEvents: boolean): Observation;
}

function createWindow(): Window {
  const latenciesMs: number[] = [];
  const firstEventsMs: number[] = [];
  const errors: Record<string, number> = {};
  let [tokens, events] = [0, 0];
  const window: Window = {
    isOpen: true,
    answered(status, latencyMs, length) {
      if (status !== 200) return window.failed(String(status));
      latenciesMs.push(latencyMs);
      tokens += length;
    },
    failed: (reason) => void (errors[reason] = (errors[reason] ?? 0) + 1),
    event: (count) => void (events += count),
    firstEvent: (delayMs) => void firstEventsMs.push(delayMs),
    toObservation: (seconds, hasEvents) => ({
      requests: latenciesMs.length,
      tokens,
      seconds,
      errors,
      latencyMs: toPercentiles(latenciesMs),
      ...(hasEvents && { events, firstEventMs: toPercentiles(firstEventsMs) }),
    }),
  };
  return window;
}

/** Counts a response's events; the first tells when the handler made it, on the machine's clock. */
function watchEvents(window: Window): (part: Buffer) => void {
  let isFirst = true;
  let endedInBreak = false;
  return (part) => {
    if (!window.isOpen) return;
    if (isFirst) {
      isFirst = false;
      const at = /"at":([\d.]+)/.exec(part.toString("latin1", 0, 200))?.[1];
      if (at !== undefined)
        window.firstEvent(performance.timeOrigin + performance.now() - Number(at));
    }
    let count = endedInBreak && part[0] === 10 ? 1 : 0;
    for (let at = part.indexOf("\n\n"); at !== -1; at = part.indexOf("\n\n", at + 2)) count++;
    endedInBreak = part.at(-1) === 10 && part.at(-2) !== 10;
    window.event(count);
  };
}

function codeOf(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}

// As a child: one order, one answer. Imported by a test it does nothing.
if (process.send !== undefined && process.env["BENCH_CHILD"] === "load") {
  process.once("message", (order: LoadOrder) => {
    generateLoad(order, (type) => tellBench({ type }))
      .then(
        (observation) => tellBench({ type: "observed", observation }),
        (error: unknown) => tellBench({ type: "failed", message: String(error) }),
      )
      .finally(() => process.disconnect());
  });
}
