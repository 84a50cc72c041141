/**
 * `hubserve types`: what a model takes and answers, as TypeScript, for whoever calls it.
 *
 * Asks a running server (`/openapi.json`), or loads a repository and asks its handler. The types are those of `POST /`: the task's own
 * schemas, or what a custom handler's `static inputs` and `static parameters` say.
 */
import type { Config, Surroundings } from "../config.ts";
import { messageOf, RuntimeError, systemCodeOf } from "../errors.ts";
import type { JsonValue, ModelDescription } from "../inference.ts";
import { createLog, printResult, type Log } from "../observe/log.ts";
import { createProgressLine } from "../observe/progress.ts";
import { VERSION } from "../version.ts";
import { readArguments, refuse } from "./arguments.ts";
import { TYPES } from "./manual.ts";
import { declareTypes } from "./type-declarations.ts";

/** What is declared, and of whom. */
interface Subject {
  readonly name: string;
  /** `text-classification`, or who answers instead. */
  readonly what: string;
  /** Where references of the two lead. */
  readonly document: JsonValue;
  readonly body: JsonValue;
  readonly answer: JsonValue;
}

const ACTION = "write the types";

/** @returns The exit code. */
export async function runTypes(surroundings: Surroundings): Promise<number> {
  const given = readArguments("types", TYPES, surroundings, 1);
  const { words, config } = given;
  const log = createLog({
    level: config.logLevel,
    format: config.logFormat,
    secrets: [...(config.token === undefined ? [] : [config.token]), ...(config.apiKeys ?? [])],
  });
  const [word = "."] = words;
  const model = given.value("model");
  const isAddress = /^https?:\/\//.test(word);
  if (!isAddress && model !== undefined)
    throw refuse("types", `"--model" chooses among the models of a server, found "${word}"`);
  const subject = isAddress
    ? await describeServed(word, model, config.apiKeys?.[0])
    : await describeRepository(config, log);
  printResult(toDeclarations(subject));
  return 0;
}

export function toDeclarations({ name, what, document, body, answer }: Subject): string {
  const types = declareTypes(document, { PredictBody: body, PredictAnswer: answer });
  const title = `${name}: ${what}`.replaceAll(/\s+/g, " ").replaceAll("*/", "*\\/");
  return `/**
 * What \`POST /\` takes and answers. ${title}.
 *
 * Written by \`hubserve types\` ${VERSION}. A module of the same name may hold the function:
 *
 *     export async function predict(body) {
 *       const headers = { "content-type": "application/json" };
 *       const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
 *       if (!response.ok) throw new Error((await response.json()).error);
 *       return response.json();
 *     }
 */

/** Asks the model. */
export declare function predict(body: PredictBody): Promise<PredictAnswer>;

${types}

/** What is answered, with a status from 400 on, when something fails. */
export type PredictError = {
  /** A sentence. */
  error: string;
  /** The code of the failure, such as \`INVALID_INPUT\`. */
  error_type: string;
};`;
}

async function describeRepository(config: Config, log: Log): Promise<Subject> {
  const [{ prepareRepository }, { loadHandler }, { createComponents }, { describePredict }] =
    await Promise.all([
      import("../repository/resolve.ts"),
      import("../handler/load.ts"),
      import("../http/openapi/components.ts"),
      import("../http/openapi/predict.ts"),
    ]);
  const { name, load } = await prepareRepository({
    settings: config,
    signal: new AbortController().signal,
    log,
    drawDownload: createProgressLine(),
  });
  const handler = await loadHandler(load, log);
  await handler.dispose();
  const { description } = handler;
  const components = createComponents();
  const { body, answer } = describePredict(components, description, { dialect: config.dialect });
  const document = { components: { schemas: components.schemas } };
  return { name, what: whatOf(description), document, body, answer };
}

function whatOf({ handler, handlerFile, task }: Partial<ModelDescription>): string {
  return handler === "custom" ? (handlerFile ?? "its own handler") : (task ?? "its graph");
}

/** No description is larger. */
const LARGEST_BYTES = 16 * 1024 * 1024;
const PATIENCE_MS = 10_000;

async function describeServed(
  url: string,
  model: string | undefined,
  key: string | undefined,
): Promise<Subject> {
  const document = await readDescription(url, key);
  const list = isFields(document) ? document["x-hubserve-models"] : undefined;
  if (!Array.isArray(list))
    throw failed(url, "what it says at /openapi.json is not what hubserve says");
  const models = list.filter(isFields);
  const found = model === undefined ? models[0] : models.find(({ name }) => name === model);
  if (found === undefined) {
    const names = models.map((each) => `"${textIn(each, "name")}"`).join(", ") || "none";
    throw failed(url, model === undefined ? "it has no model" : `it has ${names}, not "${model}"`);
  }
  const { handler, body = {}, answer = {} } = found;
  const name = textIn(found, "name");
  if (handler === undefined) throw failed(url, `the model "${name}" is not ready yet`);
  const what = handler === "custom" ? "its own handler" : textIn(found, "task") || "its graph";
  return { name, what, document, body, answer };
}

async function readDescription(url: string, key: string | undefined): Promise<JsonValue> {
  const base = url.endsWith("/") ? url : `${url}/`;
  try {
    const response = await fetch(new URL("openapi.json", base), {
      signal: AbortSignal.timeout(PATIENCE_MS),
      headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
    });
    if (response.status === 401)
      throw failed(url, "it wants an API key; name one in HUBSERVE_API_KEY");
    if (!response.ok) throw failed(url, `it answers ${response.status}`);
    return JSON.parse(await readText(response, url)) as JsonValue; // out of JSON
  } catch (error) {
    if (error instanceof RuntimeError) throw error;
    const cause = error instanceof Error ? error.cause : error;
    const reason = systemCodeOf(cause) ?? messageOf(error);
    throw failed(url, `${reason}; is it running there`, error);
  }
}

async function readText(response: Response, url: string): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.byteLength;
    if (length > LARGEST_BYTES)
      throw failed(url, `its description is larger than ${LARGEST_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function failed(url: string, reason: string, cause?: unknown): RuntimeError {
  return new RuntimeError("NOT_READY", `Cannot ${ACTION} of the server at ${url}: ${reason}`, {
    cause,
  });
}

type Fields = { readonly [key: string]: JsonValue };

function isFields(value: JsonValue | undefined): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textIn(fields: Fields, key: string): string {
  const value = fields[key];
  return typeof value === "string" ? value : "";
}
