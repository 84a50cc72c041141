/**
 * The tasks' answers beside the types that Hugging Face publishes for them (`@huggingface/tasks`).
 *
 * Nothing here runs: `tsc` reads it, and fails where an answer no longer fits. To add a task: an `Answers<…>` line with
 * its answer to one input. The published types describe what Hugging Face's clients parse, and some are wrong; where
 * ours differs on purpose, the line says how and why.
 */
import type {
  AudioClassificationOutput,
  AutomaticSpeechRecognitionOutput,
  DepthEstimationOutput,
  DocumentQuestionAnsweringOutputElement,
  FeatureExtractionOutput,
  FillMaskOutputElement,
  ImageClassificationOutput,
  ImageSegmentationOutputElement,
  ImageToTextOutput,
  ObjectDetectionOutput,
  QuestionAnsweringOutputElement,
  SentenceSimilarityOutput,
  SummarizationOutput,
  TextClassificationOutput,
  TextGenerationOutput,
  TextToAudioOutput,
  TokenClassificationOutput,
  TranslationOutput,
  VisualQuestionAnsweringOutput,
  ZeroShotClassificationOutput,
  ZeroShotImageClassificationOutput,
  ZeroShotObjectDetectionOutput,
} from "@huggingface/tasks";

import type { Answer as QuestionAnsweringSpan } from "../../../runtime/handler/tasks/answers.ts";
import type {
  EntityGroup,
  LabelledToken,
} from "../../../runtime/handler/tasks/token-classification.ts";
import type { TextToAudioAnswer } from "../../../runtime/handler/tasks/text-to-audio.ts";
import type { ZeroShotAudioClassificationAnswer } from "../../../runtime/handler/tasks/zero-shot-audio-classification.ts";
import type { AudioClassificationAnswer } from "../../../runtime/handler/tasks/audio-classification.ts";
import type { AutomaticSpeechRecognitionAnswer } from "../../../runtime/handler/tasks/automatic-speech-recognition.ts";
import type { FeatureExtractionAnswer } from "../../../runtime/handler/tasks/feature-extraction.ts";
import type { Depth } from "../../../runtime/handler/tasks/depth-estimation.ts";
import type { ImageLabel } from "../../../runtime/handler/tasks/image-classification.ts";
import type { ImageSegment } from "../../../runtime/handler/tasks/image-segmentation.ts";
import type { DetectedObject } from "../../../runtime/handler/tasks/object-detection.ts";
import type { FillMaskAnswer } from "../../../runtime/handler/tasks/fill-mask.ts";
import type { SentenceSimilarityAnswer } from "../../../runtime/handler/tasks/sentence-similarity.ts";
import type { TextClassificationAnswer } from "../../../runtime/handler/tasks/text-classification.ts";
import type { DocumentQuestionAnsweringAnswer } from "../../../runtime/handler/tasks/document-question-answering.ts";
import type { ImageToTextAnswer } from "../../../runtime/handler/tasks/image-to-text.ts";
import type { VisualQuestionAnsweringAnswer } from "../../../runtime/handler/tasks/visual-question-answering.ts";
import type { ZeroShotImageClassificationAnswer } from "../../../runtime/handler/tasks/zero-shot-image-classification.ts";
import type { ZeroShotObjectDetectionAnswer } from "../../../runtime/handler/tasks/zero-shot-object-detection.ts";
import type { SummarizationAnswer } from "../../../runtime/handler/tasks/summarization.ts";
import type { Text2TextGenerationAnswer } from "../../../runtime/handler/tasks/text2text-generation.ts";
import type { TextGenerationAnswer } from "../../../runtime/handler/tasks/text-generation.ts";
import type { TranslationAnswer } from "../../../runtime/handler/tasks/translation.ts";
import type { ZeroShotClassificationAnswer } from "../../../runtime/handler/tasks/zero-shot-classification.ts";

/** `Ours`, if a client that reads `Theirs` can read it; their types are never readonly, ours always. */
type Answers<Ours extends Frozen<Theirs>, Theirs> = Ours;

type Frozen<T> = T extends readonly (infer E)[]
  ? readonly Frozen<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T;

/** The keys that were written down, without the `[property: string]: unknown` beside them. */
type Written<T> = {
  [K in keyof T as string extends K ? never : K]: T[K];
};

// The check itself can fail: a score that is a text, a label that is missing.
type TextScore = readonly { label: string; score: string }[];
type NoLabel = readonly { score: number }[];
// @ts-expect-error
export type WrongScore = Answers<TextScore, TextClassificationOutput>;
// @ts-expect-error
export type WrongLabel = Answers<NoLabel, TextClassificationOutput>;

export type FeatureExtraction = Answers<FeatureExtractionAnswer, FeatureExtractionOutput>;

