/**
 * A load generator: so many connections that each send one request after the other, kept alive.
 *
 * Latencies are the client's, from the request to the answer's last byte. It is a closed loop: a slow answer delays the
 * next request of its connection, so what it shows is what so many patient clients see.
 */
import { Agent, request } from "node:http";

export interface LoadOptions {
  readonly url: URL;
  readonly body: Uint8Array;
  readonly contentType: string;
  /** Connections at once. */
  readonly concurrency: number;
  /** No request is begun later than that, in milliseconds. */
  readonly durationMs: number;
  /** No more requests than that. */
  readonly requests: number;
  /** The longest that an answer is waited for, in milliseconds. */
  readonly timeoutMs?: number;
  /** Breaks it off. */
  readonly signal?: AbortSignal;
  readonly now?: () => number;
}

export interface LoadResult {
  /** From the first request to the last answer, in milliseconds. */
  readonly tookMs: number;
  /** Of answers with a status below 400, in milliseconds, shortest first. */
  readonly latenciesMs: readonly number[];
  /** What the server says of itself in those answers, shortest first; empty where it says nothing. */
  readonly queueMs: readonly number[];
  readonly inferenceMs: readonly number[];
  /** Statuses from 400 on, and the codes of connections that broke, each with how often. */
  readonly errors: Readonly<Record<string, number>>;
  /** The beginning of the first answer that was an error. */
  readonly firstError: string | undefined;
}

const TIMEOUT_MS = 120_000;

/** What is kept of an answer that is an error, in characters. */
const MOST_ERROR_CHARS = 300;

export async function applyLoad(options: LoadOptions): Promise<LoadResult> {
  const { concurrency, durationMs, requests, signal, now = () => performance.now() } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  const latenciesMs: number[] = [];
  const queueMs: number[] = [];
  const inferenceMs: number[] = [];
  const errors: Record<string, number> = {};
  let firstError: string | undefined;
  let begun = 0;
  const startedAtMs = now();

  async function connection(): Promise<void> {
    while (begun < requests && now() - startedAtMs < durationMs && signal?.aborted !== true) {
      begun++;
      const sentAtMs = now();
      const answer = await send(options, agent);
      if (answer.failure !== undefined) {
        errors[answer.failure] = (errors[answer.failure] ?? 0) + 1;
        firstError ??= answer.text;
        continue;
      }
      latenciesMs.push(now() - sentAtMs);
      if (answer.queueMs !== undefined) queueMs.push(answer.queueMs);
      if (answer.inferenceMs !== undefined) inferenceMs.push(answer.inferenceMs);
    }
  }

  try {
    await Promise.all(Array.from({ length: concurrency }, connection));
  } finally {
    agent.destroy();
  }
  const sorted = (values: number[]): number[] => values.sort((a, b) => a - b);
  return {
    tookMs: now() - startedAtMs,
    latenciesMs: sorted(latenciesMs),
    queueMs: sorted(queueMs),
    inferenceMs: sorted(inferenceMs),
    errors,
    firstError,
  };
}

interface Answer {
  /** A status from 400 on, or the code of a connection that broke. */
  readonly failure?: string;
  readonly text?: string;
  readonly queueMs?: number;
  readonly inferenceMs?: number;
}

function send(
  { url, body, contentType, signal, timeoutMs = TIMEOUT_MS }: LoadOptions,
  agent: Agent,
): Promise<Answer> {
  return new Promise((resolve) => {
    const fail = (error: NodeJS.ErrnoException): void =>
      resolve({ failure: error.code ?? error.message, text: error.message });
    const sent = request(
      url,
      {
        method: "POST",
        agent,
        headers: { "content-type": contentType, "content-length": body.byteLength },
        timeout: timeoutMs,
        ...(signal && { signal }),
      },
      (response) => {
        const { statusCode = 0, headers } = response;
        const isError = statusCode >= 400;
        let text = "";
        response.on("data", (chunk: Buffer) => {
          if (isError && text.length < MOST_ERROR_CHARS) text += chunk.toString("utf8");
        });
        response.once("error", fail);
        response.once("end", () =>
          resolve(
            isError
              ? { failure: String(statusCode), text: text.slice(0, MOST_ERROR_CHARS) }
              : timesOf(headers),
          ),
        );
      },
    );
    sent.once("timeout", () =>
      sent.destroy(Object.assign(new Error("No answer"), { code: "TIMEOUT" })),
    );
    sent.once("error", fail);
    sent.end(body);
  });
}

function timesOf(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): Answer {
  const [queueMs, inferenceMs] = ["x-queue-time", "x-inference-time"].map((name) =>
    Number(headers[name] ?? "none"),
  );
  return {
    ...(Number.isFinite(queueMs) && queueMs !== undefined && { queueMs }),
    ...(Number.isFinite(inferenceMs) && inferenceMs !== undefined && { inferenceMs }),
  };
}

/** The value that so many of a hundred do not exceed, by nearest rank; `undefined` of nothing. @param sorted Least first. */
export function percentileOf(sorted: readonly number[], percent: number): number | undefined {
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
}
