/**
 * Real models in real workers behind the real program, asked over a socket: what passes every protocol's checks must pass the task's too.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

import { modelPath } from "../support/goldens.ts";
import { startHubserve } from "../support/hubserve.ts";
import { EXAMPLES, FILES, type Ask } from "../support/task-examples.ts";
import { formOf } from "./http-seeds.ts";
import { judge, voiceOf } from "./oracle.ts";
import {
  makeRequest,
  showRequest,
  toGrammar,
  type FuzzedRequest,
  type SeedRequest,
} from "./request.ts";
import { plainRecipes, type Session, type Target } from "./target.ts";

/** Tasks that differ in what they read, and how. */
const TASKS = [
  "text-classification",
  "token-classification",
  "question-answering",
  "fill-mask",
  "zero-shot-classification",
  "feature-extraction",
  "sentence-similarity",
  "text-generation",
  "text2text-generation",
  "translation",
  "image-classification",
  "object-detection",
  "image-segmentation",
  "zero-shot-image-classification",
  "image-to-text",
  "audio-classification",
  "automatic-speech-recognition",
  "text-to-audio",
  "document-question-answering",
] as const;

/** Several models generate; a long text is many steps. */
const CASE_MS = 60_000;

export const REAL_TARGETS: readonly Target[] = [
  ...TASKS.map((task) => realTarget(task)),
  { name: "real custom", open: openCustom },
];

function realTarget(task: string): Target {
  return {
    name: `real ${task}`,
    caseMs: CASE_MS,
    open: async () => {
      const { model = "", ask } = EXAMPLES[task]!; // the keys of TASKS are keys of it
      const folder = model.startsWith("/") ? model : modelPath(model);
      return openServer(folder, ["--task", task], (name) => seedsOf(ask, name, task));
    },
  };
}

const HANDLER = `export class EndpointHandler {
  async call(data) {
    const several = [data.instances, data.inputs].find(Array.isArray);
    if (several !== undefined) return several.map(() => 1); // one for each, as V1 wants
    return { type: typeof data.inputs, keys: Object.keys(data), data };
  }
}
`;

