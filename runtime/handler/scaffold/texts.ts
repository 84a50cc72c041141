/**
 * The files that `hubserve init` writes, line by line.
 */
import type { JsonValue } from "../../inference.ts";
import type { Pooling } from "../tasks/pooling.ts";
import { READ_LABELS, READ_OPTIONS, READERS, type Template } from "./templates.ts";

/** A model and how it is called. */
export interface ModelMaterial {
  readonly task: string;
  readonly template: Template;
  readonly example: { readonly [key: string]: JsonValue };
  /** Where the model lies in the repository. */
  readonly prefix: "" | "model/";
  readonly dtype: string | Readonly<Record<string, string>>;
  readonly subfolder: "onnx" | "";
  readonly pooling: { readonly pooling: Pooling | "none"; readonly normalize: boolean };
}

export type Material = ModelMaterial;

/** What a handler without a model needs. */
type BareMaterial = Pick<ModelMaterial, "example">;

export function handlerText(material: ModelMaterial | BareMaterial): string {
  return "template" in material ? modelHandler(material) : bareHandler(material);
}

function modelHandler(material: ModelMaterial): string {
  const { task, template, example, pooling } = material;
  const body = template.call.join("\n");
  const reader = READERS[template.inputs];
  const imports = ["pipeline", ...(template.imports ?? [])];
  if (template.inputs === "image") imports.push("RawImage");
  const helpers = [
    body.includes(`${reader.name}(`) ? reader.text : "",
    body.includes("readOptions(") ? READ_OPTIONS : "",
    body.includes("readLabels(") ? READ_LABELS : "",
  ].filter((text) => text !== "");
  const usesParameters = body.includes("parameters");
  return `/**
 * Answers requests for this model: ${task}, with transformers.js. \`hubserve init\` wrote it; it is yours to change.
 *
 *     hubserve call . '${shortened(example)}'
 */
import { resolve } from "node:path";
import { ${imports.toSorted((a, b) => a.toLowerCase().localeCompare(b.toLowerCase())).join(", ")} } from "@huggingface/transformers";
import { RuntimeError, type HandlerData, type HandlerOptions } from "hubserve";
${
  body.includes("POOLING")
    ? `
/** How the vectors of a text's tokens become one, as this repository says; "none" keeps them all. */
const POOLING = ${literal(pooling)} as const;
`
    : ""
}
export class EndpointHandler {
  /** A body that it answers: asked once before the model is ready, and shown to whoever wants to try it. */
  static readonly example = ${literal(example)};

  private readonly path: string;
  private readonly threads: number | undefined;
  private pipe!: Awaited<ReturnType<typeof openPipeline>>;

  /** @param path The folder that holds the model. */
  constructor(path: string, { threads }: HandlerOptions = {}) {
    this.path = path;
    this.threads = threads;
  }

  /** Awaited before the model is ready. */
  async load(): Promise<void> {
    this.pipe = await openPipeline(this.path, this.threads);
  }

  /** Answers one request: \`inputs\`, \`parameters\` and whatever else the client sent. */
  async call({ ${usesParameters ? "inputs, parameters" : "inputs"} }: HandlerData): Promise<unknown> {
${indented(template.call, 4)}
  }

  /** Awaited before the process ends. */
  async dispose(): Promise<void> {
    await this.pipe.dispose();
  }
}

function openPipeline(path: string, threads: number | undefined) {
  // An absolute path: transformers.js would look for a relative one on the Hub.
  return pipeline("${template.pipeline}", resolve(path), {
    dtype: ${literal(material.dtype)},${material.subfolder === "" ? '\n    subfolder: "",' : ""}
    ...(threads !== undefined && { session_options: { intraOpNumThreads: threads } }),
  });
}

${helpers.join("\n\n")}
`;
}

function bareHandler({ example }: BareMaterial): string {
  return `/**
 * Answers requests for this repository. \`hubserve init\` wrote it; it is yours to change.
 *
 *     hubserve call . '${shortened(example)}'
 */
import { RuntimeError, type CallContext, type HandlerData } from "hubserve";

export class EndpointHandler {
  /** A body that it answers: asked once before it is ready, and shown to whoever wants to try it. */
  static readonly example = ${literal(example)};

  /** Answers one request: \`inputs\` and whatever else the client sent. */
  async call({ inputs }: HandlerData, { log }: Pick<CallContext, "log">): Promise<unknown> {
    if (typeof inputs !== "string")
      throw new RuntimeError("INVALID_INPUT", 'Cannot answer: "inputs" must be a text');
    log.info("Answering", { characters: inputs.length });
    return { text: inputs, words: inputs.split(/\\s+/).filter((word) => word !== "").length };
  }
}
`;
}

/** Whatever the task is, an object is no text, no image and no question. */
const WRONG_INPUTS = '{ inputs: { no: "such input" } }';

export function testText(material: ModelMaterial | BareMaterial): string {
  const isModel = "template" in material;
  const check = isModel
    ? material.template.check
    : ["assert.deepEqual(answer, { text: EndpointHandler.example.inputs, words: 9 });"];
  const folder = isModel && material.prefix !== "" ? `./${material.prefix}` : "./";
  const context = isModel ? "" : ", { log: silentLog() }";
  return `/** Tests the handler: \`npx tsx --test handler.test.ts\`, after \`npm install --no-save hubserve tsx\`. */
import assert from "node:assert/strict";
import { ${isModel ? "after, before, test" : "test"} } from "node:test";
${isModel ? 'import { fileURLToPath } from "node:url";' : 'import { silentLog } from "hubserve";'}
import { EndpointHandler } from "./handler.ts";

const handler = new EndpointHandler(${isModel ? `fileURLToPath(new URL("${folder}", import.meta.url))` : ""});
${isModel ? "before(() => handler.load());\nafter(() => handler.dispose());\n" : ""}
test("the handler answers its example", async () => {
  const answer = await handler.call(EndpointHandler.example${context});
${indented(check, 2)}
});

test("the handler refuses what it cannot read", async () => {
  await assert.rejects(handler.call(${WRONG_INPUTS}${context}), { code: "INVALID_INPUT" });
});
`;
}

function indented(lines: readonly string[], spaces: number): string {
  return lines.map((line) => `${" ".repeat(spaces)}${line}`).join("\n");
}

/** As TypeScript writes it: keys without quotes where they are names. */
function literal(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const pairs = Object.entries(value).map(([key, each]) => {
    const name = /^[A-Za-z_]\w*$/.test(key) ? key : JSON.stringify(key);
    return `${name}: ${literal(each)}`;
  });
  return `{ ${pairs.join(", ")} }`;
}

/** For a comment: one line that can be pasted, where the example is short enough. */
function shortened(example: JsonValue): string {
  const text = JSON.stringify(example).replaceAll("'", "\\u0027").replaceAll("*/", "*\\/");
  return text.length <= 200 ? text : "@picture.png";
}
