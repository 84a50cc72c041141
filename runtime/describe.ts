/**
 * `hubserve describe`: asks a running server what it serves and prints it for a person, or as JSON for a script.
 */
import { z } from "zod";

import type { Surroundings } from "./config.ts";
import { splitKeys, WANTED_KEYS } from "./api-key-text.ts";
import { RuntimeError, systemCodeOf } from "./errors.ts";
import { printResult } from "./observe/log.ts";

/** What `GET /info` says; a server of another version may say less. */
const Info = z.looseObject({
  model_id: z.string(),
  model_sha: z.string().nullish(),
  model_dtype: z.string().nullish(),
  model_pipeline_tag: z.string().nullish(),
  handler: z.string().nullish(),
  status: z.string(),
  workers: z.object({ ready: z.number(), starting: z.number() }).nullish(),
  requests: z.object({ waiting: z.number(), running: z.number() }).nullish(),
  batching: z
    .looseObject({
      kind: z.string(),
      concurrency: z.number().optional(),
      runs: z.number().optional(),
      fixed_ms: z.number().optional(),
      ms_per_token: z.number().optional(),
      characters_per_token: z.number().optional(),
      budget_tokens: z.number().optional(),
    })
    .nullish(),
  version: z.string().nullish(),
});
type Info = z.infer<typeof Info>;

const DEFAULT_URL = "http://localhost:8080";

/** @returns The exit code. */
export async function describeServer({ args, env }: Surroundings): Promise<number> {
  const { url, isJson } = readArguments(args);
  const keys = env["HUBSERVE_API_KEY"] || env["HUBSERVE_API_KEYS"];
  const info = await ask(url, keys === undefined ? undefined : firstKey(keys));
  printResult(isJson ? JSON.stringify(info) : describe(info));
  return 0;
}

function readArguments(args: readonly string[]): { url: string; isJson: boolean } {
  const unknown = args.find((arg) => arg.startsWith("-") && arg !== "--json");
  const [url = DEFAULT_URL, ...more] = args.filter((arg) => !arg.startsWith("-"));
  if (unknown !== undefined || more.length > 0) {
    const found = unknown ?? more[0] ?? "";
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot describe the server: found "${found}", wanted an address such as ${DEFAULT_URL}, and --json`,
    );
  }
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot describe the server: "${url}" is not an address such as ${DEFAULT_URL}`,
    );
  }
  return { url, isJson: args.includes("--json") };
}

/** @throws RuntimeError `INVALID_OPTION` */
function firstKey(text: string): string | undefined {
  try {
    return splitKeys(text)[0];
  } catch {
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot read HUBSERVE_API_KEY: found a value that does not fit, wanted ${WANTED_KEYS}`,
    );
  }
}

async function ask(url: string, key: string | undefined): Promise<Info> {
  let answer: unknown;
  let isRefused = false;
  try {
    const response = await fetch(new URL("/info", url), {
      signal: AbortSignal.timeout(10_000),
      ...(key !== undefined && { headers: { "x-api-key": key } }),
    });
    isRefused = response.status === 401;
    answer = await response.json();
  } catch (error) {
    const reason =
      systemCodeOf(error instanceof Error ? error.cause : error) ?? "no JSON came back";
    throw new RuntimeError("NOT_READY", `Cannot describe the server at ${url}: ${reason}`, {
      cause: error,
    });
  }
  if (isRefused) {
    const found = key === undefined ? "it wants an API key" : "it does not know the API key";
    throw new RuntimeError(
      "UNAUTHORIZED",
      `Cannot describe the server at ${url}: ${found}; set HUBSERVE_API_KEY to one of its keys`,
    );
  }
  const info = Info.safeParse(answer);
  if (info.success) return info.data;
  throw new RuntimeError(
    "NOT_READY",
    `Cannot describe the server at ${url}: what it says at /info is not what hubserve says`,
  );
}

function describe(info: Info): string {
  const { workers, requests, batching } = info;
  const rows: (readonly [string, string | null | undefined])[] = [
    ["model", [info.model_id, info.model_sha ?? ""].join(" ").trim()],
    ["task", info.model_pipeline_tag ?? undefined],
    ["handler", info.handler ?? undefined],
    ["dtype", info.model_dtype ?? undefined],
    ["state", info.status],
    [
      "workers",
      workers &&
        `${workers.ready} ready${workers.starting > 0 ? `, ${workers.starting} starting` : ""}`,
    ],
    ["requests", requests && `${requests.running} running, ${requests.waiting} waiting`],
    ["batches", batching === null ? undefined : describeBatching(batching)],
    ["version", info.version ?? undefined],
  ];
  return rows
    .flatMap(([name, text]) =>
      text === undefined || text === null ? [] : [`${name.padEnd(10)}${text}`],
    )
    .join("\n");
}

function describeBatching(batching: Info["batching"]): string | undefined {
  if (!batching) return undefined;
  if (batching.kind === "single")
    return `none; ${batching.concurrency ?? 1} at once in each worker`;
  if ((batching.runs ?? 0) === 0) return "by length; nothing learned yet";
  return (
    `by length, up to ${batching.budget_tokens} tokens; learned from ${batching.runs} runs: ` +
    `${batching.fixed_ms} ms a run and ${batching.ms_per_token} ms a token, ${batching.characters_per_token} characters a token`
  );
}
