/**
 * One example of each task on the shelf, with a small model that answers it: for TASKS.md, and for tests that go
 * through all tasks.
 */
import { join } from "node:path";
import { EMBEDDED, modelPath } from "./goldens.ts";

export const FILES = {
  image: { name: "shapes.png", path: modelPath("_expected/images/shapes-64x64-0.png") },
  sound: { name: "tones.wav", path: modelPath("_expected/audio/tones-0.wav") },
} as const;

/** How an example is asked. */
export type Ask =
  | { readonly json: Readonly<Record<string, unknown>> }
  /** The file as the body, parameters in the query. */
  | { readonly file: keyof typeof FILES; readonly query?: string }
  | { readonly form: Readonly<Record<string, string>>; readonly file: keyof typeof FILES };

export interface Example {
  /** What `inputs` may be, and what comes back. */
  readonly about: string;
  /** A folder of `test/fixtures/models`; absent where none of them serves the task: no answer is shown then. */
  readonly model?: string;
  /** Whether that model's weights are random, so that what it says is not worth showing. */
  readonly isMute?: boolean;
  readonly ask: Ask;
}

export const EXAMPLES: Readonly<Record<string, Example>> = {
  "audio-classification": {
    about: "A sound, or a list → its labels, best first.",
    model: "tiny-wav2vec2",
    ask: { file: "sound", query: "top_k=2" },
  },
  "automatic-speech-recognition": {
    about:
      "A sound, or a list → `text`, with `return_timestamps` also `chunks`. Whisper and CTC models; long sounds are read in pieces.",
    model: "tiny-whisper",
    isMute: true,
    ask: { file: "sound" },
  },
  "background-removal": {
    about: "An image → a PNG of it with the background transparent.",
    model: "tiny-modnet",
    ask: { file: "image" },
  },
  "depth-estimation": {
    about:
      "An image, or a list → `predicted_depth`, the model's numbers row by row, and `depth`, a PNG in base64.",
    model: "tiny-glpn",
    ask: { file: "image" },
  },
  "document-question-answering": {
    about: "`question` and `image` → `answer`. Models that read the page themselves (Donut).",
    model: "tiny-donut",
    ask: { form: { question: "What is the total?" }, file: "image" },
  },
  "feature-extraction": {
    about:
      "A text, or a list → a vector for each text where the repository or the request says how to pool, else a vector for each token.",
    model: "minilm-embed",
    ask: { json: { inputs: "The man buys a car in the city", parameters: { dimensions: 3 } } },
  },
  "fill-mask": {
    about:
      "A text with the model's mask, or a list → candidates, best first; a list of them for each of several masks.",
    model: "tiny-bert-mlm",
    ask: { json: { inputs: "The little [MASK] went to the park.", parameters: { top_k: 2 } } },
  },
  "image-classification": {
    about: "An image, or a list → its labels, best first.",
    model: "tiny-vit",
    ask: { file: "image", query: "top_k=2" },
  },
  "image-feature-extraction": {
    about: "An image, or a list → its vectors.",
    model: "tiny-vit-features",
    ask: { file: "image" },
  },
  "image-segmentation": {
    about:
      "An image → its segments, each with a mask as a PNG in base64. Semantic segments have no score.",
    model: "tiny-segformer",
    ask: { file: "image" },
  },
  "image-to-image": {
    about: "An image → a PNG, say an enlarged one.",
    model: "tiny-swin2sr",
    ask: { file: "image" },
  },
  "image-to-text": {
    about: "An image, or a list → what is on it, in words.",
    model: "tiny-vit-gpt2",
    isMute: true,
    ask: { file: "image", query: "max_new_tokens=8" },
  },
  "object-detection": {
    about: "An image → the things on it, with their boxes in pixels.",
    model: "tiny-yolos",
    ask: { file: "image", query: "threshold=0.2" },
  },
  "question-answering": {
    about:
      "`question` and `context`, or a list → the answer's text and place in the context, in code points. Long contexts are read window by window.",
    model: "qa-bert",
    ask: {
      json: {
        inputs: {
          question: "Who lives in Paris?",
          context: "Anna lives in Paris. Tom lives in Rome.",
        },
      },
    },
  },
  "sentence-similarity": {
    about: "`source_sentence` and `sentences` → how near each is, at most 1.",
    model: "minilm-embed",
    ask: {
      json: {
        inputs: {
          source_sentence: "The man buys a car in the city",
          sentences: ["A guy is purchasing an automobile downtown", "The woman is reading a book"],
        },
      },
    },
  },
  summarization: {
    about: "A text, or a list → a shorter one.",
    model: "tiny-bart",
    isMute: true,
    ask: {
      json: {
        inputs: "The little dog went to the park and played with a red ball all day long.",
        parameters: { max_new_tokens: 8 },
      },
    },
  },
  "text-classification": {
    about:
      "A text, `{text, text_pair}`, or a list → the best label; with `top_k` the best of them, in a list of its own.",
    model: join(EMBEDDED, "model"),
    ask: { json: { inputs: "I'm scared of the dark", parameters: { top_k: 2 } } },
  },
  "text-generation": {
    about: "A text, or a list → the text and how it goes on.",
    model: "tiny-gpt2",
    ask: { json: { inputs: "The little dog", parameters: { max_new_tokens: 8 } } },
  },
  "text-ranking": {
    about:
      "`query` and `texts` → the texts' indices and scores, best first; or a list of pairs → their scores.",
    ask: {
      json: {
        inputs: { query: "a dog in the park", texts: ["The dog plays outside", "It rains"] },
      },
    },
  },
  "text-to-audio": {
    about: "A text → speech as a WAV file.",
    model: "tiny-vits",
    ask: { json: { inputs: "Hello" } },
  },
  "text2text-generation": {
    about: "A text, or a list → whatever text the model was trained to answer with.",
    model: "tiny-t5",
    isMute: true,
    ask: {
      json: { inputs: "The little dog went to the park.", parameters: { max_new_tokens: 8 } },
    },
  },
  "token-classification": {
    about:
      "A text, or a list → its entities, with their places in code points; token by token unless `aggregation_strategy` joins them. Long texts are read window by window with `stride`.",
    model: "ner-bert",
    ask: {
      json: {
        inputs: "Anna works in Paris for Google.",
        parameters: { aggregation_strategy: "simple" },
      },
    },
  },
  translation: {
    about:
      "A text, or a list → its translation. Models of many languages want `src_lang` and `tgt_lang`.",
    model: "tiny-m2m100",
    isMute: true,
    ask: {
      json: {
        inputs: "The little dog went to the park.",
        parameters: { src_lang: "en", tgt_lang: "fr", max_new_tokens: 8 },
      },
    },
  },
  "visual-question-answering": {
    about:
      "`question` and `image` → answers, best first. Models that choose among answers of their own (ViLT).",
    ask: { form: { question: "How many shapes are there?" }, file: "image" },
  },
  "zero-shot-audio-classification": {
    about: "A sound, or a list, and `candidate_labels` → the labels, best first.",
    model: "tiny-clap",
    ask: { file: "sound", query: "candidate_labels=music,speech" },
  },
  "zero-shot-classification": {
    about: "A text, or a list, and `candidate_labels` → the labels, best first.",
    model: "tiny-bert-nli",
    ask: {
      json: {
        inputs: "One day I will see the world",
        parameters: { candidate_labels: ["travel", "cooking"] },
      },
    },
  },
  "zero-shot-image-classification": {
    about: "An image, or a list, and `candidate_labels` → the labels, best first.",
    model: "tiny-clip",
    ask: { form: { candidate_labels: "circle,square" }, file: "image" },
  },
  "zero-shot-object-detection": {
    about:
      "An image and `candidate_labels` → the things on it that are one of them, with their boxes in pixels.",
    model: "tiny-owlvit",
    ask: { form: { candidate_labels: "circle,square", top_k: "1" }, file: "image" },
  },
};
