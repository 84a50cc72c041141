/**
 * How a handler calls transformers.js for each task: what `hubserve init` writes.
 *
 * Inputs become what the pipeline reads, its answer what Hugging Face's toolkit answers. To add a task: a row here. Tasks
 * for which transformers.js has no pipeline that runs in Node, such as those of sound, have none.
 */

/** What `inputs` are, and with that the reader that the handler begins with. */
export type InputKind = "texts" | "question" | "similarity" | "image";

export interface Template {
  /** The pipeline's name. */
  readonly pipeline: string;
  readonly inputs: InputKind;
  /** Imported from transformers.js beside `pipeline`. */
  readonly imports?: readonly string[];
  /** The body of `call`, from `inputs` and `parameters`; `this.pipe` is the pipeline. */
  readonly call: readonly string[];
  /** What the test holds of `answer`. */
  readonly check: readonly string[];
}

const PLAIN = ["return await this.pipe(readTexts(inputs), readOptions(parameters));"];
const IMAGE = ["return await this.pipe(await readImage(inputs), readOptions(parameters));"];

const LABELS = [
  "const [best] = answer as { label: string; score: number }[];",
  'assert.equal(typeof best?.label, "string");',
  "assert.ok(best !== undefined && best.score >= 0 && best.score <= 1);",
];
const isText = (key: string): readonly string[] => [
  `const [first] = answer as { ${key}: string }[];`,
  `assert.equal(typeof first?.${key}, "string");`,
];
const IS_LIST = ["assert.ok(Array.isArray(answer));"];
const IS_PICTURE = ["assert.ok(answer instanceof Object);"];

/** The labels to choose from are an argument of their own. */
const withLabels = (input: string): readonly string[] => [
  "const { candidate_labels: labels, ...options } = readOptions(parameters);",
  `return await this.pipe(${input}, readLabels(labels), options);`,
];

export const TEMPLATES: Readonly<Record<string, Template>> = {
  "text-classification": {
    pipeline: "text-classification",
    inputs: "texts",
    call: PLAIN,
    check: LABELS,
  },
  "token-classification": {
    pipeline: "token-classification",
    inputs: "texts",
    call: PLAIN,
    check: IS_LIST,
  },
  "fill-mask": {
    pipeline: "fill-mask",
    inputs: "texts",
    call: PLAIN,
    check: isText("token_str"),
  },
  "text-generation": {
    pipeline: "text-generation",
    inputs: "texts",
    call: PLAIN,
    check: isText("generated_text"),
  },
  "text2text-generation": {
    pipeline: "text2text-generation",
    inputs: "texts",
    call: PLAIN,
    check: isText("generated_text"),
  },
  summarization: {
    pipeline: "summarization",
    inputs: "texts",
    call: PLAIN,
    check: isText("summary_text"),
  },
  translation: {
    pipeline: "translation",
    inputs: "texts",
    call: PLAIN,
    check: isText("translation_text"),
  },
  "zero-shot-classification": {
    pipeline: "zero-shot-classification",
    inputs: "texts",
    call: withLabels("readTexts(inputs)"),
    check: [
      "const { labels, scores } = answer as { labels: string[]; scores: number[] };",
      "assert.equal(labels.length, scores.length);",
    ],
  },
  "question-answering": {
    pipeline: "question-answering",
    inputs: "question",
    call: [
      "const { question, context } = readQuestion(inputs);",
      "return await this.pipe(question, context, readOptions(parameters));",
    ],
    check: [
      "const { answer: text } = answer as { answer: string };",
      'assert.equal(typeof text, "string");',
    ],
  },
  "feature-extraction": {
    pipeline: "feature-extraction",
    inputs: "texts",
    call: [
      "const vectors = await this.pipe(readTexts(inputs), { ...POOLING, ...readOptions(parameters) });",
      "return vectors.tolist();",
    ],
    check: [
      "const [first] = answer as unknown[][];",
      "assert.ok(first !== undefined && first.length > 0);",
    ],
  },
  "sentence-similarity": {
    pipeline: "feature-extraction",
    inputs: "similarity",
    imports: ["cos_sim"],
    call: [
      "const { source_sentence: source, sentences } = readSentences(inputs);",
      "const options = { ...POOLING, ...readOptions(parameters) };",
      "const vectors = await this.pipe([source, ...sentences], options);",
      "const [first = [], ...others] = vectors.tolist() as number[][];",
      "return others.map((other) => cos_sim(first, other));",
    ],
    check: [
      "const [first] = answer as number[];",
      "assert.ok(first !== undefined && Math.abs(first) <= 1.001);",
    ],
  },
  "image-classification": {
    pipeline: "image-classification",
    inputs: "image",
    call: IMAGE,
    check: LABELS,
  },
  "object-detection": {
    pipeline: "object-detection",
    inputs: "image",
    call: IMAGE,
    check: IS_LIST,
  },
  "image-segmentation": {
    pipeline: "image-segmentation",
    inputs: "image",
    call: IMAGE,
    check: IS_LIST,
  },
  "image-to-text": {
    pipeline: "image-to-text",
    inputs: "image",
    call: IMAGE,
    check: isText("generated_text"),
  },
  "background-removal": {
    pipeline: "background-removal",
    inputs: "image",
    call: ["const [picture] = await this.pipe([await readImage(inputs)]);", "return picture;"],
    check: IS_PICTURE,
  },
  "depth-estimation": {
    pipeline: "depth-estimation",
    inputs: "image",
    call: ["return await this.pipe(await readImage(inputs));"],
    check: ['assert.ok(answer instanceof Object && "depth" in answer);'],
  },
  "image-feature-extraction": {
    pipeline: "image-feature-extraction",
    inputs: "image",
    call: [
      "const vectors = await this.pipe(await readImage(inputs), readOptions(parameters));",
      "return vectors.tolist();",
    ],
    check: IS_LIST,
  },
  "zero-shot-image-classification": {
    pipeline: "zero-shot-image-classification",
    inputs: "image",
    call: withLabels("await readImage(inputs)"),
    check: LABELS,
  },
  "zero-shot-object-detection": {
    pipeline: "zero-shot-object-detection",
    inputs: "image",
    call: withLabels("await readImage(inputs)"),
    check: IS_LIST,
  },
};

