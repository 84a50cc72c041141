/**
 * Texts to vectors: what feature extraction and sentence similarity share.
 *
 * Letters: `B` texts, `T` tokens, `H` dimensions.
 */
import { AutoModel } from "@huggingface/transformers";

import { RuntimeError } from "../../errors.ts";
import { loadEncoder, rowOf, type EncodeOptions } from "../model/encoder.ts";
import { readSentenceTransformer, type SentenceTransformer } from "../model/sentence.ts";
import type { Encoding } from "../model/truncation.ts";
import { findOutput } from "./outputs.ts";
import { pool, type Pooling } from "./pooling.ts";
import type { Item, TaskModel } from "./task.ts";

/** What is kept of a text: pooled vectors joined end to end, the graph's own pooled vector, or every token's. */
export type Reduction = readonly Pooling[] | "graph" | "tokens";

export interface EmbedderItem extends Item {
  readonly encoding: Encoding;
  readonly reduction: Reduction;
}

export interface Embedder {
  /** How the repository wants its texts pooled; `undefined` when it does not say. */
  readonly own: SentenceTransformer | undefined;
  /** The reduction to one vector that fits the repository best. */
  readonly pooled: Reduction;
  readonly notes: readonly string[];
  /** @throws `INVALID_INPUT` when the text is too long and may not be cut. */
  toItem(text: string, reduction: Reduction, options: EncodeOptions): EmbedderItem;
  /** One forward pass; per item `[1][H]` where it is reduced to one vector, else `[T][H]`. */
  inference(items: readonly EmbedderItem[]): Promise<readonly number[][][]>;
  dispose(): Promise<void>;
}

/** The name that sentence-transformers' exports give to the end of the whole chain. */
const GRAPH_VECTOR = "sentence_embedding";

/**
 * Loads a model that answers with vectors.
 *
 * @param task The task's name, for messages.
 * @throws `MODEL_INVALID` when the graph has no vectors, or the repository wants modules that nobody can run.
 */
export async function openEmbedder(model: TaskModel, task: string): Promise<Embedder> {
  const own = await readSentenceTransformer(model.folder);
  const encoder = await loadEncoder(model, AutoModel);
  const needsGraph = own !== undefined && own.unsupported.length > 0;
  if (needsGraph && encoder.outputs.get(GRAPH_VECTOR) !== 2) {
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot serve ${task}: modules.json asks for ${own.unsupported.join(", ")}, which hubserve cannot run, and the graph has no output "${GRAPH_VECTOR}" of its own`,
    );
  }
  const hasTokens = ["last_hidden_state", "token_embeddings"].some((name) =>
    encoder.outputs.has(name),
  );
  const hidden =
    needsGraph && !hasTokens
      ? undefined
      : findOutput(encoder, model, task, ["last_hidden_state", "token_embeddings"], 3);

  /** @returns Per item its rows, of the items that read this output. */
  async function run(items: readonly EmbedderItem[], output: string): Promise<number[][][]> {
    const tensor = await encoder.forward(
      items.map(({ encoding }) => encoding),
      output,
    );
    const H = tensor.dims.at(-1) ?? 0;
    return items.map((item, b) => reduce(rowOf(tensor, b), item, H));
  }

  return {
    own,
    pooled: needsGraph ? "graph" : (own?.poolings ?? ["mean"]),
    notes: own === undefined ? [] : [describe(own)],

    toItem(text, reduction, options) {
      const stripped = own === undefined ? text : text.trim();
      const encoding = encoder.encode(own?.lowercase ? stripped.toLowerCase() : stripped, {
        ...options,
        maxTokens: Math.min(
          options.maxTokens ?? model.settings?.maxLength ?? Infinity,
          own?.maxTokens ?? Infinity,
        ),
      });
      return { tokens: encoding.inputIds.length, encoding, reduction };
    },

    async inference(items) {
      const rows: number[][][] = items.map(() => []);
      for (const usesGraph of [true, false]) {
        const chosen = [...items.entries()].filter(
          ([, item]) => (item.reduction === "graph") === usesGraph,
        );
        if (chosen.length === 0) continue;
        const output = usesGraph ? GRAPH_VECTOR : hidden;
        if (output === undefined) throw noTokens(task);
        const results = await run(
          chosen.map(([, item]) => item),
          output,
        );
        for (const [i, [index]] of chosen.entries()) rows[index] = results[i] ?? [];
      }
      return rows;
    },

    dispose: () => encoder.dispose(),
  };
}

/** @param row `[H]` of the graph's vector, or `[≥T, H]` of the tokens'. */
function reduce(row: Float32Array, { reduction, tokens: T }: EmbedderItem, H: number): number[][] {
  if (reduction === "graph") return [Array.from(row)];
  if (reduction === "tokens") {
    return Array.from({ length: T }, (_, t) => Array.from(row.subarray(t * H, (t + 1) * H)));
  }
  return [reduction.flatMap((pooling) => [...pool(row, T, H, pooling)])];
}

function describe({ poolings, normalize, unsupported }: SentenceTransformer): string {
  const how = unsupported.length > 0 ? "by the graph itself" : poolings.join(" and ");
  return `Pooling as the repository says: ${how}${normalize ? ", normalized" : ""}`;
}

function noTokens(task: string): RuntimeError {
  return new RuntimeError(
    "INVALID_INPUT",
    `Cannot serve ${task} with another pooling: this model's graph answers with one vector per text only`,
  );
}
