import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeWav } from "../../runtime/handler/media/audio-wav.ts";
import type { JsonValue } from "../../runtime/inference.ts";
import { chooseOffer } from "../../runtime/http/accept.ts";
import { assertNear } from "../support/goldens.ts";
import { post, testDoor, type DoorOptions } from "../support/app-matrix.ts";

const IMAGE = ["image/png", "application/json"] as const;

test("chooseOffer() weighs ranges as RFC 9110 does", () => {
  for (const [accept, expected] of [
    [undefined, "image/png"],
    ["", "image/png"],
    ["nonsense", "image/png"],
    ["*/*", "image/png"],
    ["application/json", "application/json"],
    ["application/json, text/plain, */*", "image/png"],
    ["image/png;q=0.5, application/json", "application/json"],
    ["image/*;q=0.9, application/json;q=0.8", "image/png"],
    ["image/png;q=0, */*", "application/json"],
    ["IMAGE/PNG", "image/png"],
    ["text/json", "application/json"],
    ["application/vnd.api+json", "application/json"],
    ["text/html, application/xhtml+xml, */*;q=0.8", "image/png"],
    ["image/jpeg", undefined],
    ["text/html", undefined],
    ["*/*;q=0", undefined],
    ["image/png; q=0.000, application/json;q=0", undefined],
  ] as const)
    assert.equal(chooseOffer(accept, IMAGE), expected, accept);
  assert.equal(chooseOffer("audio/x-wav", ["audio/wav"]), "audio/wav");
  assert.equal(chooseOffer("audio/*", ["audio/wav;rate=8000"]), "audio/wav;rate=8000");
});

/** What a task makes of three samples. */
const WAV = Buffer.from(encodeWav(Float32Array.of(0, 0.5, -0.5), 16_000));

const SPEECH: DoorOptions = {
  description: { handler: "default", task: "text-to-speech" },
  answer: () => ({
    kind: "media",
    media: { bytes: new Uint8Array(WAV), contentType: "audio/wav" },
  }),
};

testDoor(
  "sound is bytes, and samples with their rate to a client that wants JSON",
  SPEECH,
  async ({ request }) => {
    for (const accept of ["*/*", "audio/wav", "audio/x-wav", "application/json;q=0.1, audio/*"]) {
      const raw = await request("/", post({ inputs: "a" }, { accept }));
      assert.equal(raw.headers.get("content-type"), "audio/wav", accept);
      assert.deepEqual(Buffer.from(await raw.arrayBuffer()), WAV);
    }
    const json = await request("/", post({ inputs: "a" }, { accept: "application/json" }));
    assert.equal(json.headers.get("content-type"), "application/json");
    const { audio, sampling_rate } = (await json.json()) as Record<string, unknown>;
    assert.equal(sampling_rate, 16_000);
    assertNear(audio as number[], [0, 0.5, -0.5], 2 ** -15); // the sound has 16 bits
  },
);

testDoor(
  "an answer in no form that Accept takes is a 406 that names what there is",
  SPEECH,
  async ({ request }) => {
    const response = await request("/", post({ inputs: "a" }, { accept: "image/png, text/html" }));
    assert.equal(response.status, 406);
    assert.deepEqual(await response.json(), {
      error:
        "Cannot send the answer: it is audio/wav, the request's Accept wants image/png, text/html",
      error_type: "NOT_ACCEPTABLE",
    });
  },
);

testDoor(
  "labels are JSON, one event to a client that takes nothing but events, and never an image",
  { answer: () => ({ kind: "json", value: [{ label: "joy", score: 1 }] as JsonValue }) },
  async ({ request }) => {
    for (const accept of ["*/*", "application/json", "text/html, */*;q=0.1", "application/*"]) {
      const json = await request("/", post({ inputs: "a" }, { accept }));
      assert.equal(json.headers.get("content-type"), "application/json", accept);
      assert.deepEqual(await json.json(), [{ label: "joy", score: 1 }]);
    }
    const event = await request("/", post({ inputs: "a" }, { accept: "text/event-stream" }));
    assert.match(event.headers.get("content-type") ?? "", /^text\/event-stream/);
    assert.equal(await event.text(), 'data:[{"label":"joy","score":1}]\n\n');
    const image = await request("/", post({ inputs: "a" }, { accept: "image/png" }));
    assert.equal(image.status, 406);
    await image.arrayBuffer();
  },
);
