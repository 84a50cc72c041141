/**
 * How a sentence-transformers repository makes one vector of a text: its `modules.json` and the files it names.
 *
 * The chain is Transformer → Pooling → (Normalize). Other modules (Dense, LayerNorm, …) keep their weights outside the
 * ONNX graph, so they are only reported here; a graph exported with the whole chain can still answer for them.
 */
import { z } from "zod";

import { isSentenceTransformer, readJson, type ModelFolder } from "./folder.ts";
import type { Pooling } from "../tasks/pooling.ts";

export interface SentenceTransformer {
  /** Several are joined end to end. */
  readonly poolings: readonly Pooling[];
  readonly normalize: boolean;
  /** Texts are cut here, though the model could read more. */
  readonly maxTokens: number | undefined;
  readonly lowercase: boolean;
  /** Texts to put before the input, by name. */
  readonly prompts: ReadonlyMap<string, string>;
  readonly defaultPrompt: string;
  /** What this code cannot do for the model, such as `Dense`. */
  readonly unsupported: readonly string[];
}

const Modules = z.array(z.looseObject({ type: z.string(), path: z.string() }));

const flag = z.boolean().default(false);
const PoolingConfig = z.looseObject({
  pooling_mode_cls_token: flag,
  pooling_mode_max_tokens: flag,
  pooling_mode_mean_tokens: flag,
  pooling_mode_mean_sqrt_len_tokens: flag,
  pooling_mode_weightedmean_tokens: flag,
  pooling_mode_lasttoken: flag,
  include_prompt: z.boolean().default(true),
});

const TransformerConfig = z.looseObject({
  max_seq_length: z.number().nullish(),
  do_lower_case: z.boolean().nullish(),
});

const PromptConfig = z.looseObject({
  prompts: z.record(z.string(), z.string()).nullish(),
  default_prompt_name: z.string().nullish(),
});

/**
 * Reads the chain of modules.
 *
 * @returns `undefined` when the repository is not laid out by sentence-transformers.
 * @throws `MODEL_INVALID` when a file of the layout is broken.
 */
export async function readSentenceTransformer(
  folder: ModelFolder,
): Promise<SentenceTransformer | undefined> {
  if (!isSentenceTransformer(folder)) return undefined;
  const read = async <S extends z.ZodType>(name: string, schema: S) => {
    const file = `${folder.prefix}${name}`;
    return folder.files.includes(file) ? readJson(folder.repository, file, schema) : undefined;
  };
  const modules = (await read("modules.json", Modules)) ?? [];
  // "sentence_transformers.models.Pooling" and what later versions call it end alike.
  const typeOf = ({ type }: { type: string }) => type.split(".").at(-1) ?? type;
  const poolingPath = modules.find((module) => typeOf(module) === "Pooling")?.path ?? "1_Pooling";
  const pooling = await read(`${poolingPath}/config.json`, PoolingConfig);
  const transformer = await read("sentence_bert_config.json", TransformerConfig);
  const { prompts, default_prompt_name } =
    (await read("config_sentence_transformers.json", PromptConfig)) ?? {};

  const known = new Map(Object.entries(prompts ?? {}));
  const unsupported = modules
    .map(typeOf)
    .filter((type) => !["Transformer", "Pooling", "Normalize"].includes(type));
  if (pooling?.include_prompt === false && [...known.values()].some((prompt) => prompt !== "")) {
    unsupported.push("Pooling without the prompt");
  }
  return {
    poolings: toPoolings(pooling),
    normalize: modules.some((module) => typeOf(module) === "Normalize"),
    maxTokens: transformer?.max_seq_length ?? undefined,
    lowercase: transformer?.do_lower_case === true,
    prompts: known,
    defaultPrompt: known.get(default_prompt_name ?? "") ?? "",
    unsupported,
  };
}

/** In the order in which sentence-transformers joins them; the mean when none is chosen, its default. */
function toPoolings(config: z.infer<typeof PoolingConfig> | undefined): Pooling[] {
  const poolings: Pooling[] = [];
  if (config?.pooling_mode_cls_token) poolings.push("cls");
  if (config?.pooling_mode_max_tokens) poolings.push("max");
  if (config?.pooling_mode_mean_tokens) poolings.push("mean");
  if (config?.pooling_mode_mean_sqrt_len_tokens) poolings.push("mean_sqrt_len");
  if (config?.pooling_mode_weightedmean_tokens) poolings.push("weighted_mean");
  if (config?.pooling_mode_lasttoken) poolings.push("last_token");
  return poolings.length > 0 ? poolings : ["mean"];
}
