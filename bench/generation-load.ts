/**
 * The load generator for texts that are streamed, a process of its own: `streams` clients, each asks again when its text is whole.
 *
 * Every server-sent event is timed as it arrives. A text that is under way when the window opens or closes counts with
 * the tokens that came in between. Servers that put several tokens into one event, or a token into none, say at the end how many
 * there were, and the missing ones are counted then.
 */
import { setTimeout as sleep } from "node:timers/promises";

import { openConnection, toRequest, type Connection } from "./http-connection.ts";
import { toPercentiles } from "./latency.ts";
import { tellBench, type Observation } from "./measurement.ts";

export interface GenerationLoadOrder {
  readonly url: string;
  /** Asked in turn, from the first on; again when they are used up. */
  readonly bodies: readonly {
    /** JSON. */
    readonly body: string;
    /** What must come back. */
    readonly newTokens: number;
  }[];
  readonly streams: number;
  /** Before the window opens; longer where a client still waits for its first token then. */
  readonly warmupSeconds: number;
  readonly seconds: number;
  readonly requestTimeoutMs: number;
}

/** What an event says, in the words of the servers that are asked. */
interface TokenEvent {
  /** The plain routes'. */
  readonly token?: number;
  /** OpenAI's. */
  readonly choices?: readonly { readonly text?: string }[];
  readonly usage?: { readonly completion_tokens: number } | null;
  readonly error?: unknown;
}

/** Counts what is written while it is open. */
export interface Tally {
  isOpen: boolean;
  token(count: number): void;
  firstToken(ms: number): void;
  betweenTokens(ms: number): void;
  answered(ms: number): void;
  failed(reason: string): void;
  toObservation(seconds: number): Observation;
}

export function createTally(): Tally {
  const [latenciesMs, firstMs, betweenMs]: [number[], number[], number[]] = [[], [], []];
  const errors: Record<string, number> = {};
  let tokens = 0;
  return {
    isOpen: true,
    token: (count) => void (tokens += count),
    firstToken: (ms) => void firstMs.push(ms),
    betweenTokens: (ms) => void betweenMs.push(ms),
    answered: (ms) => void latenciesMs.push(ms),
    failed: (reason) => void (errors[reason] = (errors[reason] ?? 0) + 1),
    toObservation: (seconds) => ({
      requests: latenciesMs.length,
      tokens,
      seconds,
      errors,
      latencyMs: toPercentiles(latenciesMs),
      firstTokenMs: toPercentiles(firstMs),
      betweenTokensMs: toPercentiles(betweenMs),
    }),
  };
}

/** Splits a stream into the data of its events. */
export function createEventReader(onData: (data: string) => void): (part: Buffer) => void {
  const decoder = new TextDecoder();
  let rest = "";
  return (part) => {
    rest += decoder.decode(part, { stream: true });
    for (let end = rest.indexOf("\n\n"); end !== -1; end = rest.indexOf("\n\n")) {
      const event = rest.slice(0, end);
      rest = rest.slice(end + 2);
      if (event.startsWith("data:")) onData(event.slice(5).trim());
    }
  };
}

/** Runs one order. */
export async function generateStreams(
  order: GenerationLoadOrder,
  onWindow: (edge: "opened" | "closed") => void,
): Promise<Observation> {
  const url = new URL(order.url);
  const requests = order.bodies.map(({ body, newTokens }) => ({
    bytes: toRequest(url, body),
    newTokens,
  }));
  const connections = new Set<Connection>();
  let next = 0;
  let isDone = false;
  /** Clients that have seen a token. */
  let begun = 0;
  let tally = createTally();

  async function ask(connection: Connection, onToken: () => void): Promise<void> {
    const request = requests[next++ % requests.length];
    if (request === undefined) throw new RangeError("Cannot make load: there are no bodies");
    const sentMs = performance.now();
    let lastMs: number | undefined;
    let events = 0;
    let told: number | undefined;
    let failure: string | undefined;
    const read = createEventReader((data) => {
      if (data === "[DONE]") return;
      const event = JSON.parse(data) as TokenEvent;
      if (event.error !== undefined) failure = "error event";
      told = event.usage?.completion_tokens ?? told;
      const isToken = event.token !== undefined || (event.choices?.[0]?.text ?? "") !== "";
      if (!isToken) return;
      const nowMs = performance.now();
      events++;
      onToken();
      if (tally.isOpen) {
        tally.token(1);
        if (lastMs === undefined) tally.firstToken(nowMs - sentMs);
        else tally.betweenTokens(nowMs - lastMs);
      }
      lastMs = nowMs;
    });
    const { status } = await connection.exchange(request.bytes, order.requestTimeoutMs, read);
    if (!tally.isOpen) return;
    const count = told ?? events;
    if (status !== 200) tally.failed(String(status));
    else if (failure !== undefined) tally.failed(failure);
    else if (count !== request.newTokens) tally.failed(`${count} tokens`);
    else {
      tally.token(count - events);
      tally.answered(performance.now() - sentMs);
    }
  }

  /** One client. */
  async function loop(): Promise<void> {
    let connection: Connection | undefined;
    let hasBegun = false;
    const onToken = (): void => {
      if (!hasBegun) begun++;
      hasBegun = true;
    };
    while (!isDone) {
      if (connection?.isOpen !== true) connections.add((connection = openConnection(url)));
      try {
        await ask(connection, onToken);
      } catch (error) {
        if (!isDone) tally.failed(error instanceof Error ? error.name : "unknown");
        connections.delete(connection);
        connection.close();
        await sleep(50); // a server that refuses at once is not asked in a tight loop
      }
    }
  }

  tally.isOpen = false;
  const clients = Array.from({ length: order.streams }, () => loop());
  await sleep(order.warmupSeconds * 1000);
  const latestMs = performance.now() + order.requestTimeoutMs;
  while (begun < order.streams && performance.now() < latestMs) await sleep(5);
  tally = createTally();
  onWindow("opened");
  const startMs = performance.now();
  await sleep(order.seconds * 1000);
  tally.isOpen = false;
  const observation = tally.toObservation((performance.now() - startMs) / 1000);
  onWindow("closed");
  isDone = true;
  for (const connection of connections) connection.close();
  await Promise.all(clients);
  return observation;
}

// As a child: one order, one answer. Imported by a test it does nothing.
if (process.send !== undefined && process.env["BENCH_CHILD"] === "load") {
  process.once("message", (order: GenerationLoadOrder) => {
    generateStreams(order, (type) => tellBench({ type }))
      .then(
        (observation) => tellBench({ type: "observed", observation }),
        (error: unknown) => tellBench({ type: "failed", message: String(error) }),
      )
      .finally(() => process.disconnect());
  });
}
