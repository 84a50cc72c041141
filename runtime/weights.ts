/**
 * Which ONNX files of a repository serve a dtype, told from file names alone.
 *
 * The download asks it before a file is here, the default handler once they are; both must come to the same answer.
 * Names follow transformers.js 4 (`utils/dtypes.js`): `onnx/<component><suffix>.onnx`, external data beside it as
 * `<file>_data`, `<file>_data_1`, …; weights at the folder's root are accepted too.
 */

/** The dtypes of transformers.js, the one preferred on a CPU first: int8 kernels run 2–2.5× faster than fp32 there. */
export const DTYPES = [
  "q8",
  "int8",
  "uint8",
  "fp32",
  "fp16",
  "q4",
  "q4f16",
  "bnb4",
  "q2",
  "q2f16",
  "q1",
  "q1f16",
] as const;

export type Dtype = (typeof DTYPES)[number];

const SUFFIX: Readonly<Record<Dtype, string>> = {
  fp32: "",
  q8: "_quantized",
  int8: "_int8",
  uint8: "_uint8",
  fp16: "_fp16",
  q4: "_q4",
  q4f16: "_q4f16",
  bnb4: "_bnb4",
  q2: "_q2",
  q2f16: "_q2f16",
  q1: "_q1",
  q1f16: "_q1f16",
};

/** Where onnxruntime computes, in its own names. `coreml` is Apple's, `dml` Windows's; `cuda` needs files of its own. */
export const DEVICES = ["cpu", "cuda", "webgpu", "coreml", "dml"] as const;
export type Device = (typeof DEVICES)[number];

/** The weights that will be used. Paths are relative to the repository, with `/`. */
export interface Weights {
  readonly dtype: Dtype;
  /** Every dtype that the main component (`model`, where there is one, else any) comes in, preferred first. */
  readonly available: readonly Dtype[];
  /** Where the ONNX files lie: `"onnx"` or `""`, relative to the model folder. */
  readonly subfolder: "onnx" | "";
  /** The dtype of each component (`model`, `encoder_model`, …): one that lacks `dtype` falls back on its own. */
  readonly components: Readonly<Record<string, Dtype>>;
  /** The ONNX files in use, with their external data. */
  readonly files: readonly string[];
}

/**
 * The folder of the repository that holds the model: its root, or `model/` when the weights live there and not at
 * the root.
 *
 * @param files Every file of the repository, relative, with `/`.
 * @returns `""` or `"model"`.
 */
export function findModelFolder(files: readonly string[]): "" | "model" {
  const holdsModel = (folder: string): boolean =>
    files.some((file) => file === `${folder}config.json` || isWeightFile(file, folder));
  return !holdsModel("") && holdsModel("model/") ? "model" : "";
}

/**
 * Chooses the weights of one dtype.
 *
 * @param files Every file of the repository, relative, with `/`.
 * @param wanted The dtype to take; the first of `DTYPES` that is there when absent.
 * @returns `undefined` when the repository has no ONNX file, or none of the wanted dtype.
 */
export function chooseWeights(files: readonly string[], wanted?: Dtype): Weights | undefined {
  const modelFolder = findModelFolder(files);
  const prefix = modelFolder === "" ? "" : `${modelFolder}/`;
  const subfolder = files.some((file) => isWeightFile(file, `${prefix}onnx/`, true)) ? "onnx" : "";
  const folder = subfolder === "" ? prefix : `${prefix}onnx/`;

  const variants = new Map<string, Map<Dtype, string>>();
  for (const file of files) {
    if (!isWeightFile(file, folder, true)) continue;
    const { component, dtype } = parseWeightName(file.slice(folder.length));
    if (isTunedVariant(component)) continue;
    let byDtype = variants.get(component);
    if (byDtype === undefined) variants.set(component, (byDtype = new Map()));
    byDtype.set(dtype, file);
  }
  for (const component of supersededBy([...variants.keys()])) variants.delete(component);

  const main = variants.get("model");
  const mains = main === undefined ? [...variants.values()] : [main];
  const available = DTYPES.filter((dtype) => mains.some((byDtype) => byDtype.has(dtype)));
  const everywhere = available.filter((dtype) =>
    [...variants.values()].every((byDtype) => byDtype.has(dtype)),
  );
  const dtype = wanted ?? everywhere[0] ?? available[0];
  if (dtype === undefined || !available.includes(dtype)) return undefined;

  const components: Record<string, Dtype> = {};
  const chosen: string[] = [];
  for (const [component, byDtype] of variants) {
    const own = byDtype.has(dtype) ? dtype : DTYPES.find((other) => byDtype.has(other));
    const file = own && byDtype.get(own);
    if (own === undefined || file === undefined) continue;
    components[component] = own;
    chosen.push(file, ...files.filter((other) => isExternalDataOf(file, other)));
  }
  return { dtype, available, subfolder, components, files: chosen };
}

/** Whether `file` is an ONNX graph or external data of one. */
export function isOnnxFile(file: string): boolean {
  return /\.onnx(?:_data(?:_\d+)?|\.data)?$/.test(file);
}

export function isDtype(text: string): text is Dtype {
  return DTYPES.some((dtype) => dtype === text);
}

/** Whether `file` is a graph in `folder` or, unless `exactly`, in its `onnx/` folder. */
function isWeightFile(file: string, folder: string, exactly = false): boolean {
  if (!file.startsWith(folder) || !file.endsWith(".onnx")) return false;
  const name = file.slice(folder.length);
  return (
    !name.includes("/") || (!exactly && name.startsWith("onnx/") && name.indexOf("/", 5) === -1)
  );
}

/** `"decoder_model_merged_q4.onnx"` → component `decoder_model_merged`, dtype `q4`. */
function parseWeightName(name: string): { component: string; dtype: Dtype } {
  const stem = name.slice(0, -".onnx".length);
  for (const dtype of DTYPES) {
    const suffix = SUFFIX[dtype];
    if (suffix !== "" && stem.endsWith(suffix))
      return { component: stem.slice(0, -suffix.length), dtype };
  }
  return { component: stem, dtype: "fp32" };
}

/** Optimum's and sentence-transformers' graphs for one kind of processor (`model_O3`, `model_qint8_avx512`). */
function isTunedVariant(component: string): boolean {
  return /_(?:O[1-4]|qu?int8_\w+)$/.test(component);
}

/**
 * Older exports of a decoder come in two files, for the first pass and for all later ones. Where one file does both, it is taken: beside
 * an encoder that is the merged one alone.
 */
function supersededBy(components: readonly string[]): readonly string[] {
  const isOneFile =
    components.includes("decoder_model_merged") ||
    (components.includes("model") && !components.includes("encoder_model"));
  return isOneFile ? ["decoder_model", "decoder_with_past_model"] : [];
}

function isExternalDataOf(graph: string, file: string): boolean {
  if (!file.startsWith(graph)) return false;
  return /^(?:_data(?:_\d+)?|\.data)$/.test(file.slice(graph.length));
}
