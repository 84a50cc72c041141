/**
 * What every answer over HTTP must be, whatever was asked.
 */
import { Defect } from "./target.ts";

/** How an answer is told: by whom a path is spoken. */
export type Voice = "openai" | "kserve" | "torchserve" | "huggingface" | "metrics";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

export interface Expectations {
  readonly method: string;
  /** Whose words a refusal must be in; any protocol's where absent. */
  readonly voice?: Voice | undefined;
  /** Statuses from 500 on that are meant so here, besides 501, 503 and 504. */
  readonly permits?: readonly number[];
  /** A status whose answer may have no body, as another server's had none. */
  readonly bare?: number;
  /** What was sent: what stands there may come back. */
  readonly sent: string;
}

const MEANT = new Set([501, 503, 504]);

/** A stack, a path of this machine, a secret. */
const LEAKS = [
  /\n\s+at .{1,200}:\d+:\d+/,
  /node_modules/,
  /node:internal/,
  /file:\/\/\//,
  /\/(?:runtime|test)\/[\w/-]+\.ts/,
  /\bhf_[A-Za-z]{10,}/,
];

const SHAPES: Readonly<Record<Voice, (body: unknown) => boolean>> = {
  openai: (body) =>
    isObject(body) &&
    isObject(body["error"]) &&
    Object.keys(body["error"]).join() === "message,type,param,code" &&
    isSentence(body["error"]["message"]),
  kserve: (body) => isObject(body) && isSentence(body["error"]),
  torchserve: (body) =>
    isObject(body) &&
    Object.keys(body).join() === "code,type,message" &&
    typeof body["code"] === "number" &&
    isSentence(body["message"]),
  huggingface: (body) => isObject(body) && isSentence(body["error"]),
  metrics: (body) => isObject(body) && isSentence(body["error"]),
};

/** @returns The status, as a word for the table. @throws Defect */
export function judge({ status, headers, body }: Answer, expected: Expectations): string {
  const { method, voice, permits = [], bare, sent } = expected;
  const text = Buffer.from(body).toString("utf8");
  const fail = (kind: string): never => {
    throw new Defect(kind, `${status} ${text.slice(0, 600)}`);
  };
  if (status >= 500 && !MEANT.has(status) && !permits.includes(status))
    fail(`status ${status}${voice === undefined ? "" : ` of ${voice}`}`);
  if (status < 200) fail(`status ${status}`);
  // What the gate says of a head that it could not read has no request that an id could belong to.
  const isRequest = status !== 431 && status !== 408;
  if (isRequest && !/^[\x21-\x7e]{1,128}$/.test(headers.get("x-request-id") ?? ""))
    fail("no x-request-id");
  for (const leak of LEAKS) {
    const found = leak.exec(text)?.[0];
    if (found !== undefined && !sent.includes(found)) fail(`a leak like ${leak}`);
  }
  const isBodiless = method === "HEAD" || [204, 205, 304].includes(status);
  if (isBodiless && body.byteLength > 0) fail("a body where there is none");
  if (isBodiless || (status === bare && body.byteLength === 0)) return String(status);
  const type = headers.get("content-type") ?? "";
  let value: unknown;
  if (/^application\/(?:[\w.-]+\+)?json/.test(type)) {
    try {
      value = JSON.parse(text);
    } catch {
      fail("a body that is not its JSON");
    }
  }
  // A handler's own status may come with any body; no fake sets one.
  if (status >= 400 && !isHealth(value)) {
    const shapes = voice === undefined || !isRequest ? Object.values(SHAPES) : [SHAPES[voice]];
    if (!shapes.some((fits) => fits(value))) fail(`a refusal that is not ${voice ?? "anybody"}'s`);
  }
  return String(status);
}

/** What health says while a model is not ready has no error. */
function isHealth(body: unknown): boolean {
  return isObject(body) && ("status" in body || "ready" in body);
}

/** Whose words a path's refusals are in; `undefined` where it is not so plain. */
export function voiceOf(path: string, isOriginal = false): Voice | undefined {
  const [bare = ""] = path.split("?");
  if (/^\/v2(?:\/|$)/.test(bare) || bare.startsWith("/v1/models/")) return "kserve";
  if (/^\/(?:openai\/)?v1(?:\/|$)/.test(bare)) return "openai";
  if (
    /^\/(?:ping|api-description|predictions|explanations|invocations|models|wfpredict)(?:\/|$)/.test(
      bare,
    )
  )
    return "torchserve";
  if (/\/predict(?:\/|$)/.test(bare) && !/^\/predict\/?$/.test(bare)) return undefined;
  return isOriginal ? undefined : "huggingface";
}

function isSentence(value: unknown): boolean {
  return typeof value === "string" && value.length > 0;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