// Theirs asks for `tokenStr` as well, a second spelling of `token_str` that no server sends.
type Filling = Omit<Written<FillMaskOutputElement>, "tokenStr">;
export type FillMask = Answers<Extract<FillMaskAnswer, readonly { score: number }[]>, Filling[]>;

// The toolkit wraps the numbers; the dialect of Hugging Face's clients unwraps them.
export type SentenceSimilarity = Answers<
  SentenceSimilarityAnswer["similarities"],
  SentenceSimilarityOutput
>;

export type TextClassification = Answers<TextClassificationAnswer, TextClassificationOutput>;

// Theirs says that every answer has a score and a place among words; Donut's have neither, and may be none.
type DocumentAnswer = Pick<Written<DocumentQuestionAnsweringOutputElement>, "answer">;
export type DocumentQuestionAnswering = Answers<
  readonly { readonly answer: Exclude<DocumentQuestionAnsweringAnswer[number]["answer"], null> }[],
  DocumentAnswer[]
>;

// Theirs has a second spelling, `generatedText`, that no server sends; and it is one object, where servers send a list.
export type ImageToText = Answers<
  ImageToTextAnswer[number],
  Omit<Written<ImageToTextOutput>, "generatedText">
>;

export type VisualQuestionAnswering = Answers<
  VisualQuestionAnsweringAnswer,
  VisualQuestionAnsweringOutput
>;

export type ZeroShotImageClassification = Answers<
  ZeroShotImageClassificationAnswer,
  ZeroShotImageClassificationOutput
>;

export type ZeroShotObjectDetection = Answers<
  ZeroShotObjectDetectionAnswer,
  ZeroShotObjectDetectionOutput
>;

// Theirs is one object, where Python's pipelines and their own clients have a list of them.
export type Summarization = Answers<SummarizationAnswer[number], SummarizationOutput>;
export type Translation = Answers<TranslationAnswer[number], TranslationOutput>;
export type TextGeneration = Answers<TextGenerationAnswer[number], TextGenerationOutput>;
// The same words for text to text, which is not published any more.
export type Text2TextGeneration = Answers<Text2TextGenerationAnswer[number], TextGenerationOutput>;

// The toolkit answers columns; theirs are rows, which the dialect of Hugging Face's clients makes of them.
type Row = {
  label: ZeroShotClassificationAnswer["labels"][number];
  score: ZeroShotClassificationAnswer["scores"][number];
};
export type ZeroShotClassification = Answers<readonly Row[], ZeroShotClassificationOutput>;

export type DepthEstimation = Answers<Depth, DepthEstimationOutput>;
export type ImageClassification = Answers<readonly ImageLabel[], ImageClassificationOutput>;
export type ObjectDetection = Answers<readonly DetectedObject[], ObjectDetectionOutput>;

// The toolkit says null where a model scores no segment; theirs leaves the score out, as the dialect does.
type Scoreless = Omit<Written<ImageSegmentationOutputElement>, "score">;
export type ImageSegmentation = Answers<readonly Omit<ImageSegment, "score">[], Scoreless[]>;
// Not here: image-to-image and background-removal answer files, image-feature-extraction has no published type.

export type AudioClassification = Answers<AudioClassificationAnswer, AudioClassificationOutput>;
// Nothing is published for it; a label with its score is what the other zero-shot tasks answer.
export type ZeroShotAudioClassification = Answers<
  ZeroShotAudioClassificationAnswer,
  AudioClassificationOutput
>;

// Theirs has times that are always told; Whisper leaves out the end of what it did not hear end.
type Chunk = NonNullable<AutomaticSpeechRecognitionAnswer["chunks"]>[number];
export type AutomaticSpeechRecognition = Answers<
  Omit<AutomaticSpeechRecognitionAnswer, "chunks">,
  Omit<Written<AutomaticSpeechRecognitionOutput>, "chunks">
>;
type PublishedChunk = NonNullable<AutomaticSpeechRecognitionOutput["chunks"]>[number];
export type AutomaticSpeechRecognitionChunk = Answers<
  Pick<Chunk, "text">,
  Pick<Written<PublishedChunk>, "text">
>;

// Theirs is a file within JSON, which JSON has no room for: the file is answered alone, or its samples.
export type TextToAudio = Answers<
  Omit<TextToAudioAnswer, "audio">,
  Omit<Written<TextToAudioOutput>, "audio">
>;

export type TokenClassification = Answers<
  readonly LabelledToken[] | readonly EntityGroup[],
  TokenClassificationOutput
>;

// Theirs is always a list; Python's pipeline and the toolkit answer one object unless `top_k` is above 1.
export type QuestionAnswering = Answers<QuestionAnsweringSpan, QuestionAnsweringOutputElement>;
