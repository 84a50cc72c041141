/**
 * `index_to_name.json`: TorchServe's file of labels, which go over those of `config.json`.
 *
 * It comes in four forms: `{"0": "Not Accepted", "1": "Accepted"}`; the same with lists, whose last element counts
 * (`{"0": ["n01440764", "tench"]}`); `{"label_list": "[O, B-MISC]"}`, one string or a list; and
 * `{"object_type_names": ["person", "bicycle"]}`. The first two and the last are those of TorchServe 0.12's
 * `load_label_mapping` (`ts/utils/util.py`), the third is that of its generalized transformer handler.
 */
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import type { ModelDescription } from "../../inference.ts";
import { readJson, type ModelConfig, type ModelFolder } from "./folder.ts";
import type { HandlerSettings } from "./handler-settings.ts";

/** Tasks that answer with labels of the model's own; the file means nothing to the others, as in TorchServe. */
const LABELLED_TASKS: ReadonlySet<string> = new Set([
  "audio-classification",
  "image-classification",
  "image-segmentation",
  "object-detection",
  "text-classification",
  "token-classification",
  "visual-question-answering",
]);

const FILE = "index_to_name.json";

type Note = ModelDescription["notes"][number];

/**
 * The folder with the labels that its `index_to_name.json` gives: the one beside `config.json`, else the repository's.
 *
 * @param task The task that is served.
 * @param settings Whose `num_labels` is compared with the model's.
 * @throws `MODEL_INVALID` when the file is none of the forms, or has not as many labels as the model.
 */
export async function withLabels(
  folder: ModelFolder,
  task: string,
  settings?: HandlerSettings,
): Promise<{ folder: ModelFolder; notes: readonly Note[] }> {
  if (!LABELLED_TASKS.has(task)) return { folder, notes: [] };
  const own = folder.config.id2label ?? undefined;
  const notes = compareCount(own, settings);
  const file = [`${folder.prefix}${FILE}`, FILE].find((name) => folder.files.includes(name));
  if (file === undefined) return { folder, notes };

  const content = await readJson(folder.repository, file, z.record(z.string(), z.json(), WANTED));
  const labels = toLabels(file, content);
  if (own !== undefined) assertSameIndices(file, labels, own, `${folder.prefix}config.json`);
  if (own !== undefined && Object.entries(labels).every(([index, name]) => own[index] === name)) {
    return { folder, notes };
  }
  const count = labelsOf(Object.keys(labels).length);
  const text = `Using the ${count} of ${file} in place of those of ${folder.prefix}config.json`;
  return {
    folder: { ...folder, config: { ...folder.config, id2label: labels } },
    notes: [...notes, { level: "info", text }],
  };
}

type Labels = Record<string, string>;

const WANTED = `wanted labels by index, such as {"0": "Not Accepted", "1": "Accepted"}`;

/**
 * Index → label, whatever the form.
 *
 * @throws `MODEL_INVALID` with what was found and wanted.
 */
export function toLabels(
  file: string,
  content: Readonly<Record<string, z.core.util.JSONType>>,
): Labels {
  const fail = (problem: string): never => {
    throw new RuntimeError("MODEL_INVALID", `Cannot read ${file}: ${problem}`);
  };
  for (const key of ["label_list", "object_type_names"]) {
    const list = content[key];
    if (list === undefined) continue;
    if (Object.keys(content).length > 1) fail(`found other keys beside "${key}", wanted it alone`);
    const names = typeof list === "string" ? splitList(list) : list;
    if (!Array.isArray(names))
      return fail(`${key}: found ${kindOf(list)}, wanted a list of labels`);
    return Object.fromEntries(
      names.map((name, index) => [
        String(index),
        toLabel(name) ?? fail(`${key}[${index}]: found ${kindOf(name)}, wanted a label`),
      ]),
    );
  }
  const entries = Object.entries(content);
  if (entries.length === 0) fail(`found no labels, ${WANTED}`);
  return Object.fromEntries(
    entries.map(([key, value]) => {
      if (!/^(?:0|[1-9]\d*)$/.test(key)) fail(`found the key "${key.slice(0, 40)}", ${WANTED}`);
      const name = toLabel(Array.isArray(value) ? value.at(-1) : value);
      return [
        key,
        name ??
          fail(`"${key}": found ${kindOf(value)}, wanted a label or a list that ends with one`),
      ];
    }),
  );
}

/** `"[O, B-MISC, I-MISC]"` → its labels. Also with quotes, and without the spaces that TorchServe's own README forgot. */
function splitList(text: string): string[] {
  const inner = text.trim().replace(/^\[/, "").replace(/\]$/, "");
  return inner.split(",").map((name) => name.trim().replace(/^(["'])(.*)\1$/, "$2"));
}

function toLabel(value: unknown): string | undefined {
  if (typeof value === "number") return String(value);
  return typeof value === "string" && value.trim() !== "" ? value : undefined;
}

function kindOf(value: unknown): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "string") return value.trim() === "" ? "an empty text" : "a text";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function labelsOf(count: number): string {
  return count === 1 ? "1 label" : `${count} labels`;
}

/** A label too few or too many means that the file belongs to another model: its names would be lies. */
function assertSameIndices(
  file: string,
  labels: Labels,
  own: NonNullable<ModelConfig["id2label"]>,
  configFile: string,
): void {
  const [found, wanted] = [Object.keys(labels), Object.keys(own)];
  const missing = wanted.find((index) => labels[index] === undefined);
  if (missing === undefined && found.length === wanted.length) return;
  const problem =
    found.length === wanted.length
      ? `found no label ${missing}, wanted one for each of the ${wanted.length} in ${configFile}`
      : `found ${labelsOf(found.length)}, wanted ${wanted.length}, as many as the model has by ${configFile}`;
  throw new RuntimeError("MODEL_INVALID", `Cannot read ${file}: ${problem}`);
}

/** `num_labels` had its use when the model was made; here it can only show that settings and model do not belong together. */
function compareCount(own: ModelConfig["id2label"], settings?: HandlerSettings): readonly Note[] {
  const numLabels = settings?.numLabels;
  const count = Object.keys(own ?? {}).length;
  // The examples write 0 where a mode has no labels.
  if (settings === undefined || !numLabels || count === 0 || numLabels === count) return [];
  const text = `num_labels in ${settings.file} is ${numLabels}, and the model has ${labelsOf(count)}: the model's are served`;
  return [{ level: "warn", text }];
}