async function openCustom(): Promise<Session> {
  const folder = await mkdtemp(join(tmpdir(), "hubserve-fuzz-"));
  await writeFile(join(folder, "handler.ts"), HANDLER);
  const ask: Ask = { json: { inputs: { a: [1, "b"] }, parameters: { c: null } } };
  const session = await openServer(folder, [], (name) => seedsOf(ask, name, ""));
  return {
    ...session,
    async [Symbol.asyncDispose]() {
      await session[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function openServer(
  folder: string,
  args: readonly string[],
  seedsFor: (name: string) => readonly SeedRequest[],
): Promise<Session> {
  const server = await startHubserve({
    args: [folder, ...args, "--workers", "1", "--threads", "1", "--request-timeout", "20s"],
  }).catch((error: unknown) => {
    throw new Error(`the server for ${basename(folder)} does not start`, { cause: error });
  });
  const name = await untilReady(server.url);
  const seeds = seedsFor(name);
  const grammar = toGrammar(seeds);

  async function ask(made: FuzzedRequest): Promise<string> {
    const response = await send(server.url, made);
    if (response === undefined) return "unsendable";
    const body = new Uint8Array(await response.arrayBuffer());
    return judge(
      { status: response.status, headers: response.headers, body },
      {
        method: made.method,
        voice: made.isPathKept ? voiceOf(made.path) : undefined,
        sent: Buffer.from(showRequest(made)).toString("utf8"),
      },
    );
  }

  return {
    first: plainRecipes(seeds.length),
    show: (recipe) => showRequest(makeRequest(recipe, grammar)),
    run: (recipe) => ask(makeRequest(recipe, grammar)),
    async assertHealthy() {
      const status = await ask(makeRequest({ seed: 0, steps: [] }, grammar));
      if (status !== "200") throw new Error(`a normal request is answered ${status}`);
      const died = server.lines.filter(
        (line) => /worker/i.test(line) && /ended|died|killed|signal/i.test(line),
      );
      if (died.length > 0) throw new Error(`workers died: ${died.slice(0, 5).join("\n")}`);
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
    },
  };
}

async function untilReady(url: string): Promise<string> {
  for (;;) {
    const response = await fetch(`${url}/health`);
    const { status, model } = (await response.json()) as { status: string; model: string };
    if (response.ok) return model;
    if (status === "failed") throw new Error("the model cannot be loaded");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** What `fetch` decides by itself. */
const ITS_OWN = new Set(["content-length", "host", "expect", "connection", "transfer-encoding"]);

async function send(
  url: string,
  { method, path, headers, body }: FuzzedRequest,
): Promise<Response | undefined> {
  let request: Request;
  try {
    const sent = headers
      .filter(([name]) => !ITS_OWN.has(name))
      .map(([name, value]): [string, string] => [name, value]);
    request = new Request(`${url}${path}`, {
      method,
      headers: sent,
      ...(body !== undefined && { body: body as BodyInit }),
    });
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
  return fetch(request);
}

/** A task's example on every protocol that takes it. */
function seedsOf(ask: Ask, name: string, task: string): readonly SeedRequest[] {
  const at = encodeURIComponent(name);
  const post = (path: string, json: unknown): SeedRequest => ({ method: "POST", path, json });
  const everywhere = (data: Readonly<Record<string, unknown>>): readonly SeedRequest[] => [
    post("/", data),
    post("/", { ...data, inputs: [data["inputs"], data["inputs"]] }),
    post(`/predictions/${at}`, { data: data["inputs"], parameters: data["parameters"] ?? {} }),
    post(`/v1/models/${at}:predict`, {
      instances: [data["inputs"]],
      parameters: data["parameters"] ?? {},
    }),
    post(`/v2/models/${at}/infer`, {
      inputs: Object.entries(
        isFields(data["inputs"]) ? data["inputs"] : { text: data["inputs"] },
      ).map(([key, value]) => {
        const values = (Array.isArray(value) ? value : [value]).map((each) =>
          typeof each === "string" ? each : JSON.stringify(each),
        );
        return { name: key, datatype: "BYTES", shape: [values.length], data: values };
      }),
      parameters: data["parameters"] ?? {},
    }),
  ];
  const more: readonly SeedRequest[] = [
    ...(task === "feature-extraction"
      ? [post("/v1/embeddings", { input: ["a", "b"], dimensions: 2, encoding_format: "base64" })]
      : []),
    ...(task === "feature-extraction" || task === "sentence-similarity"
      ? [post("/v1/rerank", { query: "a", documents: ["b", "c"] })]
      : []),
    ...(task === "text-generation"
      ? [
          post("/v1/completions", {
            prompt: "The dog",
            max_tokens: 4,
            temperature: 0.5,
            top_p: 0.9,
            n: 2,
            logprobs: 2,
            stop: ["a"],
            seed: 1,
            logit_bias: { "5": 2 },
          }),
          post("/v1/completions", { prompt: [[1, 2]], max_tokens: 4, stream: true, echo: true }),
          post("/generate", {
            inputs: "The",
            parameters: {
              max_new_tokens: 4,
              details: true,
              decoder_input_details: true,
              top_n_tokens: 2,
            },
          }),
          post("/", {
            inputs: "The",
            stream: true,
            parameters: {
              max_new_tokens: 4,
              num_beams: 2,
              no_repeat_ngram_size: 2,
              min_new_tokens: 1,
            },
          }),
        ]
      : []),
    ...(task.includes("classification")
      ? [post(`/explanations/${at}`, { data: "a", target: 0, n_steps: 3 })]
      : []),
    {
      method: "POST",
      path: "/",
      headers: { "content-type": "text/plain" },
      bytes: new Uint8Array(Buffer.from("some text")),
    },
  ];
  if ("json" in ask) return [...everywhere(ask.json), ...more];
  const { name: file, path } = FILES[ask.file];
  const bytes = new Uint8Array(readFileSync(path));
  const kind = ask.file === "image" ? "image/png" : "audio/wav";
  const base64 = Buffer.from(bytes).toString("base64");
  const fields =
    "form" in ask ? ask.form : Object.fromEntries(new URLSearchParams(ask.query ?? ""));
  const { question, candidate_labels: labels, ...texts } = fields;
  // What a query has as text JSON has as numbers.
  const parameters = Object.fromEntries(
    Object.entries(texts).map(([key, value]) => [
      key,
      Number.isNaN(Number(value)) ? value : Number(value),
    ]),
  );
  const data = {
    inputs: question === undefined ? base64 : { question, [ask.file]: base64 },
    parameters: {
      ...parameters,
      ...(labels !== undefined && { candidate_labels: labels.split(",") }),
    },
  };
  const query = new URLSearchParams(fields).toString();
  const form = formOf([
    ...Object.entries(fields).map(([key, value]) => [`name="${key}"`, value] as const),
    [`name="file"; filename="${file}"\r\nContent-Type: ${kind}`, bytes],
  ]);
  return [
    ...everywhere(data),
    { method: "POST", path: `/?${query}`, headers: { "content-type": kind }, bytes },
    {
      method: "POST",
      path: `/predictions/${at}`,
      headers: { "content-type": "multipart/form-data; boundary=x" },
      bytes: form,
    },
    {
      method: "POST",
      path: "/",
      headers: { "content-type": "multipart/form-data; boundary=x" },
      bytes: form,
    },
    ...more,
  ];
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
