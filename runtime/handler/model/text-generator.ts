/**
 * Models that read a text and write one, loaded with transformers.js from a local folder and from nowhere else.
 *
 * What they write by is in `generation-settings.ts`, the loop in `generation.ts`.
 */
import { setMaxListeners } from "node:events";

import {
  AutoModelForCausalLM,
  AutoModelForSeq2SeqLM,
  type PreTrainedTokenizer,
} from "@huggingface/transformers";
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { Item, TaskModel } from "../tasks/task.ts";
import { openTextEngine } from "../generation/open-engine.ts";
import type { TextEngine } from "../generation/text-engine.ts";
import { loadDecoder } from "./decoder-files.ts";
import { openSeq2SeqDecoder, padded, type Network } from "./decoder.ts";
import {
  confineLibrary,
  createTextEncoder,
  loadNetwork,
  loadTokenizer,
  type Encoder,
} from "./encoder.ts";
import { run, type Generated } from "./generation.ts";
import {
  readGenerationDefaults,
  type GenerationDefaults,
  type GenerationSettings,
} from "./generation-settings.ts";
import { maxTokensOf } from "./truncation.ts";

/** A text to be continued, or to be answered. */
export interface GenerationItem extends Item {
  readonly inputIds: readonly number[];
  readonly settings: GenerationSettings;
}

/** A loaded model. */
export interface Generator extends Pick<Encoder, "encode" | "tokensOf"> {
  readonly tokenizer: PreTrainedTokenizer;
  readonly defaults: GenerationDefaults;
  /** The most tokens that it reads: of the text, or, where the decoder is alone, of the whole sequence. */
  readonly maxTokens: number;
  /** The most tokens that its decoder holds, those it begins with included. */
  readonly maxDecoderTokens: number;
  /**
   * One generation over all items.
   *
   * @throws The signal's reason within one token, once it is aborted.
   */
  generate(items: readonly GenerationItem[], signal: AbortSignal): Promise<Generated[]>;
  /** Text without special tokens. */
  decode(ids: readonly number[], cleanUp: boolean | undefined): string;
  dispose(): Promise<void>;
}

/** Where architectures keep the number of positions, besides `max_position_embeddings`. */
const Positions = z.looseObject({
  n_positions: z.number().nullish(),
  max_encoder_position_embeddings: z.number().nullish(),
  max_decoder_position_embeddings: z.number().nullish(),
  text_config: z.looseObject({ max_position_embeddings: z.number().nullish() }).nullish(),
});

/**
 * Loads a model with an encoder and a decoder.
 *
 * @throws `MODEL_INVALID` when a file is missing or broken, or the model type has no such form.
 */
export async function loadSeq2Seq(model: TaskModel): Promise<Generator> {
  const { generator, network } = await load(model, AutoModelForSeq2SeqLM, "seq2seq");
  const padId = padIdOf(generator);
  const startId = startIdOf(generator.defaults, padId);
  return {
    ...generator,
    async generate(items, signal) {
      const texts = padded(
        items.map(({ inputIds }) => inputIds),
        padId,
        "right",
      );
      const inputs = { input_ids: texts.ids, attention_mask: texts.mask };
      const decoder = await openSeq2SeqDecoder(network, inputs);
      const starts = items.map(() => [startId]);
      return run(decoder, starts, items, generator, signal);
    },
  };
}

/** A model that continues its prompt, for many requests at once. */
export interface CausalGenerator extends Generator {
  readonly engine: TextEngine;
}

/**
 * Loads a model that continues its prompt.
 *
 * @throws `MODEL_INVALID` when a file is missing or broken, or the model type has no such form.
 */
export async function loadCausal(model: TaskModel): Promise<CausalGenerator> {
  const { generator, network } = await load(model, AutoModelForCausalLM, "causal");
  const { tokenizer, maxTokens } = generator;
  const engine = await openTextEngine(model, network, {
    tokenizer,
    maxTokens,
    padId: padIdOf(generator),
  });
  return {
    ...generator,
    engine,
    generate: (items, signal) => generateAll(engine, items, signal),
    async dispose() {
      await engine.close();
      await generator.dispose();
    },
  };
}

/** The items' sequences join and leave by themselves; where one fails, nobody waits for the others. */
async function generateAll(
  engine: TextEngine,
  items: readonly GenerationItem[],
  signal: AbortSignal,
): Promise<Generated[]> {
  const group = new AbortController();
  setMaxListeners(0, group.signal); // one for each item
  const follow = (): void => group.abort(signal.reason);
  if (signal.aborted) follow();
  signal.addEventListener("abort", follow, { once: true });
  try {
    return await Promise.all(
      items.map(async ({ inputIds, settings }) =>
        engine.continue(inputIds, settings, group.signal),
      ),
    );
  } catch (error) {
    group.abort(error);
    throw error;
  } finally {
    signal.removeEventListener("abort", follow);
  }
}

async function load(
  model: TaskModel,
  autoModel: typeof AutoModelForCausalLM | typeof AutoModelForSeq2SeqLM,
  kind: "causal" | "seq2seq",
): Promise<{ generator: Omit<Generator, "generate">; network: Network }> {
  confineLibrary();
  const { config } = model.folder;
  if (!autoModel.supports(config.model_type ?? "")) {
    const wanted =
      kind === "causal" ? "a decoder that continues texts" : "an encoder and a decoder";
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot load the model: the model type "${config.model_type ?? "none"}" is not known as ${wanted}`,
    );
  }
  const tokenizer = await loadTokenizer(model);
  const defaults = await readGenerationDefaults(model);
  // Every step has shapes of its own: a plan of memory for each would never be used again.
  const network =
    kind === "causal"
      ? await loadDecoder(model, autoModel, { enableMemPattern: false })
      : await loadNetwork(model, autoModel);
  const positions = Positions.catch({}).parse(config);
  const own = config.max_position_embeddings ?? positions.text_config?.max_position_embeddings;
  const read = own ?? positions.max_encoder_position_embeddings ?? positions.n_positions;
  // T5 names `n_positions` for what it was trained with; its positions are relative and its decoder has no end.
  const held = own ?? positions.max_decoder_position_embeddings;
  const maxTokens = maxTokensOf(
    { ...config, max_position_embeddings: read },
    tokenizer.model_max_length,
  );
  return {
    network,
    generator: {
      tokenizer,
      defaults,
      maxTokens,
      maxDecoderTokens: kind === "causal" ? maxTokens : (held ?? Infinity),
      ...createTextEncoder(model, tokenizer, { maxTokens, wantsTypes: false }),
      decode: (ids, cleanUp) =>
        ids.length === 0
          ? ""
          : tokenizer.decode([...ids], {
              skip_special_tokens: true,
              clean_up_tokenization_spaces: cleanUp ?? false,
            }),
      dispose: async () => void (await network.dispose()),
    },
  };
}

/** What shorter rows are filled with; masked, so that any token does. */
function padIdOf({ tokenizer, defaults }: Pick<Generator, "tokenizer" | "defaults">): number {
  return (
    tokenizer.pad_token_id ?? defaults.model.pad_token_id ?? defaults.model.eos_token_id?.[0] ?? 0
  );
}

function startIdOf({ model }: GenerationDefaults, padId: number): number {
  return model.decoder_start_token_id ?? model.bos_token_id ?? padId;
}
