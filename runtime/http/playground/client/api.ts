/**
 * The server, as the page asks it: with the visitor's key where one is wanted, and failures told in the server's own words.
 */
import type { JsonValue } from "../../../inference.ts";
import type { ShownModel } from "../wire.ts";
import { isFields, textIn } from "./json.ts";

/** Something to show the visitor. */
export class Refusal extends Error {
  /** Takes the visitor to what is to be mended. */
  readonly mend: (() => void) | undefined;

  constructor(text: string, mend?: () => void) {
    super(text);
    this.mend = mend;
  }
}

export interface Api {
  get(path: string): Promise<Response>;
  /** Without asking for a key: what is refused is refused. */
  peek(path: string, signal: AbortSignal): Promise<Response>;
  post(path: string, body: JsonValue, options?: PostOptions): Promise<Response>;
  readonly hasKey: boolean;
}

interface PostOptions {
  readonly signal?: AbortSignal;
  readonly accept?: string;
}

/** Kept for this tab alone. */
const KEY = "hubserve-key";

/** @param askForKey Settles with what the visitor typed; `undefined` if nothing. */
export function createApi(askForKey: () => Promise<string | undefined>): Api {
  let key = read();
  let asking: Promise<string | undefined> | undefined;

  async function sendOnce(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    if (key !== "") headers.set("authorization", `Bearer ${key}`);
    return fetch(path, { ...init, headers }).catch((error: unknown) => {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new Refusal("The server cannot be reached");
    });
  }

  async function send(path: string, init: RequestInit = {}): Promise<Response> {
    for (;;) {
      const sent = key;
      const response = await sendOnce(path, init);
      if (response.status !== 401) return response;
      if (key !== sent) continue; // another request has asked meanwhile
      asking ??= askForKey().finally(() => (asking = undefined));
      const given = await asking;
      if (given === undefined) throw new Refusal(await explain(response));
      key = given;
      store(given);
    }
  }

  return {
    get: async (path) => send(path),
    peek: async (path, signal) => sendOnce(path, { signal }),
    post: (path, body, { signal, accept = "*/*" } = {}) =>
      send(path, {
        method: "POST",
        headers: { "content-type": "application/json", accept },
        body: JSON.stringify(body),
        ...(signal && { signal }),
      }),
    get hasKey() {
      return key !== "";
    },
  };
}

/** @throws Refusal unless the answer is a good one. */
export async function assertGood(response: Response): Promise<Response> {
  if (response.ok) return response;
  throw new Refusal(await explain(response));
}

/** The sentence of an error body, whichever protocol's it is. */
async function explain(response: Response): Promise<string> {
  const text = await response.text();
  const body = parse(text);
  const sentence = sentenceOf(body) ?? (isFields(body) ? textIn(body, "message") : undefined);
  return sentence ?? (text.slice(0, 500) || `The server answered ${response.status}`);
}

export function sentenceOf(body: JsonValue | undefined): string | undefined {
  if (!isFields(body)) return undefined;
  const { error } = body;
  return isFields(error) ? textIn(error, "message") : textIn(body, "error");
}

export function parse(text: string): JsonValue | undefined {
  try {
    return JSON.parse(text) as JsonValue; // out of JSON
  } catch {
    return undefined;
  }
}

/** Where a model takes requests of its task: the first one at `/`, others by their name. */
export function pathOf({ isFirst, isDefaultVersion, name, version }: ShownModel): string {
  if (isFirst) return "/";
  const path = `/predictions/${name.split("/").map(encodeURIComponent).join("/")}`;
  return isDefaultVersion ? path : `${path}/${encodeURIComponent(version)}`;
}

/** A browser may refuse to keep anything; then the key lasts as long as the page. */
function read(): string {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function store(key: string): void {
  try {
    sessionStorage.setItem(KEY, key);
  } catch {
    // as above
  }
}
