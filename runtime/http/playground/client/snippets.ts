/**
 * The visitor's request as a command and as a program, to be copied.
 */
import type { JsonValue } from "../../../inference.ts";
import type { ShownModel } from "../wire.ts";
import type { Asked } from "./forms.ts";
import { isFields, isList, type Fields } from "./json.ts";

export interface Snippets {
  readonly curl: string;
  readonly typescript: string;
}

/** What stands in for a file's base64 while a body is printed. */
const HOLE = "⟨file⟩";

/** @param origin Where the server is: `http://localhost:8080`. */
export function writeSnippets(
  asked: Asked,
  model: ShownModel,
  origin: string,
  hasKey: boolean,
): Snippets {
  return {
    curl: toCurl(asked, origin, hasKey),
    typescript: toClient(asked, model, origin, hasKey) ?? toFetch(asked, origin, hasKey),
  };
}

function toCurl({ path, body, media, stream }: Asked, origin: string, hasKey: boolean): string {
  const url = origin + path;
  const key = hasKey ? ` \\\n  -H "Authorization: Bearer $HUBSERVE_KEY"` : "";
  const json = ` \\\n  -H 'Content-Type: application/json'`;
  if (media === undefined) {
    const flag = stream === undefined ? "" : "-N ";
    return `curl ${flag}${quote(url)}${key}${json} \\\n  -d ${quote(JSON.stringify(body))}`;
  }
  const query = path === "/" ? toQuery(body, media.base64) : undefined;
  if (query !== undefined)
    return `curl ${quote(url + query)}${key} \\\n  --data-binary ${quote(`@${media.name}`)}`;
  const file = `'"$(base64 < ${quote(media.name)} | tr -d '\\n')"'`; // out of the quotes, and into them again
  const printed = quote(JSON.stringify(withHole(body, media.base64))).replace(HOLE, () => file);
  return `printf '%s' ${printed} \\\n  | curl ${quote(url)}${key}${json} \\\n  -d @-`;
}

/** A file as the body has its parameters in the query, where they are simple. */
function toQuery(body: JsonValue, base64: string): string | undefined {
  if (!isFields(body) || body["inputs"] !== base64) return undefined;
  const { parameters } = body;
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(isFields(parameters) ? parameters : {})) {
    if (isList(value) && value.every((each) => typeof each === "string"))
      search.set(name, value.join(","));
    else if (typeof value === "object") return undefined;
    else search.set(name, String(value));
  }
  return search.size === 0 ? "" : `?${search.toString()}`;
}

/** As a shell reads it. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function withHole(value: JsonValue, base64: string): JsonValue {
  if (value === base64) return HOLE;
  if (isList(value)) return value.map((each) => withHole(each, base64));
  if (!isFields(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, withHole(each, base64)]),
  );
}

/** Methods of Hugging Face's client that send what the page sends. */
const METHODS: Readonly<Record<string, string>> = {
  "text-classification": "textClassification",
  "token-classification": "tokenClassification",
  "question-answering": "questionAnswering",
  "fill-mask": "fillMask",
  summarization: "summarization",
  translation: "translation",
  "zero-shot-classification": "zeroShotClassification",
  "feature-extraction": "featureExtraction",
  "sentence-similarity": "sentenceSimilarity",
  "text-to-audio": "textToSpeech",
  "image-segmentation": "imageSegmentation",
  "zero-shot-image-classification": "zeroShotImageClassification",
  "visual-question-answering": "visualQuestionAnswering",
  "document-question-answering": "documentQuestionAnswering",
};

/** Those that send a file as the body, and nothing beside it. */
const FILE_METHODS: Readonly<Record<string, string>> = {
  "image-classification": "imageClassification",
  "object-detection": "objectDetection",
  "image-to-text": "imageToText",
  "image-to-image": "imageToImage",
  "audio-classification": "audioClassification",
  "automatic-speech-recognition": "automaticSpeechRecognition",
};

