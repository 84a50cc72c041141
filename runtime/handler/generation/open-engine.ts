/**
 * The engine of a loaded model: the runner that its graph allows, and limits that fit it.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";

import type { PreTrainedTokenizer } from "@huggingface/transformers";

import type { LoadedNetwork } from "../model/decoder-files.ts";
import { openCausalDecoder, type Network } from "../model/decoder.ts";
import { run as searchBeams } from "../model/generation.ts";
import type { TaskModel } from "../tasks/task.ts";
import { fillsInPlace } from "./alignment.ts";
import { createBatchedRunner } from "./batched-runner.ts";
import { openCausalGraph, type GraphSession } from "./causal-graph.ts";
import { chooseLimits } from "./limits.ts";
import { createSingleRunner } from "./single-runner.ts";
import { createTextEngine, type TextEngine } from "./text-engine.ts";

/** Puts the parts together for a loaded model. */
export async function openTextEngine(
  model: TaskModel,
  network: Network & Pick<LoadedNetwork, "columns">,
  {
    tokenizer,
    padId,
    maxTokens,
  }: { tokenizer: PreTrainedTokenizer; padId: number; maxTokens: number },
): Promise<TextEngine> {
  const sessions: Readonly<Record<string, GraphSession>> = network.sessions;
  const { model: first, decoder_with_past_model: later } = sessions;
  const session = network.columns?.session ?? sessions["decoder_model_merged"] ?? later ?? first;
  if (session === undefined) throw new TypeError("the network has no decoder");
  const graph = openCausalGraph(
    session,
    later === undefined ? undefined : first,
    network.columns?.columns,
  );
  const runner =
    graph === undefined
      ? createSingleRunner(network, padId)
      : createBatchedRunner({
          graph,
          padId,
          inPlace: await fillsInPlace(graph),
          weightsBytes: await sizeOf(model),
        });
  return createTextEngine({
    runner,
    tokenizer,
    limits: chooseLimits(model.generation, { bytesPerToken: runner.bytesPerToken, maxTokens }),
    async search(prompt, settings, signal) {
      const decoder = openCausalDecoder(network, padId);
      const [found] = await searchBeams(decoder, [prompt], [{ settings }], { tokenizer }, signal);
      return found ?? { ids: [] };
    },
  });
}

/** Bytes of the weights' files. */
async function sizeOf({ folder, weights }: TaskModel): Promise<number> {
  const sizes = await Promise.all(
    weights.files.map(async (file) => (await stat(join(folder.repository, file))).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
