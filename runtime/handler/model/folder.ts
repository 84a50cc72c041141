/**
 * What a repository says about its model: `config.json`, the front matter of its card, and the names of its files.
 *
 * It only reads. Which task follows is decided in `choose-task.ts`, which weights in `weights.ts`. Nothing that a
 * client sends comes here: every path below the repository's folder is fixed or found by listing it.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

import { parse as parseYaml } from "yaml";
import { z } from "zod";

import { messageOf, RuntimeError, systemCodeOf } from "../../errors.ts";
import { findModelFolder } from "../../weights.ts";

/** The keys of `config.json` that hubserve reads; all others stay as they are. */
export const ModelConfig = z.looseObject({
  model_type: z.string("a string").nullish(),
  architectures: z.array(z.string("a string"), "a list of strings").nullish(),
  id2label: z
    .record(z.string(), z.union([z.string(), z.number()], "a string"), "an object of labels")
    .nullish(),
  problem_type: z.string("a string").nullish(),
  max_position_embeddings: z.number("a number").nullish(),
  pad_token_id: z.number("a number").nullish(),
});
export type ModelConfig = z.infer<typeof ModelConfig>;

/** A repository whose `config.json` could be read. */
export interface ModelFolder {
  /** The repository's folder, absolute. */
  readonly repository: string;
  /** The folder that holds `config.json` and the tokenizer, absolute. */
  readonly path: string;
  /** The same folder relative to the repository: `""` or `"model/"`. */
  readonly prefix: "" | "model/";
  /** Every file of the repository, relative to it, with `/`; no dot folders, no `node_modules`. */
  readonly files: readonly string[];
  readonly config: ModelConfig;
  /** The model card's `pipeline_tag`, where it has one. */
  readonly pipelineTag?: string;
  /** What a person should know about the files, though they can be served. */
  readonly warnings: readonly string[];
}

/** More files than any model repository has: a stop for a folder that was named by mistake, such as `/`. */
const MAX_FILES = 10_000;
/** `model/onnx/model.onnx` lies three deep; one more for what an author adds. */
const MAX_DEPTH = 4;

/**
 * Reads what a repository says about its model.
 *
 * @param repository The repository's folder, absolute.
 * @throws `MODEL_INVALID` when there is no `config.json`, or it cannot be understood.
 */
export async function readModelFolder(repository: string): Promise<ModelFolder> {
  const files = await listFiles(repository);
  const prefix = findModelFolder(files) === "model" ? "model/" : "";
  const configFile = `${prefix}config.json`;
  if (!files.includes(configFile)) {
    const found = files.length === 0 ? "no file at all" : `only ${nameSome(files)}`;
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot read the model: wanted config.json in ${repository} or in its model/ folder, found ${found}`,
    );
  }
  const config = await readJson(repository, configFile, ModelConfig);
  const { pipelineTag, warnings } = await readCard(repository, files, prefix);
  return {
    repository,
    path: join(repository, prefix),
    prefix,
    files,
    config,
    ...(pipelineTag !== undefined && { pipelineTag }),
    warnings,
  };
}

/**
 * Reads a JSON file of the repository.
 *
 * @param file Relative to the repository; messages name it so.
 * @throws `MODEL_INVALID` when it cannot be read, is not JSON, or is not what `schema` wants.
 */
export async function readJson<S extends z.ZodType>(
  repository: string,
  file: string,
  schema: S,
): Promise<z.output<S>> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(join(repository, file), "utf8"));
  } catch (error) {
    const reason = systemCodeOf(error) ?? messageOf(error);
    throw new RuntimeError("MODEL_INVALID", `Cannot read ${file}: ${reason}`, { cause: error });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? "it" : `"${issue.path.join(".")}"`;
  throw new RuntimeError(
    "MODEL_INVALID",
    `Cannot read ${file}: ${where} is not what was wanted (${issue?.message ?? "unknown"})`,
  );
}

/**
 * Makes sure that a file beside `config.json` is there.
 *
 * @param what What it is for: `the tokenizer`.
 * @param pythonClass The class of Python's transformers that writes it.
 * @throws `MODEL_INVALID` with what to do.
 */
export function assertHasFile(
  { files, prefix }: Pick<ModelFolder, "files" | "prefix">,
  name: string,
  what: string,
  pythonClass: string,
): void {
  if (files.includes(`${prefix}${name}`)) return;
  throw new RuntimeError(
    "MODEL_INVALID",
    `Cannot load ${what}: ${prefix}${name} is missing; \`${pythonClass}.from_pretrained(<name>).save_pretrained(<folder>)\` of Python's transformers writes it`,
  );
}

/**
 * Whether the repository is laid out by sentence-transformers: its vectors are pooled, whatever the card says.
 */
export function isSentenceTransformer({ files, prefix }: Pick<ModelFolder, "files" | "prefix">) {
  return (
    files.includes(`${prefix}modules.json`) || files.includes(`${prefix}1_Pooling/config.json`)
  );
}

/** At most five names out of many, for a message. */
export function nameSome(files: readonly string[]): string {
  const rest = files.length - 5;
  return files.slice(0, 5).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

/** Every file below `root`, breadth first, so that a bound cuts what lies deepest. */
export async function listFiles(root: string): Promise<string[]> {
  const files: string[] = [];
  let folders = [""];
  for (let depth = 0; depth < MAX_DEPTH && folders.length > 0; depth++) {
    const deeper: string[] = [];
    for (const folder of folders) {
      for (const entry of await readFolder(root, folder)) {
        const name = `${folder}${entry.name}`;
        if (entry.isDirectory()) {
          if (!entry.name.startsWith(".") && entry.name !== "node_modules") deeper.push(`${name}/`);
        } else if (entry.isFile() || (entry.isSymbolicLink() && (await isFile(join(root, name))))) {
          files.push(name);
        }
        if (files.length >= MAX_FILES) return files.sort();
      }
    }
    folders = deeper;
  }
  return files.sort();
}

async function readFolder(root: string, folder: string) {
  try {
    return await readdir(join(root, folder), { withFileTypes: true });
  } catch (error) {
    if (folder !== "") return []; // a folder that may not be read holds nothing that can be served
    const reason = systemCodeOf(error) ?? messageOf(error);
    throw new RuntimeError("MODEL_INVALID", `Cannot read the model's folder ${root}: ${reason}`, {
      cause: error,
    });
  }
}

/** The Hub's cache holds links to files; links to folders are left alone, as they can form a ring. */
async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );
}

const Card = z.looseObject({ pipeline_tag: z.string().nullish() });

/** The model folder's card first, then the repository's own. A broken card costs a warning, not the start. */
export async function readCard(
  repository: string,
  files: readonly string[],
  prefix: string,
): Promise<{ pipelineTag?: string; warnings: string[] }> {
  const warnings: string[] = [];
  for (const file of new Set([`${prefix}README.md`, "README.md"])) {
    if (!files.includes(file)) continue;
    const text = await readFile(join(repository, file), "utf8");
    const frontMatter = /^\uFEFF?---\r?\n(.*?)\r?\n---\s*(?:\r?\n|$)/s.exec(text)?.[1];
    if (frontMatter === undefined) continue;
    try {
      const pipelineTag = Card.parse(
        parseYaml(frontMatter, { logLevel: "error" }) ?? {},
      ).pipeline_tag;
      if (typeof pipelineTag === "string") return { pipelineTag, warnings };
    } catch {
      warnings.push(`Ignoring the front matter of ${file}: it is not the YAML of a model card`);
    }
  }
  return { warnings };
}
