/**
 * What a repository says in the words of TorchServe's generalized transformer handler.
 *
 * The keys stand under `handler:` in `model-config.yaml` or, before TorchServe 0.11.1, in `setup_config.json`; numbers
 * and booleans may be strings, as its users wrote them. This file reads and checks them; `docs/generalized-handler.md`
 * says what each means on onnxruntime and who heeds it. To add a key: a row in `Keys`, and a row in that table.
 *
 * Source: `examples/Huggingface_Transformers/Transformer_handler_generalized.py` of TorchServe 0.12.
 */
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { JsonValue, LoadOptions, ModelDescription } from "../../inference.ts";
import { nearestWord } from "../../nearest-word.ts";
import { TASK_OF_MODE, type Mode } from "../../torchserve-modes.ts";
import { readJson, type ModelFolder } from "./folder.ts";

export { TASK_OF_MODE };

const MODES = Object.keys(TASK_OF_MODE) as [Mode, ...Mode[]]; // the keys of the table above

/** What `mode: text_generation` means where a request does not say, by the names of Python's `generate()`. */
export interface GenerationDefaults {
  readonly do_sample: true;
  readonly top_p: number;
  readonly top_k: number;
  readonly max_new_tokens?: number;
}

/** What was read. A key that is absent was not written. */
export interface HandlerSettings {
  /** Where they stood: `model-config.yaml` or `setup_config.json`. */
  readonly file: string;
  readonly mode?: Mode | undefined;
  /** `do_lower_case`: whether the tokenizer makes texts lower case, whatever `tokenizer.json` says. */
  readonly lowerCase?: boolean | undefined;
  /** `num_labels`: to be compared with the model's. */
  readonly numLabels?: number | undefined;
  /** `max_length`: texts are cut to so many tokens, special tokens included, where a request does not say. */
  readonly maxLength?: number | undefined;
  readonly saveMode?: "pretrained" | "torchscript" | undefined;
  /** `model_name`: where the model came from. */
  readonly modelName?: string | undefined;
  /** `captum_explanation`: whether explanations are wanted. */
  readonly explains?: boolean | undefined;
  /** `embedding_name`: the attribute whose `.embeddings` explanations are attributed to, `bert` or `distilbert`. */
  readonly embeddingName?: string | undefined;
  /** There with `mode: text_generation`. */
  readonly generation?: GenerationDefaults | undefined;
}

type Note = ModelDescription["notes"][number];

const truth = z.preprocess((value) => {
  const word = typeof value === "string" ? value.trim().toLowerCase() : undefined;
  return word === "true" ? true : word === "false" ? false : value;
}, z.boolean("true or false"));

function count(least: number) {
  const wanted = `a whole number of at least ${least}`;
  return z.preprocess(
    (value) => (typeof value === "string" && value.trim() !== "" ? Number(value) : value),
    z.int(wanted).min(least, wanted),
  );
}

/** Early examples wrote `sequence classification`, and a README left a space at the end. */
function word<const W extends [string, ...string[]]>(words: W) {
  return z.preprocess(
    (value) =>
      typeof value === "string"
        ? value
            .trim()
            .toLowerCase()
            .replaceAll(/[\s-]+/g, "_")
        : value,
    z.enum(words, `one of ${words.join(", ")}`),
  );
}

/** The keys, each with what it wants as its error text. */
const Keys = z.object({
  mode: word(MODES).optional(),
  model_name: z.string("a name").optional(),
  do_lower_case: truth.optional(),
  num_labels: count(0).optional(),
  save_mode: word(["pretrained", "torchscript"]).optional(),
  max_length: count(1).optional(),
  captum_explanation: truth.optional(),
  embedding_name: z.string("a name").optional(),
  BetterTransformer: truth.optional(),
  FasterTransformer: truth.optional(),
  model_parallel: truth.optional(),
  hardware: z.string("a name").optional(),
  batch_size: count(1).optional(),
});
type Keys = z.infer<typeof Keys>;

/** Every key that is known; `docs/generalized-handler.md` has a row for each. */
export const HANDLER_KEYS: readonly string[] = Object.keys(Keys.shape);

/** Keys that change nothing here, and why; said where they ask for something. */
const WITHOUT_EFFECT: readonly (readonly [key: keyof Keys, why: string])[] = [
  ["BetterTransformer", "onnxruntime optimizes the graph when it loads it"],
  ["FasterTransformer", "onnxruntime optimizes the graph when it loads it"],
  ["model_parallel", "each worker holds the whole model, and --workers says how many there are"],
  ["hardware", "it was for tracing a model for AWS Neuron"],
  ["batch_size", "it was for tracing a model for AWS Neuron; batchSize bounds the batches"],
];

