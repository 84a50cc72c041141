/**
 * Which weights of a repository to load, with the sentences that go with the choice or its failure.
 *
 * The rules themselves are in `../../weights.ts`, shared with the download.
 */
import { RuntimeError } from "../../errors.ts";
import {
  chooseWeights,
  DTYPES,
  isDtype,
  isOnnxFile,
  type Dtype,
  type Weights,
} from "../../weights.ts";
import { nameSome, type ModelFolder } from "./folder.ts";

/** What people call a dtype whose name is not its number format. */
const FORMAT_OF: Partial<Record<Dtype, string>> = { q8: "int8" };

/** Weights of other frameworks: worth naming when no ONNX file is there. */
const OTHER_WEIGHTS =
  /\.(?:safetensors|bin|pt|pth|ckpt|h5|msgpack|tflite|gguf|onnx\.gz|mlmodel|ot)$/;

/**
 * Chooses the weights that the default handler loads.
 *
 * @param wanted The dtype that the user named.
 * @throws `INVALID_OPTION` when `wanted` is no dtype, `WEIGHTS_NOT_FOUND` when no ONNX file fits.
 */
export function chooseModelWeights(
  { files, prefix }: Pick<ModelFolder, "files" | "prefix">,
  wanted?: string,
): Weights {
  if (wanted !== undefined && !isDtype(wanted)) {
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot use the dtype "${wanted}": wanted one of ${DTYPES.join(", ")}`,
    );
  }
  const weights = chooseWeights(files, wanted);
  if (weights !== undefined) return weights;

  const available = chooseWeights(files)?.available ?? [];
  if (wanted !== undefined && available.length > 0) {
    throw new RuntimeError(
      "WEIGHTS_NOT_FOUND",
      `Cannot use the dtype "${wanted}": the repository has ${available.join(", ")}; choose one with --dtype or HF_DTYPE`,
    );
  }
  const others = files.filter((file) => OTHER_WEIGHTS.test(file));
  const found = others.length > 0 ? nameSome(others) : "no weights at all";
  throw new RuntimeError(
    "WEIGHTS_NOT_FOUND",
    `Cannot find ONNX weights: looked for ${prefix}onnx/model.onnx, ${prefix}model.onnx and their quantized variants, found ${found}; ` +
      `make them with \`optimum-cli export onnx --model <name> <folder>\` or at ` +
      `https://huggingface.co/spaces/onnx-community/convert-to-onnx`,
  );
}

/** What a person should read about the weights: which, and what else there is. */
export function describeWeights(weights: Weights): string {
  const graphs = weights.files.filter((file) => file.endsWith(".onnx") && isOnnxFile(file));
  const [first, ...more] = weights.available.filter((dtype) => dtype !== weights.dtype);
  const others = [first, ...more].join(", ");
  const alternative =
    first === undefined
      ? ""
      : more.length === 0
        ? ` (${first} is here too: choose it with --dtype ${first})`
        : ` (${others} are here too: choose one with --dtype)`;
  const format = FORMAT_OF[weights.dtype] ?? weights.dtype;
  return `Using the ${format} weights ${graphs.join(", ")}${alternative}`;
}
