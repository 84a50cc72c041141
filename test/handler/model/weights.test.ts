import assert from "node:assert/strict";
import { test } from "node:test";

import { chooseModelWeights, describeWeights } from "../../../runtime/handler/model/weights.ts";

test("describeWeights() names the files and what else there is", () => {
  const describe = (files: string[], wanted?: string) =>
    describeWeights(chooseModelWeights({ files, prefix: "" }, wanted));
  assert.equal(describe(["onnx/model.onnx"]), "Using the fp32 weights onnx/model.onnx");
  assert.equal(
    describe(["onnx/model.onnx", "onnx/model_quantized.onnx"]),
    "Using the int8 weights onnx/model_quantized.onnx (fp32 is here too: choose it with --dtype fp32)",
  );
  assert.equal(
    describe([
      "onnx/model.onnx",
      "onnx/model.onnx_data",
      "onnx/model_fp16.onnx",
      "onnx/model_q4.onnx",
    ]),
    "Using the fp32 weights onnx/model.onnx (fp16, q4 are here too: choose one with --dtype)",
  );
});

const REFUSALS: readonly {
  readonly name: string;
  readonly files: string[];
  readonly wanted?: string;
  readonly code: string;
  readonly message: RegExp;
}[] = [
  {
    name: "no ONNX file, naming what was found instead and how to make one",
    files: ["config.json", "model.safetensors"],
    code: "WEIGHTS_NOT_FOUND",
    message:
      /^Cannot find ONNX weights: looked for onnx\/model\.onnx, model\.onnx and their quantized variants, found model\.safetensors; make them with `optimum-cli export onnx --model <name> <folder>` or at https:\/\/huggingface\.co\/spaces\/onnx-community\/convert-to-onnx$/,
  },
  {
    name: "no weights of any kind",
    files: ["config.json"],
    code: "WEIGHTS_NOT_FOUND",
    message: /, found no weights at all; /,
  },
  {
    name: "a dtype that is not there, naming those that are",
    files: ["onnx/model.onnx", "onnx/model_quantized.onnx"],
    wanted: "fp16",
    code: "WEIGHTS_NOT_FOUND",
    message:
      /^Cannot use the dtype "fp16": the repository has q8, fp32; choose one with --dtype or HF_DTYPE$/,
  },
  {
    name: "a word that is no dtype, naming all",
    files: ["onnx/model.onnx"],
    wanted: "int7",
    code: "INVALID_OPTION",
    message: /^Cannot use the dtype "int7": wanted one of q8, int8, uint8, fp32, /,
  },
];

for (const { name, files, wanted, code, message } of REFUSALS) {
  test(`chooseModelWeights() refuses ${name}`, () => {
    assert.throws(() => chooseModelWeights({ files, prefix: "" }, wanted), { code, message });
  });
}
