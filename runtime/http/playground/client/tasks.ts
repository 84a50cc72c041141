/**
 * What the page asks for in each task, and what it offers to try.
 *
 * To add a task: an entry in `TASKS`. A task that is not here, or a handler of a repository's own, gets a form made of the
 * schema it tells, or an editor for JSON (`custom-form.ts`).
 */
import type { JsonValue } from "../../../inference.ts";
import type { Fields } from "./json.ts";
import type { MediaFile } from "./media.ts";

export type FieldKind = "text" | "line" | "lines" | "image" | "audio";

export interface Field {
  readonly kind: FieldKind;
  readonly label: string;
  readonly hint?: string;
  readonly isOptional?: boolean;
}

/** What a field holds: a text, or the lines of one that are not empty. */
export type FieldValue = string | readonly string[] | MediaFile;
export type Values = Readonly<Record<string, FieldValue>>;

export interface Example {
  readonly label: string;
  readonly values: Readonly<Record<string, string>>;
}

export interface TaskForm {
  /** What the model does, in a few words. */
  readonly about: string;
  readonly fields: Readonly<Record<string, Field>>;
  readonly inputs: (values: Values) => JsonValue;
  /** Parameters that have a field of their own. */
  readonly parameters?: (values: Values) => Fields;
  /** What the form sends of itself, as the page can show more than the default: visible among the parameters. */
  readonly presets?: Fields;
  readonly examples: readonly Example[];
  /** Whether `parameters.explain` is answered. */
  readonly explains?: boolean;
}

const TEXTS: Readonly<Record<string, string>> = {
  Excited: "I am quite excited how this will turn out",
  Afraid: "I'm scared of the dark",
  Furious: "That really made me furious",
};

function examples(texts: Readonly<Record<string, string>>, field = "text"): readonly Example[] {
  return Object.entries(texts).map(([label, text]) => ({ label, values: { [field]: text } }));
}

const base64 = (value: FieldValue | undefined): string =>
  typeof value === "object" && "base64" in value ? value.base64 : "";

const words = (value: FieldValue | undefined): string => (typeof value === "string" ? value : "");

const lines = (value: FieldValue | undefined): readonly string[] =>
  Array.isArray(value) ? (value as readonly string[]) : []; // of a field of lines

function onText(form: Omit<TaskForm, "fields" | "inputs">, label = "Text"): TaskForm {
  return {
    fields: { text: { kind: "text", label } },
    inputs: ({ text }) => words(text),
    ...form,
  };
}

function onImage(about: string, more: Partial<TaskForm> = {}): TaskForm {
  return {
    about,
    fields: { image: { kind: "image", label: "Image" } },
    inputs: ({ image }) => base64(image),
    examples: pictures("Shapes", "Landscape"),
    ...more,
  };
}

function onSound(about: string, more: Partial<TaskForm> = {}): TaskForm {
  return {
    about,
    fields: { audio: { kind: "audio", label: "Sound" } },
    inputs: ({ audio }) => base64(audio),
    examples: [
      { label: "Chord", values: { audio: "Chord" } },
      { label: "Siren", values: { audio: "Siren" } },
      { label: "Knocking", values: { audio: "Knocking" } },
    ],
    ...more,
  };
}

function pictures(...names: readonly string[]): readonly Example[] {
  return names.map((name) => ({ label: name, values: { image: name } }));
}

const LABELS: Field = { kind: "line", label: "Labels", hint: "Separated by commas" };

const labelled = ({ labels }: Values): Fields => ({ candidate_labels: split(words(labels)) });

function split(text: string): readonly string[] {
  return text
    .split(",")
    .map((label) => label.trim())
    .filter((label) => label !== "");
}

function onQuestion(about: string, list: readonly Example[]): TaskForm {
  return {
    about,
    fields: {
      image: { kind: "image", label: "Image" },
      question: { kind: "line", label: "Question" },
    },
    inputs: ({ image, question }) => ({ image: base64(image), question: words(question) }),
    examples: list,
  };
}

const STORY =
  "The little dog went to the park and played with a red ball all day long. In the evening it was tired, " +
  "walked home with its friend Anna, and slept until the sun came up.";

