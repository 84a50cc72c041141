/**
 * Archives made for TorchServe's own runtimes: what of them can be served here, and what is missing where nothing can.
 *
 * Their Python is not run. ONNX weights with a configuration and a tokenizer are all that the default handler needs; an
 * archive without them is refused with the commands that make one that has them.
 */
import { TASK_OF_MODE } from "../torchserve-modes.ts";
import { chooseWeights } from "../weights.ts";
import { refused } from "./archive-entries.ts";
import type { Manifest } from "./archive-manifest.ts";

export interface PythonArchive {
  /** Its file name, for messages. */
  readonly archive: string;
  /** What it holds, relative, with `/`. */
  readonly files: readonly string[];
  readonly manifest: Manifest;
  /** The generalized handler's `mode`, where a configuration says it. */
  readonly mode: string | undefined;
}

const OTHER_WEIGHTS = /\.(?:safetensors|bin|pt|pth|ckpt|h5)$/;

/** Vocabularies that only Python's slow tokenizers read. */
const SLOW_TOKENIZERS =
  /(?:^|\/)(?:vocab\.(?:txt|json)|merges\.txt|spiece\.model|sentencepiece\.bpe\.model)$/;

/**
 * @returns What a person should know about what is served instead of the Python.
 * @throws RuntimeError `REPOSITORY_INVALID` where nothing can be served.
 */
export function assertServable({ archive, files, manifest, mode }: PythonArchive): string {
  const missing = findMissing(files);
  const { runtime, modelName, modelVersion } = manifest;
  if (missing === undefined) {
    return `The archive ${archive} is for the runtime ${runtime}, which is not run: the default handler serves its ONNX weights`;
  }
  const name = /^[\w.-]+$/.test(modelName) ? modelName : "<name>";
  const version = /^[\w.-]+$/.test(modelVersion) ? modelVersion : "<version>";
  const task = Object.entries(TASK_OF_MODE).find(([known]) => known === mode)?.[1] ?? "<task>";
  throw refused(
    archive,
    `its runtime is ${runtime}, which is not run here, and ${missing}; export the model that it was made from with ` +
      `\`optimum-cli export onnx --model <folder or Hub name> --task ${task} exported\`, and archive that with ` +
      `\`hubserve archive --model-name ${name} --version ${version} --serialized-file exported/model.onnx --extra-files exported\``,
  );
}

function findMissing(files: readonly string[]): string | undefined {
  if (chooseWeights(files) === undefined) {
    const others = files.filter((file) => OTHER_WEIGHTS.test(file));
    const found = others.length > 0 ? others.slice(0, 3).join(", ") : "no weights at all";
    return `it has no ONNX weights (found ${found})`;
  }
  const has = (name: string): boolean =>
    files.some((file) => file === name || file === `model/${name}`);
  if (!has("config.json")) return "it has no config.json beside its ONNX weights";
  const slow = files.find((file) => SLOW_TOKENIZERS.test(file));
  if (slow !== undefined && !has("tokenizer.json")) {
    return `it has no tokenizer.json (found ${slow}, from which Python makes one)`;
  }
  return undefined;
}