function toClient(
  asked: Asked,
  { task = "", handler }: ShownModel,
  origin: string,
  hasKey: boolean,
): string | undefined {
  const { body, media, stream, path } = asked;
  if (!isFields(body)) return undefined;
  const endpoint = `new InferenceClient(${hasKey ? "process.env.HUBSERVE_KEY" : ""}).endpoint(${JSON.stringify(origin)})`;
  const head = `import { InferenceClient } from "@huggingface/inference";\n`;
  if (stream === "chat") {
    const { stream: _, stream_options: __, ...fields } = body;
    return `${head}
const model = ${endpoint};
for await (const chunk of model.chatCompletionStream(${print(fields)})) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? "");
}`;
  }
  if (path !== "/" || handler !== "default") return undefined;
  const { inputs, parameters } = body;
  const given: Fields = isFields(parameters) ? parameters : {};
  if (given["explain"] === true) return undefined;
  const name = media === undefined ? "" : JSON.stringify(media.name);
  const isPlain = Object.keys(given).length === 0;
  const fileMethod = isPlain && Object.hasOwn(FILE_METHODS, task) ? FILE_METHODS[task] : undefined;
  const method = Object.hasOwn(METHODS, task) ? METHODS[task] : undefined;
  const reads = media === undefined ? "" : `import { openAsBlob } from "node:fs";\n`;
  const file = `await openAsBlob(${name})`;
  if (fileMethod !== undefined)
    return `${reads}${head}
const model = ${endpoint};
const answer = await model.${fileMethod}({ inputs: ${file} });
console.log(answer);`;
  if (method === undefined || inputs === undefined) return undefined;
  // The client wants the image of a zero-shot question by its name.
  const isNamed = task === "zero-shot-image-classification" && media !== undefined;
  const sent = { ...body, inputs: isNamed ? { image: inputs } : inputs };
  const printed =
    media === undefined ? print(sent) : fillHole(print(withHole(sent, media.base64)), file);
  return `${reads}${head}
const model = ${endpoint};
const answer = await model.${method}(${printed});
console.log(answer);`;
}

function toFetch({ path, body, media, stream }: Asked, origin: string, hasKey: boolean): string {
  const key = hasKey ? `\n    authorization: \`Bearer \${process.env.HUBSERVE_KEY}\`,` : "";
  const file = `readFileSync(${JSON.stringify(media?.name ?? "")}, "base64")`;
  const printed =
    media === undefined ? print(body) : fillHole(print(withHole(body, media.base64)), file);
  const read =
    stream === undefined
      ? "console.log(await response.json());"
      : `for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
  process.stdout.write(piece);
}`;
  return `${media === undefined ? "" : `import { readFileSync } from "node:fs";\n\n`}const response = await fetch(${JSON.stringify(origin + path)}, {
  method: "POST",
  headers: {
    "content-type": "application/json",${key}
  },
  body: JSON.stringify(${printed.replaceAll("\n", "\n  ")}),
});
${read}`;
}

function fillHole(printed: string, expression: string): string {
  return printed.replace(JSON.stringify(HOLE), () => expression);
}

/** As a program has it: keys without quotes where they need none. */
function print(value: JsonValue, indent = ""): string {
  if (!isList(value) && !isFields(value)) return JSON.stringify(value);
  const inner = `${indent}  `;
  const parts = isList(value)
    ? value.map((each) => print(each, inner))
    : Object.entries(value).map(
        ([key, each]) =>
          `${/^[a-z_$][\w$]*$/i.test(key) ? key : JSON.stringify(key)}: ${print(each, inner)}`,
      );
  const [open, close] = isList(value) ? ["[", "]"] : ["{ ", " }"];
  if (parts.length === 0) return `${open}${close}`.replaceAll(" ", "");
  const line = `${open}${parts.join(", ")}${close}`;
  if (line.length <= 72 && !line.includes("\n")) return line;
  return `${open.trim()}\n${parts.map((part) => inner + part).join(",\n")},\n${indent}${close.trim()}`;
}
