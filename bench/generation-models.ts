/**
 * The models that `generation.ts` serves: the shapes of GPT-2 small and SmolLM-135M, random weights, no Python.
 *
 *     npx tsx bench/generation-models.ts [name…]
 *
 * Each becomes a transformers.js repository under `build/bench-models/`, made once and kept. What such a model writes means nothing;
 * how long it takes is that of the real one. Its tokenizer knows every byte and no merges, so that a text of `n` ASCII letters is
 * `n` tokens; the rest of the vocabulary are made-up words, as texts that are read should be of real size.
 * To add one: a row in `GENERATION_MODELS`.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { writeDecoder, type DecoderShape } from "./decoder-graph.ts";
import { makeOnce } from "./make-model.ts";

export const GENERATION_MODELS = {
  "gpt2-small": {
    kind: "gpt2",
    layers: 12,
    hidden: 768,
    heads: 12,
    keyHeads: 12,
    intermediate: 3072,
    vocabulary: 50_257,
    positions: 1024,
  },
  "smollm-135m": {
    kind: "llama",
    layers: 30,
    hidden: 576,
    heads: 9,
    keyHeads: 3,
    intermediate: 1536,
    vocabulary: 49_152,
    positions: 2048,
  },
} as const satisfies Record<string, DecoderShape>;

export type GenerationModelName = keyof typeof GENERATION_MODELS;

/** Raised when what is written changes, so that old files are not reused. */
const LAYOUT_VERSION = 1;
const SEED = 103;
const END = "<|endoftext|>";

/** Makes the model unless it is there. @returns Its folder, absolute. */
export function makeGenerationModel(
  name: GenerationModelName,
  onStart: (folder: string) => void = () => undefined,
): string {
  const write = (folder: string): void => writeGenerator(folder, GENERATION_MODELS[name], SEED);
  return makeOnce(`${name}-v${LAYOUT_VERSION}`, write, onStart);
}

/** Writes a repository in the layout of transformers.js. */
export function writeGenerator(folder: string, shape: DecoderShape, seed: number): void {
  mkdirSync(join(folder, "onnx"), { recursive: true });
  const json = {
    "config.json": toConfig(shape),
    "generation_config.json": { bos_token_id: 0, eos_token_id: 0, pad_token_id: 0 },
    "tokenizer.json": toTokenizer(shape.vocabulary),
    "tokenizer_config.json": {
      tokenizer_class: "GPT2Tokenizer",
      model_max_length: shape.positions,
      clean_up_tokenization_spaces: false,
      add_prefix_space: false,
      bos_token: END,
      eos_token: END,
      unk_token: END,
      pad_token: END,
    },
  };
  for (const [file, content] of Object.entries(json))
    writeFileSync(join(folder, file), JSON.stringify(content, undefined, 1));
  writeDecoder(join(folder, "onnx/model.onnx"), shape, seed);
}

/** `config.json`, with Hugging Face's names. */
function toConfig(shape: DecoderShape): Readonly<Record<string, unknown>> {
  const common = {
    vocab_size: shape.vocabulary,
    bos_token_id: 0,
    eos_token_id: 0,
    pad_token_id: 0,
    tie_word_embeddings: true,
    use_cache: true,
  };
  if (shape.kind === "gpt2")
    return {
      ...common,
      architectures: ["GPT2LMHeadModel"],
      model_type: "gpt2",
      n_layer: shape.layers,
      n_embd: shape.hidden,
      n_head: shape.heads,
      n_inner: shape.intermediate,
      n_positions: shape.positions,
      activation_function: "gelu_new",
      layer_norm_epsilon: 1e-5,
    };
  return {
    ...common,
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    num_hidden_layers: shape.layers,
    hidden_size: shape.hidden,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.keyHeads,
    head_dim: shape.hidden / shape.heads,
    intermediate_size: shape.intermediate,
    max_position_embeddings: shape.positions,
    hidden_act: "silu",
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    attention_bias: false,
    mlp_bias: false,
  };
}

/** The end of texts, 256 bytes, and words. */
function toTokenizer(vocabulary: number): unknown {
  const tokens = [END, ...byteAlphabet()];
  while (tokens.length < vocabulary) tokens.push(`Ġw${tokens.length}`);
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: 0,
        content: END,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: level,
    post_processor: null,
    decoder: level,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [],
    },
  };
}

/** A visible character for each byte, as GPT-2's `bytes_to_unicode` has them: printable ones stand for themselves. */
function byteAlphabet(): string[] {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint(isPrintable(byte) ? byte : next++),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const named = process.argv.slice(2);
  for (const name of Object.keys(GENERATION_MODELS) as GenerationModelName[]) {
    if (named.length > 0 && !named.includes(name)) continue;
    console.log(makeGenerationModel(name, (folder) => console.log(`Making ${folder}`)));
  }
}