/** The functions below the class that make of `inputs` what the pipeline reads. A wrong body is the client's mistake: a 400. */
export const READERS: Readonly<
  Record<InputKind, { readonly name: string; readonly text: string }>
> = {
  texts: {
    name: "readTexts",
    text: `/** A text, or a list of texts. */
function readTexts(inputs: unknown): string | string[] {
  const isText = (value: unknown): value is string => typeof value === "string";
  if (isText(inputs) || (Array.isArray(inputs) && inputs.every(isText))) return inputs;
  throw new RuntimeError("INVALID_INPUT", 'Cannot answer: "inputs" must be a text or a list of texts');
}`,
  },
  question: {
    name: "readQuestion",
    text: `function readQuestion(inputs: unknown): { question: string; context: string } {
  if (typeof inputs === "object" && inputs !== null && "question" in inputs && "context" in inputs) {
    const { question, context } = inputs;
    if (typeof question === "string" && typeof context === "string") return { question, context };
  }
  throw new RuntimeError("INVALID_INPUT", 'Cannot answer: "inputs" must be {"question": …, "context": …}');
}`,
  },
  similarity: {
    name: "readSentences",
    text: `function readSentences(inputs: unknown): { source_sentence: string; sentences: string[] } {
  const isText = (value: unknown): value is string => typeof value === "string";
  if (typeof inputs === "object" && inputs !== null && "source_sentence" in inputs && "sentences" in inputs) {
    const { source_sentence, sentences } = inputs;
    if (isText(source_sentence) && Array.isArray(sentences) && sentences.every(isText)) return { source_sentence, sentences };
  }
  throw new RuntimeError("INVALID_INPUT", 'Cannot compare: "inputs" must be {"source_sentence": …, "sentences": […]}');
}`,
  },
  image: {
    name: "readImage",
    text: `/** The body's bytes, or base64. Never a path or an address: whoever sends one would have it opened here. */
async function readImage(inputs: unknown): Promise<RawImage> {
  const base64 = typeof inputs === "string" ? inputs.replace(/^data:[^,]*,/, "") : undefined;
  const blob = base64 === undefined ? inputs : new Blob([Buffer.from(base64, "base64")]);
  try {
    if (blob instanceof Blob) return await RawImage.fromBlob(blob);
  } catch {
    // The sentence below says what was wanted.
  }
  throw new RuntimeError("INVALID_INPUT", 'Cannot read the image: send its bytes as the body, or as base64 in "inputs"');
}`,
  },
};

export const READ_OPTIONS = `/** What the client sent under \`parameters\` goes to the pipeline as it is: here is the place to set bounds. */
function readOptions(parameters: unknown = {}): Record<string, any> {
  if (typeof parameters === "object" && parameters !== null && !Array.isArray(parameters)) return parameters;
  throw new RuntimeError("INVALID_INPUT", 'Cannot answer: "parameters" must be an object');
}`;

export const READ_LABELS = `/** A list of labels, or one text with commas. */
function readLabels(labels: unknown): string[] {
  const list: unknown = typeof labels === "string" ? labels.split(",").map((label) => label.trim()) : labels;
  if (Array.isArray(list) && list.length > 0 && list.every((label) => typeof label === "string")) return list;
  throw new RuntimeError("INVALID_INPUT", 'Cannot choose: "parameters" must have "candidate_labels", a list of texts');
}`;
