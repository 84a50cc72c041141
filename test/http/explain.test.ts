import assert from "node:assert/strict";

import { RuntimeError } from "../../runtime/errors.ts";
import { post, testDoor } from "../support/app-matrix.ts";

const BOTH = { prediction: [{ label: "joy", score: 1 }], explanation: { words: [] } };

testDoor(
  "a prediction with its explanation has the same shape for every client",
  {
    description: { handler: "default", task: "text-classification" },
    answer: () => ({ kind: "json", value: BOTH }),
  },
  async ({ request }) => {
    for (const agent of ["curl/8.5.0", "hf_hub/1.33.0", "@huggingface/inference/4.13.30"]) {
      const body = { inputs: "a", parameters: { explain: true } };
      const response = await request("/", post(body, { "user-agent": agent }));
      assert.deepEqual(await response.json(), BOTH);
    }
  },
);

testDoor(
  "what a model does not support is a 501 with its sentence",
  {
    answer() {
      throw new RuntimeError("NOT_SUPPORTED", "Cannot explain the prediction: no");
    },
  },
  async ({ request }) => {
    const response = await request("/", post({ inputs: "a", parameters: { explain: true } }));
    assert.equal(response.status, 501);
    assert.match(JSON.stringify(await response.json()), /Cannot explain the prediction: no/);
  },
);
