/**
 * Which files of a Hub repository are worth fetching, told from their names alone.
 *
 * By default that is everything small, and of the weights only the ONNX files of one dtype: what is refused is listed
 * here, what is not listed arrives, so that a custom handler finds its own files. `include` and `exclude` override.
 * To refuse one more kind of file, extend one of the patterns below and the table in the test.
 */
import { RuntimeError } from "../errors.ts";
import { chooseWeights, type Dtype, isOnnxFile } from "../weights.ts";

export interface HubSelection {
  /** The dtype to fetch; the one preferred on a CPU when absent. */
  readonly dtype?: Dtype | undefined;
  /** Unless empty, exactly the files that match one of these are fetched, whatever they are. */
  readonly include?: readonly string[] | undefined;
  /** Files that match one of these count as if the repository did not hold them. */
  readonly exclude?: readonly string[] | undefined;
}

/** Weights of other frameworks, and the training state that lies beside them. */
const FOREIGN_WEIGHTS =
  /\.(?:bin|safetensors|h5|hdf5|keras|msgpack|pte?|pth|gguf|ggml|tflite|mlmodel|ot|npz|pkl|pickle|joblib|pb|pdparams|pdmodel|pdiparams|caffemodel|nemo|llamafile|engine|trt)$|\.ckpt(?:-\d+)?(?:\.(?:index|meta))?$|\.data-\d{5}-of-\d{5}$|(?:^|\/)events\.out\.tfevents\./i;
/** Folders that are one model of another runtime. */
const FOREIGN_FOLDERS = /(?:^|\/)(?:openvino|coreml|[^/]+\.(?:mlpackage|mlmodelc))\//i;
const OPENVINO = /(?:^|\/)openvino_[^/]*\.(?:xml|bin|json)$/i;
const ARCHIVES = /\.(?:zip|tar|tgz|gz|bz2|xz|zst|7z|rar|whl)$/i;
/** `.gitattributes`, `.github/`, … */
const HIDDEN = /(?:^|\/)\./;
/** Pictures for the model's page. Only a handler of the repository's own could have a use for them. */
const MEDIA =
  /\.(?:png|jpe?g|gif|webp|avif|bmp|tiff?|svg|ico|mp4|mov|avi|mkv|webm|mp3|wav|flac|ogg|m4a|pdf)$/i;

/**
 * The files to fetch, in the order of `files`.
 *
 * @param files Every file of the repository, relative, with `/`.
 * @throws RuntimeError `WEIGHTS_NOT_FOUND` when the named dtype is not among the dtypes that the repository has.
 */
export function selectFiles(
  files: readonly string[],
  { dtype, include = [], exclude = [] }: HubSelection,
): readonly string[] {
  // Before the weights are chosen: whoever excludes the int8 files wants those of the next dtype.
  const offered = files.filter((file) => !exclude.some((pattern) => matchesGlob(file, pattern)));
  if (include.length > 0) {
    return offered.filter((file) => include.some((pattern) => matchesGlob(file, pattern)));
  }

  const hasHandler = hasOwnHandler(offered);
  const onnx = new Set(selectOnnxFiles(offered, dtype, hasHandler));
  return offered.filter((file) => {
    if (HIDDEN.test(file) || FOREIGN_FOLDERS.test(file) || OPENVINO.test(file)) return false;
    if (isOnnxFile(file)) return onnx.has(file);
    if (FOREIGN_WEIGHTS.test(file) || ARCHIVES.test(file)) return false;
    return hasHandler || !MEDIA.test(file);
  });
}

/** The same for files with more to them than a name. */
export function selectListed<T extends { readonly path: string }>(
  files: readonly T[],
  selection: HubSelection,
): readonly T[] {
  const paths = files.map(({ path }) => path);
  const wanted = new Set(selectFiles(paths, selection));
  return files.filter(({ path }) => wanted.has(path));
}

/** Whether the repository brings its own handler. */
export function hasOwnHandler(files: readonly string[]): boolean {
  return files.some((file) => /^handler\.(?:ts|js|mjs)$/.test(file));
}

/**
 * Whether `path` matches `pattern` as in Python's `fnmatch`: `*` is any text, slashes included, `?` one character,
 * `[ab]` and `[!ab]` one of a set. A pattern that ends in `/` means everything below, as in huggingface_hub's
 * `allow_patterns`. Case matters.
 */
export function matchesGlob(path: string, pattern: string): boolean {
  const whole = pattern.endsWith("/") ? `${pattern}*` : pattern;
  const source = whole.replaceAll(
    // A set takes a first "]" literally, and an unclosed "[" stands for itself.
    /\*+|\?|\[(!?)(\]?[^\]]*)\]|[^*?]/gs,
    (token, not: string | undefined, members: string | undefined) => {
      if (token.startsWith("*")) return ".*";
      if (token === "?") return ".";
      if (members === undefined || members === "") return token.replaceAll(SYNTAX, "\\$&");
      // A range from high to low is empty in Python and an error in JavaScript.
      const set = members
        .replaceAll(/(.)-(.)/gs, (range, low: string, high: string) => (low > high ? "" : range))
        .replaceAll(/[\\[\]^&~]/g, "\\$&");
      return not === "!" ? `[^${set}]` : `[${set}]`;
    },
  );
  return new RegExp(`^${source}$`, "s").test(path);
}

const SYNTAX = /[\\^$.|+()[\]{}/]/g;

function selectOnnxFiles(
  files: readonly string[],
  dtype: Dtype | undefined,
  hasHandler: boolean,
): readonly string[] {
  const chosen = chooseWeights(files, dtype);
  if (!hasHandler) {
    if (chosen === undefined) assertDtypeIsThere(files, dtype);
    return chosen?.files ?? [];
  }
  // A handler that names no dtype is given fp32 by transformers.js.
  const fallback = dtype === undefined ? chooseWeights(files, "fp32") : undefined;
  // ONNX files in folders that nobody has a rule for are the handler's own business.
  const folder = folderOf(chooseWeights(files)?.files[0] ?? "");
  const elsewhere = files.filter((file) => isOnnxFile(file) && folderOf(file) !== folder);
  return [...(chosen?.files ?? []), ...(fallback?.files ?? []), ...elsewhere];
}

function assertDtypeIsThere(files: readonly string[], dtype: Dtype | undefined): void {
  const available = chooseWeights(files)?.available;
  if (dtype === undefined || available === undefined) return;
  throw new RuntimeError(
    "WEIGHTS_NOT_FOUND",
    `Cannot choose the weights: found the dtypes ${available.join(", ")}, wanted "${dtype}"`,
  );
}

function folderOf(file: string): string {
  return file.slice(0, file.lastIndexOf("/") + 1);
}
