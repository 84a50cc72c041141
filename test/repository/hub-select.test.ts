import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { matchesGlob, selectFiles } from "../../runtime/repository/hub-select.ts";

const MODEL = ["config.json", "tokenizer.json", "onnx/model.onnx", "onnx/model_quantized.onnx"];

describe("selectFiles()", () => {
  test("takes the preferred dtype and leaves the others", () => {
    assert.deepEqual(selectFiles(MODEL, {}), [
      "config.json",
      "tokenizer.json",
      "onnx/model_quantized.onnx",
    ]);
  });

  test("takes the named dtype with its external data", () => {
    const files = ["onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_fp16.onnx"];
    assert.deepEqual(selectFiles(files, { dtype: "fp32" }), files.slice(0, 2));
  });

  test("refuses a dtype that the repository does not have, and says which it has", () => {
    assert.throws(() => selectFiles(MODEL, { dtype: "q4" }), {
      code: "WEIGHTS_NOT_FOUND",
      message: 'Cannot choose the weights: found the dtypes q8, fp32, wanted "q4"',
    });
  });

  test("takes both files of a decoder, and neither where one file does the same", () => {
    const two = ["onnx/decoder_model.onnx", "onnx/decoder_with_past_model.onnx"];
    assert.deepEqual(selectFiles(two, {}), two);
    const merged = "onnx/decoder_model_merged.onnx";
    assert.deepEqual(selectFiles([...two, merged], {}), [merged]);
  });

  test("takes fp32 too when the repository's own handler may ask for it", () => {
    for (const handler of ["handler.ts", "handler.js", "handler.mjs"]) {
      assert.deepEqual(selectFiles([handler, ...MODEL], {}), [handler, ...MODEL]);
    }
  });

  test("takes the named dtype alone when a handler is there", () => {
    const files = ["handler.ts", "onnx/model.onnx", "onnx/model_quantized.onnx"];
    assert.deepEqual(selectFiles(files, { dtype: "q8" }), [files[0], files[2]]);
  });

  test("leaves it to a handler whether the named dtype is there", () => {
    assert.deepEqual(selectFiles(["handler.ts", ...MODEL], { dtype: "q4" }), [
      "handler.ts",
      "config.json",
      "tokenizer.json",
    ]);
  });

  test("takes ONNX files of other folders for a handler, and only then", () => {
    const files = ["onnx/model.onnx", "vad/silero.onnx"];
    assert.deepEqual(selectFiles(files, {}), ["onnx/model.onnx"]);
    assert.deepEqual(selectFiles(["handler.ts", ...files], {}), ["handler.ts", ...files]);
  });

  test("does not mistake a handler in a subfolder for the repository's own", () => {
    assert.deepEqual(selectFiles(["examples/handler.ts", "banner.png"], {}), [
      "examples/handler.ts",
    ]);
  });

  const kept = `
    config.json vocab.txt merges.txt spiece.model chat_template.jinja handler.ts lib/helper.mjs
    labels.csv README.md LICENSE params.yaml model.safetensors.index.json 1_Pooling/config.json
    data/vectors.npy words.xml requirements.json
  `;
  for (const file of kept.trim().split(/\s+/)) {
    test(`keeps ${file}`, () => {
      assert.deepEqual(selectFiles([file], {}), [file]);
    });
  }

  const left = `
    pytorch_model.bin model.safetensors tf_model.h5 flax_model.msgpack model.pt weights/last.PTH
    model.ckpt model.ckpt-100.index model.keras model.ckpt-100.data-00000-of-00001
    model-Q4_K_M.gguf model.tflite a.mlmodel rust_model.ot arrays.npz model.pkl pipeline.joblib
    saved_model/saved_model.pb coreml/text-classification/model.mlpackage/Data/model.json
    openvino/openvino_model.xml openvino_model.bin openvino_model.xml
    runs/events.out.tfevents.1681.host .gitattributes .github/workflows/ci.yml docs/.DS_Store
    model.tar.gz assets.zip demo.mp4 images/banner.PNG sample.wav paper.pdf
  `;
  for (const file of left.trim().split(/\s+/)) {
    test(`leaves ${file}`, () => {
      assert.deepEqual(selectFiles([file, "config.json"], {}), ["config.json"]);
    });
  }

  test("keeps pictures and sounds for a handler", () => {
    const files = ["handler.mjs", "watermark.png", "beep.wav"];
    assert.deepEqual(selectFiles(files, {}), files);
  });

  test("takes exactly what include matches, whatever it is", () => {
    const files = [...MODEL, "model.safetensors", ".gitattributes"];
    assert.deepEqual(selectFiles(files, { include: ["*.safetensors", ".git*"] }), [
      "model.safetensors",
      ".gitattributes",
    ]);
  });

  test("takes an empty include for none", () => {
    assert.deepEqual(selectFiles(MODEL, { include: [] }), selectFiles(MODEL, {}));
  });

  test("removes what exclude matches, also from include", () => {
    const selection = { include: ["onnx/"], exclude: ["*_quantized.onnx"] };
    assert.deepEqual(selectFiles(MODEL, selection), ["onnx/model.onnx"]);
  });

  test("chooses the next dtype when exclude removes the preferred one", () => {
    assert.deepEqual(selectFiles(MODEL, { exclude: ["*_quantized*"] }), [
      "config.json",
      "tokenizer.json",
      "onnx/model.onnx",
    ]);
  });
});

// Expected values from Python 3.11: fnmatch.fnmatchcase(path, pattern), patterns ending in "/" given a "*".
const GLOBS: readonly (readonly [pattern: string, path: string, matches: boolean])[] = [
  ["*.json", "config.json", true],
  ["*.json", "a/b/config.json", true],
  ["*.json", "config.jsonl", false],
  ["onnx/", "onnx/model.onnx", true],
  ["onnx/", "onnx/deep/model.onnx", true],
  ["onnx/", "my/onnx/model.onnx", false],
  ["onnx", "onnx/model.onnx", false],
  ["model?.bin", "model1.bin", true],
  ["model?.bin", "model10.bin", false],
  ["a?b", "a/b", true],
  ["model_[0-9].bin", "model_7.bin", true],
  ["model_[!0-9].bin", "model_7.bin", false],
  ["model_[!0-9].bin", "model_x.bin", true],
  ["[]x]", "]", true],
  ["[!]x]", "]", false],
  ["[!]x]", "y", true],
  ["[^a]", "^", true],
  ["[^a]", "b", false],
  ["[a", "[a", true],
  ["[]", "[]", true],
  ["a.b", "axb", false],
  ["a+(b)|c$", "a+(b)|c$", true],
  ["a{1}", "a{1}", true],
  ["[\\d]", "\\", true],
  ["[\\d]", "5", false],
  ["[z-a]", "m", false],
  ["CONFIG.JSON", "config.json", false],
  ["**/x", "a/b/x", true],
  ["*", "a\nb", true],
  ["", "", true],
  ["", "a", false],
];

describe("matchesGlob()", () => {
  for (const [pattern, path, matches] of GLOBS) {
    const verb = matches ? "matches" : "does not match";
    test(`${JSON.stringify(pattern)} ${verb} ${JSON.stringify(path)}`, () => {
      assert.equal(matchesGlob(path, pattern), matches);
    });
  }
});
