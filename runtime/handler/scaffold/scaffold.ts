/**
 * What `hubserve init` writes for a repository: a handler for its model's task, a test of it, and what to read of both.
 *
 * The task is told from the repository's files, as the default handler does it; no model is loaded. How the handler
 * calls transformers.js is `templates.ts`.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { RuntimeError } from "../../errors.ts";
import type { JsonValue } from "../../inference.ts";
import { chooseTask } from "../model/choose-task.ts";
import { readModelFolder, type ModelFolder } from "../model/folder.ts";
import { readSentenceTransformer } from "../model/sentence.ts";
import { chooseModelWeights } from "../model/weights.ts";
import { handlerText, testText, type Material } from "./texts.ts";
import { TEMPLATES } from "./templates.ts";

export interface Scaffold {
  /** `undefined` for a handler without a model. */
  readonly task: string | undefined;
  /** The reason for the task, as half a sentence. */
  readonly why: string;
  readonly handler: string;
  readonly test: string;
  /** A body that it answers. */
  readonly example: { readonly [key: string]: JsonValue };
}

export interface ScaffoldOptions {
  /** The repository's folder, absolute. */
  readonly repository: string;
  /** The task or alias that the user named. */
  readonly task?: string | undefined;
  readonly dtype?: string | undefined;
}

/**
 * Writes the texts for the model of a repository.
 *
 * @throws RuntimeError `MODEL_INVALID`, `TASK_UNKNOWN` or `WEIGHTS_NOT_FOUND` as the default handler, `NOT_SUPPORTED` for a
 * task that transformers.js cannot run in Node.
 */
export async function scaffoldHandler({
  repository,
  task: wanted,
  dtype,
}: ScaffoldOptions): Promise<Scaffold> {
  const folder = await readModelFolder(repository);
  const { task: entry, why } = chooseTask(folder, wanted);
  const template = TEMPLATES[entry.name];
  if (template === undefined) {
    throw new RuntimeError(
      "NOT_SUPPORTED",
      `Cannot write a handler for ${entry.name}: transformers.js has no pipeline for it that runs in Node; ` +
        "without a handler hubserve serves it already, and --bare writes a handler without a model",
    );
  }
  const weights = chooseModelWeights(folder, dtype);
  const kinds = new Set(Object.values(weights.components));
  const example = await exampleFor(entry.name, folder, (await entry.load()).example);
  const material: Material = {
    task: entry.name,
    template,
    example,
    prefix: folder.prefix,
    dtype: kinds.size === 1 ? weights.dtype : weights.components,
    subfolder: weights.subfolder,
    pooling: await poolingFor(folder),
  };
  return {
    task: entry.name,
    why,
    handler: handlerText(material),
    test: testText(material),
    example,
  };
}

/** A handler that brings whatever it wants. */
export function scaffoldBare(): Scaffold {
  const example = { inputs: "I am quite excited how this will turn out" };
  return {
    task: undefined,
    why: "as --bare says",
    handler: handlerText({ example }),
    test: testText({ example }),
    example,
  };
}

/** How the repository wants its vectors made; where it does not say, each token keeps its own. */
async function poolingFor(folder: ModelFolder): Promise<Material["pooling"]> {
  const own = await readSentenceTransformer(folder);
  if (own === undefined) return { pooling: "none", normalize: false };
  const [pooling = "mean", ...others] = own.poolings;
  const beyond = [
    ...(others.length > 0 ? [`${own.poolings.length} poolings at once`] : []),
    ...(PIPELINE_POOLINGS.has(pooling) ? [] : [`${pooling} pooling`]),
    ...(own.defaultPrompt === "" ? [] : [`the prompt ${JSON.stringify(own.defaultPrompt)}`]),
    ...own.unsupported,
  ];
  if (beyond.length === 0) return { pooling, normalize: own.normalize };
  throw new RuntimeError(
    "NOT_SUPPORTED",
    `Cannot write a handler: the model's vectors want ${beyond.join(", ")}, which transformers.js's pipeline does not do; ` +
      "without a handler hubserve serves it, and --bare writes a handler without a model",
  );
}

/** Those of ours that transformers.js 4 has (`pipelines/feature-extraction.js`). */
const PIPELINE_POOLINGS: ReadonlySet<string> = new Set(["mean", "cls", "last_token"]);

/** The languages of the most usual families, as their tokenizers name them: from English to French. */
const LANGUAGES: readonly (readonly [type: RegExp, from: string, to: string])[] = [
  [/^m2m_100$/, "en", "fr"],
  [/^nllb/, "eng_Latn", "fra_Latn"],
  [/^mbart/, "en_XX", "fr_XX"],
];

/** An example should not take long. */
const FEW_TOKENS = 20;

/** The task's own example, in this model's words. */
async function exampleFor(
  task: string,
  folder: ModelFolder,
  example: JsonValue,
): Promise<Scaffold["example"]> {
  // Proof of the cast: a task's example is a request's body.
  const body = example as Scaffold["example"];
  if (task === "fill-mask") {
    const { inputs } = body;
    const mask = await maskTokenOf(folder);
    return typeof inputs === "string" ? { inputs: inputs.replace("[MASK]", mask) } : body;
  }
  if (task === "translation") {
    const type = folder.config.model_type ?? "";
    const found = LANGUAGES.find(([pattern]) => pattern.test(type));
    const languages = found && { src_lang: found[1], tgt_lang: found[2] };
    return { ...body, parameters: { ...languages, max_new_tokens: FEW_TOKENS } };
  }
  if (["summarization", "text2text-generation"].includes(task))
    return { ...body, parameters: { max_new_tokens: FEW_TOKENS } };
  return body;
}

async function maskTokenOf({ path }: ModelFolder): Promise<string> {
  for (const file of ["tokenizer_config.json", "special_tokens_map.json"]) {
    const text = await readFile(join(path, file), "utf8").catch(() => "{}");
    const found = /"mask_token"\s*:\s*(?:\{[^}]*?"content"\s*:\s*)?("(?:[^"\\]|\\.)*")/.exec(text);
    if (found?.[1] !== undefined) return JSON.parse(found[1]) as string; // a JSON string literal
  }
  return "[MASK]";
}