export const TASKS: Readonly<Record<string, TaskForm>> = {
  "text-classification": {
    about: "Tells which label fits a text",
    fields: {
      text: { kind: "text", label: "Text" },
      pair: {
        kind: "line",
        label: "Second text",
        hint: "For models that compare two",
        isOptional: true,
      },
    },
    inputs: ({ text, pair }) =>
      pair ? { text: words(text), text_pair: words(pair) } : words(text),
    presets: { top_k: 6 },
    examples: examples(TEXTS),
    explains: true,
  },
  "token-classification": onText({
    about: "Finds names and other things in a text",
    presets: { aggregation_strategy: "simple" },
    examples: examples({
      "At work": "Anna works in Paris for Google.",
      "At home": "My name is Sarah and I live in London with Peter.",
      Travel: "Tom flew from Berlin to Rome with Lufthansa.",
    }),
    explains: true,
  }),
  "question-answering": {
    about: "Finds the answer to a question in a text",
    fields: {
      question: { kind: "line", label: "Question" },
      context: { kind: "text", label: "Context" },
    },
    inputs: ({ question, context }) => ({ question: words(question), context: words(context) }),
    presets: { top_k: 3 },
    examples: [
      {
        label: "Who?",
        values: {
          question: "Who lives in Paris?",
          context: "Anna lives in Paris. Tom lives in Rome.",
        },
      },
      {
        label: "Where?",
        values: {
          question: "Where does Peter live?",
          context: "Anna lives in Paris. Peter lives in London. Both were born in Berlin.",
        },
      },
    ],
    explains: true,
  },
  "fill-mask": onText(
    {
      about: "Guesses the word that is left out",
      examples: examples({
        Park: "The little [MASK] went to the park.",
        Goal: "The goal of life is [MASK].",
      }),
    },
    "Text with a mask",
  ),
  summarization: onText({
    about: "Makes a long text short",
    presets: { max_new_tokens: 60 },
    examples: examples({ Story: STORY }),
  }),
  translation: onText({
    about: "Translates a text",
    presets: { max_new_tokens: 80 },
    examples: examples({
      Greeting: "Hello, how are you today?",
      Park: "The little dog went to the park.",
    }),
  }),
  "text2text-generation": onText({
    about: "Answers a text with a text",
    presets: { max_new_tokens: 60 },
    examples: examples({
      Translate: "translate English to German: The house is wonderful.",
      Question: "Answer the question: what is the capital of France?",
    }),
  }),
  "text-generation": onText(
    {
      about: "Continues a text",
      presets: { max_new_tokens: 60 },
      examples: examples({ Story: "Once upon a time", Dog: "The little dog" }),
      explains: true,
    },
    "Prompt",
  ),
  "zero-shot-classification": {
    about: "Tells which of your own labels fits a text",
    fields: { text: { kind: "text", label: "Text" }, labels: LABELS },
    inputs: ({ text }) => words(text),
    parameters: labelled,
    examples: [
      {
        label: "Journey",
        values: { text: "One day I will see the world", labels: "travel, cooking, dancing" },
      },
      {
        label: "Complaint",
        values: {
          text: "My parcel arrived broken, I want my money back",
          labels: "refund, praise, question",
        },
      },
    ],
  },
  "feature-extraction": onText({
    about: "Turns a text into numbers",
    examples: examples({ Car: "The man buys a car in the city", Weather: "It rains in Spain" }),
  }),
  "sentence-similarity": {
    about: "Tells how near texts are to each other in meaning",
    fields: {
      source: { kind: "line", label: "Sentence" },
      sentences: { kind: "lines", label: "Compared with", hint: "One on each line" },
    },
    inputs: ({ source, sentences }) => ({
      source_sentence: words(source),
      sentences: lines(sentences),
    }),
    examples: [
      {
        label: "Cars",
        values: {
          source: "The man buys a car in the city",
          sentences:
            "A guy is purchasing an automobile downtown\nThe woman is reading a book\nHe sells his old bicycle",
        },
      },
    ],
  },
  "text-ranking": {
    about: "Puts texts in order by how well they answer a query",
    fields: {
      query: { kind: "line", label: "Query" },
      texts: { kind: "lines", label: "Texts", hint: "One on each line" },
    },
    inputs: ({ query, texts }) => ({
      query: words(query),
      texts: lines(texts),
    }),
    examples: [
      {
        label: "Park",
        values: {
          query: "a dog in the park",
          texts: "The dog plays outside\nIt rains\nCats sleep all day",
        },
      },
    ],
  },
  "text-to-audio": onText({
    about: "Reads a text aloud",
    examples: examples({ Greeting: "Hello, how are you today?", Short: "Good morning" }),
  }),
  "image-classification": onImage("Tells what is on an image"),
  "object-detection": onImage("Finds things on an image"),
  "image-segmentation": onImage("Parts an image into the things on it"),
  "depth-estimation": onImage("Tells how far away everything on an image is"),
  "background-removal": onImage("Cuts out what stands in front"),
  "image-to-image": onImage("Turns an image into another"),
  "image-to-text": onImage("Describes an image", { presets: { max_new_tokens: 30 } }),
  "image-feature-extraction": onImage("Turns an image into numbers"),
  "zero-shot-image-classification": onImage("Tells which of your own labels fits an image", {
    fields: { image: { kind: "image", label: "Image" }, labels: LABELS },
    parameters: labelled,
    examples: [
      { label: "Shapes", values: { image: "Shapes", labels: "circle, square, triangle, star" } },
      { label: "Landscape", values: { image: "Landscape", labels: "a house, a dog, a portrait" } },
    ],
  }),
  "zero-shot-object-detection": onImage("Finds what you name on an image", {
    fields: { image: { kind: "image", label: "Image" }, labels: LABELS },
    parameters: labelled,
    examples: [
      { label: "Shapes", values: { image: "Shapes", labels: "a circle, a square" } },
      { label: "Landscape", values: { image: "Landscape", labels: "a house, a mountain" } },
    ],
  }),
  "visual-question-answering": onQuestion("Answers a question about an image", [
    { label: "Shapes", values: { image: "Shapes", question: "How many shapes are there?" } },
    { label: "House", values: { image: "Landscape", question: "What colour is the house?" } },
  ]),
  "document-question-answering": onQuestion("Answers a question about a page", [
    { label: "Invoice", values: { image: "Invoice", question: "What is the total?" } },
  ]),
  "audio-classification": onSound("Tells what is heard"),
  "automatic-speech-recognition": onSound("Writes down what is said"),
  "zero-shot-audio-classification": onSound("Tells which of your own labels fits a sound", {
    fields: { audio: { kind: "audio", label: "Sound" }, labels: LABELS },
    parameters: labelled,
    examples: [
      { label: "Chord", values: { audio: "Chord", labels: "music, speech, a siren" } },
      { label: "Siren", values: { audio: "Siren", labels: "music, speech, a siren" } },
    ],
  }),
};
