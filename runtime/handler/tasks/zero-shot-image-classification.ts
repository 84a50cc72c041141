/**
 * Zero-shot image classification: which of some labels fits an image best.
 *
 * Each label becomes a sentence ("This is a photo of a cat."), and the sentences that resemble the image most win. Numbers
 * follow `ZeroShotImageClassificationPipeline` of Python's transformers (4.57 and 5.18): CLIP's scores are shares of 1,
 * SigLIP's stand for themselves. Letters: `N` labels.
 *
 * @example
 * ```jsonc
 * // test/fixtures/models/tiny-clip in fp32, whose weights are random, and an image of 64 × 64 pixels.
 * {"inputs": "iVBORw0KGgoA…", "parameters": {"candidate_labels": ["circle", "star"]}}
 * // → [{"score": 0.9699329947998937, "label": "star"}, {"score": 0.03006700520010635, "label": "circle"}]
 * ```
 */
import { AutoModel } from "@huggingface/transformers";
import { z } from "zod";

import { openComparer, type Comparison } from "../model/similarity.ts";
import { imageCost } from "../model/vision.ts";
import { isSiglip, loadVisionText } from "../model/vision-text.ts";
import { CandidateLabels } from "./candidate-labels.ts";
import { createImageInput, EXAMPLE_IMAGE, IGNORED_IMAGE_PARAMETERS } from "./image-input.ts";
import { readParameters } from "./inputs.ts";
import { labelledImages, LabelledImageInputs, type LabelledImage } from "./labelled-image.ts";
import { findOutput } from "./outputs.ts";
import { sigmoid, softmax, topIndices } from "./scores.ts";
import type { Item, OpenTask, Task, TaskContext, TaskModel } from "./task.ts";

const ACTION = "classify the image";

const wantedTemplate = `a string with "{}" where the label goes`;

export const ZeroShotImageClassificationParameters = z.object({
  candidate_labels: CandidateLabels,
  /** The sentence that a label is put into. */
  hypothesis_template: z
    .string(wantedTemplate)
    .includes("{}", wantedTemplate)
    .nullish()
    .transform((given) => given ?? "This is a photo of {}."),
});

const LABELS_READ_ANEW =
  "The graph's scores are no scaled similarity of its vectors: labels are read anew for each request";

/** Of Python's pipeline: how long to wait for a URL, and what its tokenizer is told. */
const IGNORED = [...IGNORED_IMAGE_PARAMETERS, "tokenizer_kwargs"];

export const zeroShotImageClassification: Task = {
  inputs: LabelledImageInputs,
  parameters: ZeroShotImageClassificationParameters,
  example: {
    inputs: EXAMPLE_IMAGE,
    parameters: { candidate_labels: ["a cat", "a dog", "a car"] },
  },
  answersListsByElement: true,
  measure: "items",
  open,
};

/** An image and its labels' sentences. */
type ComparedItem = Item & Comparison;

interface State {
  readonly isList: boolean;
  /** Per image. */
  readonly labels: readonly (readonly string[])[];
}

/** A label with its score. */
type Label = { readonly score: number; readonly label: string };
/** All labels of one image, the best first. */
export type ZeroShotImageClassificationAnswer = readonly Label[];

async function open(model: TaskModel): Promise<OpenTask<ComparedItem, Float64Array, State>> {
  const { config } = model.folder;
  const visionText = await loadVisionText(model, AutoModel, "zero-shot-image-classification");
  const { encoder, images } = visionText;
  findOutput(encoder, model, "zero-shot-image-classification", ["logits_per_image"], 2);
  const comparer = await openComparer(visionText);
  const input = createImageInput(ACTION, model.urlHosts);
  const toScores = isSiglip(config) ? sigmoid : softmax;

  async function toItem(
    { value, name, labels }: LabelledImage,
    context: TaskContext,
  ): Promise<{ readonly item: ComparedItem; readonly labels: readonly string[] }> {
    const { candidate_labels, hypothesis_template } = readParameters(
      ZeroShotImageClassificationParameters,
      labels.parameters,
      { action: ACTION, warn: context.warn, elsewhere: labels.elsewhere, ignored: IGNORED },
    );
    const texts = candidate_labels.map((label, index) =>
      visionText.encodeText(
        hypothesis_template.replaceAll("{}", () => label),
        { action: ACTION, name: `candidate_labels[${index}]`, warn: context.warn },
      ),
    );
    const pixels = await input.read(value, name, context, (image) =>
      images.read(image, { action: ACTION, name }),
    );
    return { item: { ...imageCost(pixels), pixels, texts }, labels: candidate_labels };
  }

  return {
    notes: comparer.keepsTexts ? [] : [LABELS_READ_ANEW],

    async preprocess(request, context) {
      const { images: sent, isList } = labelledImages(request, ACTION);
      const prepared = await Promise.all(sent.map((image) => toItem(image, context)));
      return {
        items: prepared.map(({ item }) => item),
        state: { isList, labels: prepared.map(({ labels }) => labels) },
      };
    },

    inference: (items, signal) => comparer.compare(items, signal),

    postprocess({ isList, labels }, results) {
      const answers = results.map((logits, place): ZeroShotImageClassificationAnswer => {
        const scores = toScores(logits);
        return topIndices(scores, scores.length).map((n) => ({
          score: scores[n] ?? 0,
          label: labels[place]?.[n] ?? "",
        }));
      });
      return isList ? answers : (answers[0] ?? []);
    },

    dispose: () => encoder.dispose(),
  };
}
