/**
 * The tasks that the default handler serves, one line each.
 *
 * To add one: write `<task>.ts` beside this file, name it here, and let a test compare it with a golden of the Python
 * pipeline. `../model/choose-task.ts` already knows which architectures ask for it. A task's file is loaded only where
 * the task is served: some bring decoders and processors with them.
 */
import type { Task } from "./task.ts";

/** A task's label on the shelf. */
export interface TaskEntry {
  /** The Hub's name of the task (`pipeline_tag`). */
  readonly name: string;
  /** Other names that mean the same. */
  readonly aliases: readonly string[];
  load(): Promise<Task>;
}

export const TASKS: readonly TaskEntry[] = [
  {
    name: "audio-classification",
    aliases: [],
    load: async () => (await import("./audio-classification.ts")).audioClassification,
  },
  {
    name: "automatic-speech-recognition",
    aliases: ["asr", "speech-to-text"],
    load: async () =>
      (await import("./automatic-speech-recognition.ts")).automaticSpeechRecognition,
  },
  {
    name: "background-removal",
    aliases: [],
    load: async () => (await import("./background-removal.ts")).backgroundRemoval,
  },
  {
    name: "depth-estimation",
    aliases: [],
    load: async () => (await import("./depth-estimation.ts")).depthEstimation,
  },
  {
    name: "document-question-answering",
    aliases: [],
    load: async () => (await import("./document-question-answering.ts")).documentQuestionAnswering,
  },
  {
    name: "feature-extraction",
    aliases: ["embeddings", "sentence-embeddings"],
    load: async () => (await import("./feature-extraction.ts")).featureExtraction,
  },
  {
    name: "fill-mask",
    aliases: [],
    load: async () => (await import("./fill-mask.ts")).fillMask,
  },
  {
    name: "image-classification",
    aliases: [],
    load: async () => (await import("./image-classification.ts")).imageClassification,
  },
  {
    name: "image-feature-extraction",
    aliases: [],
    load: async () => (await import("./image-feature-extraction.ts")).imageFeatureExtraction,
  },
  {
    name: "image-segmentation",
    aliases: [],
    load: async () => (await import("./image-segmentation.ts")).imageSegmentation,
  },
  {
    name: "image-to-image",
    aliases: [],
    load: async () => (await import("./image-to-image.ts")).imageToImage,
  },
  {
    name: "image-to-text",
    aliases: [],
    load: async () => (await import("./image-to-text.ts")).imageToText,
  },
  {
    name: "object-detection",
    aliases: [],
    load: async () => (await import("./object-detection.ts")).objectDetection,
  },
  {
    name: "question-answering",
    aliases: [],
    load: async () => (await import("./question-answering.ts")).questionAnswering,
  },
  {
    name: "sentence-similarity",
    aliases: [],
    load: async () => (await import("./sentence-similarity.ts")).sentenceSimilarity,
  },
  {
    name: "summarization",
    aliases: [],
    load: async () => (await import("./summarization.ts")).summarization,
  },
  {
    name: "text-classification",
    aliases: ["sentiment-analysis"],
    load: async () => (await import("./text-classification.ts")).textClassification,
  },
  {
    name: "text-generation",
    aliases: ["conversational"],
    load: async () => (await import("./text-generation.ts")).textGeneration,
  },
  {
    name: "text-ranking",
    aliases: ["rerank", "sentence-ranking"],
    load: async () => (await import("./text-ranking.ts")).textRanking,
  },
  {
    name: "text-to-audio",
    aliases: ["text-to-speech"],
    load: async () => (await import("./text-to-audio.ts")).textToAudio,
  },
  {
    name: "text2text-generation",
    aliases: [],
    load: async () => (await import("./text2text-generation.ts")).text2textGeneration,
  },
  {
    name: "token-classification",
    aliases: ["ner"],
    load: async () => (await import("./token-classification.ts")).tokenClassification,
  },
  {
    name: "translation",
    aliases: [],
    load: async () => (await import("./translation.ts")).translation,
  },
  {
    name: "visual-question-answering",
    aliases: ["vqa"],
    load: async () => (await import("./visual-question-answering.ts")).visualQuestionAnswering,
  },
  {
    name: "zero-shot-audio-classification",
    aliases: [],
    load: async () =>
      (await import("./zero-shot-audio-classification.ts")).zeroShotAudioClassification,
  },
  {
    name: "zero-shot-classification",
    aliases: [],
    load: async () => (await import("./zero-shot-classification.ts")).zeroShotClassification,
  },
  {
    name: "zero-shot-image-classification",
    aliases: [],
    load: async () =>
      (await import("./zero-shot-image-classification.ts")).zeroShotImageClassification,
  },
  {
    name: "zero-shot-object-detection",
    aliases: [],
    load: async () => (await import("./zero-shot-object-detection.ts")).zeroShotObjectDetection,
  },
];

/** The task that `name` means, by its own name or an alias. */
export function findTask(name: string): TaskEntry | undefined {
  const wanted = name.trim().toLowerCase();
  return TASKS.find((task) => task.name === wanted || task.aliases.includes(wanted));
}
