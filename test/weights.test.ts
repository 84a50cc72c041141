import assert from "node:assert/strict";
import { test } from "node:test";

import { chooseWeights, findModelFolder, isOnnxFile, type Dtype } from "../runtime/weights.ts";

test("findModelFolder() takes model/ only when the root holds no model", () => {
  const cases: readonly (readonly [files: string[], folder: "" | "model"])[] = [
    [["config.json", "onnx/model.onnx"], ""],
    [["model/config.json", "model/onnx/model.onnx", "README.md"], "model"],
    [["model/config.json", "config.json"], ""],
    [["model/onnx/model.onnx"], "model"],
    [["model.onnx", "model/model.onnx"], ""],
    [["README.md"], ""],
    [["docs/config.json"], ""],
    [[], ""],
  ];
  for (const [files, folder] of cases) {
    assert.equal(findModelFolder(files), folder, files.join(", "));
  }
});

/** files, wanted → dtype, chosen files; `undefined` when nothing fits. */
type Choice = { dtype: Dtype; files: string[]; available?: Dtype[]; subfolder?: "onnx" | "" };
const CHOICES: readonly {
  readonly name: string;
  readonly files: string[];
  readonly wanted?: Dtype;
  readonly choice: Choice | undefined;
}[] = [
  {
    name: "prefers int8 on a CPU",
    files: ["onnx/model.onnx", "onnx/model_quantized.onnx", "onnx/model_fp16.onnx"],
    choice: {
      dtype: "q8",
      files: ["onnx/model_quantized.onnx"],
      available: ["q8", "fp32", "fp16"],
      subfolder: "onnx",
    },
  },
  {
    name: "takes the dtype that is wanted",
    files: ["onnx/model.onnx", "onnx/model_quantized.onnx"],
    wanted: "fp32",
    choice: { dtype: "fp32", files: ["onnx/model.onnx"] },
  },
  {
    name: "finds none of a dtype that is not there",
    files: ["onnx/model.onnx"],
    wanted: "q4",
    choice: undefined,
  },
  {
    name: "finds none where there is no ONNX file",
    files: ["model.safetensors", "config.json"],
    choice: undefined,
  },
  {
    name: "accepts weights at the root",
    files: ["model.onnx", "config.json"],
    choice: { dtype: "fp32", files: ["model.onnx"], subfolder: "" },
  },
  {
    name: "prefers the onnx folder to the root",
    files: ["model.onnx", "onnx/model_fp16.onnx"],
    choice: { dtype: "fp16", files: ["onnx/model_fp16.onnx"], subfolder: "onnx" },
  },
  {
    name: "looks into model/ when the model lives there",
    files: ["README.md", "model/config.json", "model/onnx/model.onnx"],
    choice: { dtype: "fp32", files: ["model/onnx/model.onnx"], subfolder: "onnx" },
  },
  {
    name: "takes external data along, of the chosen graph alone",
    files: [
      "onnx/model.onnx",
      "onnx/model.onnx_data",
      "onnx/model.onnx_data_1",
      "onnx/model_fp16.onnx",
      "onnx/model_fp16.onnx_data",
    ],
    wanted: "fp32",
    choice: {
      dtype: "fp32",
      files: ["onnx/model.onnx", "onnx/model.onnx_data", "onnx/model.onnx_data_1"],
    },
  },
  {
    name: "tells uint8 from int8, and q4f16 from q4 and fp16",
    files: ["onnx/model_uint8.onnx", "onnx/model_q4f16.onnx"],
    choice: { dtype: "uint8", files: ["onnx/model_uint8.onnx"], available: ["uint8", "q4f16"] },
  },
  {
    name: "passes over graphs tuned for one kind of processor",
    files: ["onnx/model.onnx", "onnx/model_O3.onnx", "onnx/model_qint8_avx512_vnni.onnx"],
    choice: { dtype: "fp32", files: ["onnx/model.onnx"], available: ["fp32"] },
  },
  {
    name: "wants a dtype that every component has, where none is called model",
    files: [
      "onnx/encoder_model.onnx",
      "onnx/decoder_model_merged.onnx",
      "onnx/decoder_model_merged_quantized.onnx",
    ],
    choice: {
      dtype: "fp32",
      files: ["onnx/encoder_model.onnx", "onnx/decoder_model_merged.onnx"],
      available: ["q8", "fp32"],
    },
  },
  {
    name: "lets a component without the wanted dtype fall back on its own",
    files: [
      "onnx/encoder_model.onnx",
      "onnx/decoder_model_merged.onnx",
      "onnx/decoder_model_merged_quantized.onnx",
    ],
    wanted: "q8",
    choice: {
      dtype: "q8",
      files: ["onnx/encoder_model.onnx", "onnx/decoder_model_merged_quantized.onnx"],
    },
  },
  {
    name: "takes the merged decoder alone where there is one",
    files: [
      "onnx/decoder_model.onnx",
      "onnx/decoder_model_merged.onnx",
      "onnx/decoder_model_merged_quantized.onnx",
      "onnx/decoder_with_past_model.onnx",
      "onnx/encoder_model.onnx",
    ],
    choice: {
      dtype: "fp32",
      files: ["onnx/decoder_model_merged.onnx", "onnx/encoder_model.onnx"],
      available: ["q8", "fp32"],
    },
  },
  {
    name: "takes one graph for all passes before two",
    files: [
      "onnx/decoder_model.onnx",
      "onnx/decoder_with_past_model.onnx",
      "onnx/model.onnx",
      "onnx/model_quantized.onnx",
    ],
    choice: { dtype: "q8", files: ["onnx/model_quantized.onnx"], available: ["q8", "fp32"] },
  },
  {
    name: "takes a decoder in two files, of a dtype that both have",
    files: [
      "decoder_model.onnx",
      "decoder_model.onnx_data",
      "decoder_model_quantized.onnx",
      "decoder_with_past_model.onnx",
    ],
    choice: {
      dtype: "fp32",
      files: ["decoder_model.onnx", "decoder_model.onnx_data", "decoder_with_past_model.onnx"],
      available: ["q8", "fp32"],
      subfolder: "",
    },
  },
  {
    name: "promises only dtypes that the component called model has",
    files: ["onnx/model.onnx", "onnx/model_head_q4.onnx"],
    choice: {
      dtype: "fp32",
      files: ["onnx/model.onnx", "onnx/model_head_q4.onnx"],
      available: ["fp32"],
    },
  },
];

for (const { name, files, wanted, choice } of CHOICES) {
  test(`chooseWeights() ${name}`, () => {
    const weights = chooseWeights(files, wanted);
    if (choice === undefined || weights === undefined) return assert.equal(weights, choice);
    const { available = weights.available, subfolder = weights.subfolder, ...rest } = choice;
    assert.deepEqual(
      { dtype: weights.dtype, files: weights.files, available: weights.available },
      { ...rest, available },
    );
    return assert.equal(weights.subfolder, subfolder);
  });
}

test("chooseWeights() names the dtype of each component", () => {
  const files = ["onnx/encoder_model.onnx", "onnx/decoder_model_merged_q4.onnx"];
  assert.deepEqual(chooseWeights(files, "q4")?.components, {
    encoder_model: "fp32",
    decoder_model_merged: "q4",
  });
});

test("isOnnxFile() knows graphs and their external data", () => {
  for (const file of ["model.onnx", "onnx/a.onnx_data", "a.onnx_data_12", "a.onnx.data"]) {
    assert.equal(isOnnxFile(file), true, file);
  }
  for (const file of ["model.onnx.md", "onnx", "model.safetensors", "a.onnx_data_x"]) {
    assert.equal(isOnnxFile(file), false, file);
  }
});
