/**
 * Makes the models that the bench serves: real sizes, random weights, no Python.
 *
 *     npx tsx bench/make-model.ts [name…]
 *
 * Each becomes a transformers.js repository under `build/bench-models/`, made once and kept. The tokenizer is that of
 * the embedded emotion model (4958 word pieces); the embedding table has the 30522 rows of BERT all the same, since
 * files of real size are what the start-up time is about. The time of an inference depends on neither.
 * To add one: a row in `BENCH_MODELS`.
 */
import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { writeEncoder, type EncoderShape } from "./encoder-graph.ts";

interface BenchModel {
  readonly task: string;
  readonly seed: number;
  readonly shape: EncoderShape;
  /** `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Further files, by name. */
  readonly files?: Readonly<Record<string, unknown>>;
}

const BERT_VOCABULARY = 30522;
const POSITIONS = 512;

export const BENCH_MODELS = {
  "minilm-l6": {
    task: "feature-extraction",
    seed: 102,
    shape: {
      layers: 6,
      hidden: 384,
      heads: 12,
      intermediate: 1536,
      vocabulary: BERT_VOCABULARY,
      positions: POSITIONS,
      hasTokenTypes: true,
    },
    config: {
      architectures: ["BertModel"],
      model_type: "bert",
      vocab_size: BERT_VOCABULARY,
      hidden_size: 384,
      num_hidden_layers: 6,
      num_attention_heads: 12,
      intermediate_size: 1536,
      hidden_act: "gelu",
      max_position_embeddings: POSITIONS,
      type_vocab_size: 2,
      layer_norm_eps: 1e-12,
      pad_token_id: 0,
    },
    // As sentence-transformers lays it out: the mean of the tokens, normalized.
    files: {
      "modules.json": [
        { idx: 0, name: "0", path: "", type: "sentence_transformers.models.Transformer" },
        { idx: 1, name: "1", path: "1_Pooling", type: "sentence_transformers.models.Pooling" },
        { idx: 2, name: "2", path: "2_Normalize", type: "sentence_transformers.models.Normalize" },
      ],
      "1_Pooling/config.json": { word_embedding_dimension: 384, pooling_mode_mean_tokens: true },
    },
  },
  "distilbert-base": {
    task: "text-classification",
    seed: 101,
    shape: {
      layers: 6,
      hidden: 768,
      heads: 12,
      intermediate: 3072,
      vocabulary: BERT_VOCABULARY,
      positions: POSITIONS,
      hasTokenTypes: false,
      labels: 2,
    },
    config: {
      architectures: ["DistilBertForSequenceClassification"],
      model_type: "distilbert",
      vocab_size: BERT_VOCABULARY,
      dim: 768,
      n_layers: 6,
      n_heads: 12,
      hidden_dim: 3072,
      activation: "gelu",
      max_position_embeddings: POSITIONS,
      pad_token_id: 0,
      id2label: { 0: "NEGATIVE", 1: "POSITIVE" },
      label2id: { NEGATIVE: 0, POSITIVE: 1 },
    },
  },
} as const satisfies Record<string, BenchModel>;

export type BenchModelName = keyof typeof BENCH_MODELS;

const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const BENCH_MODELS_FOLDER = join(ROOT, "build/bench-models");

/** Raised when what is written changes, so that old files are not reused. */
const LAYOUT_VERSION = 1;

/**
 * Makes the model unless it is there.
 *
 * @returns Its folder, absolute.
 */
export function makeModel(
  name: BenchModelName,
  onStart: (folder: string) => void = () => undefined,
): string {
  const model: BenchModel = BENCH_MODELS[name];
  const write = (folder: string): void => writeRepository(folder, model);
  return makeOnce(`${name}-v${LAYOUT_VERSION}`, write, onStart);
}

/** Makes a folder of the bench's models unless it is there. @returns It, absolute. */
export function makeOnce(
  name: string,
  write: (folder: string) => void,
  onStart: (folder: string) => void,
): string {
  const folder = join(BENCH_MODELS_FOLDER, name);
  if (existsSync(folder)) return folder;
  onStart(folder);
  const draft = `${folder}.${process.pid}`;
  write(draft);
  try {
    renameSync(draft, folder); // all or nothing, and of two at once the first wins
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

/** Writes a repository in the layout of transformers.js, both precisions. */
export function writeRepository(
  folder: string,
  { config, files = {}, shape, seed }: BenchModel,
): void {
  mkdirSync(join(folder, "onnx"), { recursive: true });
  for (const file of ["tokenizer.json", "special_tokens_map.json", "vocab.txt"])
    copyFileSync(join(ROOT, "model", file), join(folder, file));
  const json = {
    "config.json": config,
    "tokenizer_config.json": {
      tokenizer_class: shape.hasTokenTypes ? "BertTokenizer" : "DistilBertTokenizer",
      do_lower_case: true,
      model_max_length: shape.positions,
      pad_token: "[PAD]",
      unk_token: "[UNK]",
      cls_token: "[CLS]",
      sep_token: "[SEP]",
      mask_token: "[MASK]",
    },
    ...files,
  };
  for (const [file, content] of Object.entries(json)) {
    mkdirSync(join(folder, file, ".."), { recursive: true });
    writeFileSync(join(folder, file), JSON.stringify(content, undefined, 2));
  }
  writeEncoder(join(folder, "onnx/model.onnx"), shape, "fp32", seed);
  writeEncoder(join(folder, "onnx/model_quantized.onnx"), shape, "int8", seed);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const named = process.argv.slice(2);
  for (const name of Object.keys(BENCH_MODELS) as BenchModelName[]) {
    if (named.length > 0 && !named.includes(name)) continue;
    console.log(makeModel(name, (folder) => console.log(`Making ${folder}`)));
  }
}
