/**
 * Hugging Face's own clients against a real server: the JavaScript one, what the Python one puts on the wire, and the
 * Python one itself where there is a Python that has it.
 *
 * `PYTHON` names the interpreter to try; `python3` is tried by default.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { InferenceClient, type InferenceClientEndpoint } from "@huggingface/inference";
import { modelPath } from "./goldens.ts";
import { startHubserve } from "./hubserve.ts";

/** What a test of one task is given. */
export interface Clients {
  readonly url: string;
  readonly javascript: InferenceClientEndpoint;
  /** Sends a request as Python's client does, as recorded from `huggingface_hub` 1.33; the answer must be a 200. */
  readonly wire: (
    body: object | Uint8Array,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<Response>;
}

/** One call of a method of Python's client, and a look at what it returned. */
export interface PythonCall {
  readonly method: string;
  /** `{ $file: path }` stands for the file's bytes. */
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly check: (result: never) => void;
}

export interface ClientsOptions {
  /** The task, as `--task` and as the test's name. */
  readonly task: string;
  /** A folder in `test/fixtures/models`, or another one. */
  readonly model: string;
  readonly args?: readonly string[];
  readonly run: (clients: Clients) => Promise<void>;
  readonly python: readonly PythonCall[];
}

const PYTHON = process.env["PYTHON"] ?? "python3";

/** Why Python's client cannot be run here, or `false`. */
export const noPython = findPython();

function findPython(): string | false {
  const { status } = spawnSync(PYTHON, ["-c", "import huggingface_hub, numpy, PIL"]);
  return status === 0
    ? false
    : `${PYTHON} has no huggingface_hub, numpy and Pillow; name one that has as PYTHON`;
}

/** One server for a task, asked by everybody. */
export function testClients({ task, model, args = [], run, python }: ClientsOptions): void {
  test(`Hugging Face's clients get what they parse: ${task}`, async (t) => {
    const folder = model.startsWith("/") ? model : modelPath(model);
    const fixed = ["--task", task, "--workers", "1", "--threads", "1"];
    await using server = await startHubserve({ args: [folder, ...fixed, ...args] });
    await server.line(/Ready after/);
    const { url } = server;
    await t.test("JavaScript's client, and Python's requests", () =>
      run({ url, javascript: new InferenceClient("hf_anyToken").endpoint(url), wire: wireTo(url) }),
    );
    await t.test("Python's client", { skip: noPython }, () => askPython(url, python));
  });
}

/** Makes the calls and checks what each returned. */
export async function askPython(url: string, calls: readonly PythonCall[]): Promise<void> {
  const answers = await callPython(url, calls);
  for (const [index, { method, check }] of calls.entries()) {
    const answer = answers[index];
    assert.ok(answer !== undefined && "result" in answer, `${method}: ${answer?.error}`);
    check(answer.result as never); // each check names the shape that it expects
  }
}

function wireTo(url: string): Clients["wire"] {
  return async (body, headers = {}) => {
    const isBytes = body instanceof Uint8Array;
    const response = await fetch(url, {
      method: "POST",
      headers: {
        accept: "*/*",
        authorization: "Bearer hf_anyToken",
        "user-agent": "unknown/None; hf_hub/1.33.0; python/3.11.7; torch/2.5.1",
        "x-amzn-trace-id": "0a1b2c3d",
        ...(isBytes ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      body: isBytes ? (body as BodyInit) : JSON.stringify(body),
    });
    if (response.status !== 200) assert.fail(`${response.status}: ${await response.text()}`);
    return response;
  };
}

async function callPython(
  url: string,
  calls: readonly PythonCall[],
): Promise<readonly { result?: unknown; error?: string }[]> {
  const script = fileURLToPath(new URL("./python-client.py", import.meta.url));
  const child = spawn(PYTHON, [script], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(JSON.stringify({ url, calls }));
  const lines = (await text(child.stdout)).trim().split("\n");
  return lines.map((line) => JSON.parse(line) as { result?: unknown; error?: string });
}

/** A file of the goldens, as bytes and as a path. */
export function golden(file: string): { readonly path: string; readonly bytes: Uint8Array } {
  const path = modelPath(`_expected/${file}`);
  return { path, bytes: new Uint8Array(readFileSync(path)) };
}

/** Asserts that a value is a list of objects, each with these keys of these types. */
export function assertList(
  value: unknown,
  keys: Readonly<Record<string, "string" | "number" | "object">>,
): void {
  assert.ok(Array.isArray(value) && value.length > 0, `a list, found ${JSON.stringify(value)}`);
  for (const element of value as readonly Record<string, unknown>[])
    for (const [key, type] of Object.entries(keys)) assert.equal(typeof element[key], type, key);
}
