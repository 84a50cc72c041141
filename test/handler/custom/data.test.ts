import assert from "node:assert/strict";
import { test } from "node:test";

import { toHandlerData } from "../../../runtime/handler/custom/data.ts";
import { countCharacters } from "../../../runtime/text-length.ts";

const FILE = { bytes: new Uint8Array([1, 2, 3]), contentType: "image/png" };
const REQUEST = { id: "test", kind: "predict", headers: {} } as const;

async function assertFile(value: unknown): Promise<void> {
  assert.ok(value instanceof Blob);
  assert.equal(value.type, "image/png");
  assert.deepEqual(new Uint8Array(await value.arrayBuffer()), FILE.bytes);
}

test("a form's files reach a custom handler as Blobs, wherever they stand", async () => {
  const data = toHandlerData({
    ...REQUEST,
    data: { inputs: { image: FILE, question: "What?" }, mask: FILE, list: [FILE, "a"] },
  });
  const { image, question } = data.inputs as Record<string, unknown>;
  await assertFile(image);
  assert.equal(question, "What?");
  await assertFile(data["mask"]);
  const [first, second] = data["list"] as unknown[];
  await assertFile(first);
  assert.equal(second, "a");
});

test("a file in the data counts as its bytes, without being walked", () => {
  const bytes = new Uint8Array(5_000_000);
  const inputs = [{ bytes, contentType: "image/png" }, "text"];
  const counted = countCharacters({ ...REQUEST, data: { inputs } });
  assert.equal(counted, bytes.length + "image/png".length + "text".length);
});
