import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatTree, parseTree } from "../../runtime/repository/hub-tree.ts";

const OID = "a".repeat(40);
const SHA256 = "b".repeat(64);
const XET = "c".repeat(64);

// As huggingface_hub 2.0 writes it.
const PYTHON = {
  format_version: 1,
  files: {
    "config.json": { size: 519, blob_id: OID },
    "onnx/model.onnx": {
      size: 1234,
      blob_id: OID,
      lfs_sha256: SHA256,
      lfs_size: 1234,
      xet_hash: XET,
    },
  },
};
const FILES = [
  { path: "config.json", size: 519, oid: OID },
  { path: "onnx/model.onnx", size: 1234, oid: OID, sha256: SHA256, xetHash: XET },
];

describe("parseTree()", () => {
  test("reads what Python wrote", () => {
    assert.deepEqual(JSON.parse(JSON.stringify(parseTree(JSON.stringify(PYTHON)))), FILES);
  });

  const file = PYTHON.files["config.json"];
  const unfit: Readonly<Record<string, unknown>> = {
    "another version": { ...PYTHON, format_version: 2 },
    "a name that climbs": { ...PYTHON, files: { "../x": file } },
    "a hash that is none": { ...PYTHON, files: { x: { ...file, blob_id: "../x" } } },
    "no files": { format_version: 1 },
  };
  for (const [what, tree] of Object.entries(unfit)) {
    test(`knows nothing of ${what}`, () => {
      assert.equal(parseTree(JSON.stringify(tree)), undefined);
    });
  }

  test("knows nothing of half a file", () => {
    assert.equal(parseTree(JSON.stringify(PYTHON).slice(0, 50)), undefined);
  });
});

test("formatTree() writes what Python reads", () => {
  assert.deepEqual(JSON.parse(formatTree(FILES)), PYTHON);
});