/**
 * Reads the repository's settings.
 *
 * @param given The `handler:` section of `model-config.yaml`; it wins over a `setup_config.json`.
 * @returns Nothing but notes where the repository has no such settings.
 * @throws `MODEL_INVALID` for a value that does not fit, naming file, key, what was found and what was wanted.
 */
export async function readHandlerSettings(
  folder: Pick<ModelFolder, "repository" | "files" | "prefix">,
  given?: LoadOptions["handlerSettings"],
): Promise<{ settings?: HandlerSettings; notes: readonly Note[] }> {
  const older = ["setup_config.json", `${folder.prefix}setup_config.json`].find((file) =>
    folder.files.includes(file),
  );
  if (given !== undefined) {
    const { settings, notes } = parseHandlerSettings(given.file, given.keys, "handler.");
    if (older === undefined) return { settings, notes };
    const text = `Found ${given.file} and ${older}: the handler section of ${given.file} is used`;
    return { settings, notes: [...notes, { level: "info", text }] };
  }
  if (older === undefined) return { notes: [] };
  const object = z.record(z.string(), z.json(), "wanted an object");
  return parseHandlerSettings(older, await readJson(folder.repository, older, object), "");
}

/** The settings as they hold for `task`: what a mode means counts where its task is served, and nowhere else. */
export function settingsFor(task: string, settings: HandlerSettings): HandlerSettings {
  const { mode } = settings;
  return mode !== undefined && TASK_OF_MODE[mode] === task
    ? settings
    : { ...settings, generation: undefined };
}

/**
 * Checks the keys of one file.
 *
 * @param prefix What stands before a key in a message: `"handler."` for a section of a larger file.
 */
export function parseHandlerSettings(
  file: string,
  found: Readonly<Record<string, JsonValue>>,
  prefix: "handler." | "",
): { settings: HandlerSettings; notes: readonly Note[] } {
  const parsed = Keys.safeParse(found);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const key = String(issue?.path[0] ?? "");
    throw new RuntimeError(
      "MODEL_INVALID",
      `Cannot read ${file}: ${prefix}${key}: found ${shown(found[key])}, wanted ${issue?.message ?? "another value"}`,
    );
  }
  const keys = parsed.data;
  const known = HANDLER_KEYS.filter((key) => Object.hasOwn(found, key));
  const unknown = Object.keys(found).filter((key) => !HANDLER_KEYS.includes(key));
  const notes: Note[] = [];
  if (known.length > 0) {
    const place = prefix === "" ? file : `the handler section of ${file}`;
    notes.push({ level: "info", text: `Using ${place}: ${known.join(", ")}` });
  }
  if (unknown.length > 0) {
    const names = unknown.map((key) => withAdvice(key)).join(", ");
    notes.push({
      level: "warn",
      text: `Ignoring ${names} in ${file}: the default handler has no such key`,
    });
  }
  for (const [key, why] of WITHOUT_EFFECT) {
    const asksForNothing = [undefined, false, ""].some((value) => keys[key] === value);
    if (asksForNothing) continue;
    notes.push({ level: "info", text: `${key} in ${file} changes nothing here: ${why}` });
  }
  if (keys.save_mode === "torchscript") {
    const text = `save_mode "torchscript" in ${file} changes nothing here: the ONNX weights are served`;
    notes.push({ level: "info", text });
  }
  return { settings: toSettings(file, keys), notes };
}

function toSettings(file: string, keys: Keys): HandlerSettings {
  const { mode, max_length: maxLength } = keys;
  return {
    file,
    mode,
    maxLength,
    lowerCase: keys.do_lower_case,
    numLabels: keys.num_labels,
    saveMode: keys.save_mode,
    modelName: keys.model_name,
    explains: keys.captum_explanation,
    embeddingName: keys.embedding_name,
    generation:
      mode === "text_generation"
        ? {
            do_sample: true,
            top_p: 0.95,
            top_k: 60,
            ...(maxLength !== undefined && { max_new_tokens: maxLength }),
          }
        : undefined,
  };
}

/** A value as it was written, at most so long that the sentence stays one. */
function shown(value: JsonValue | undefined): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`;
}

function withAdvice(key: string): string {
  const near = nearestWord(key, HANDLER_KEYS);
  const name = JSON.stringify(key.slice(0, 40));
  return near === undefined ? name : `${name} (did you mean "${near}")`;
}
