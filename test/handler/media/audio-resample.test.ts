import assert from "node:assert/strict";
import { test } from "node:test";

import { createResampler } from "../../../runtime/handler/media/audio-resample.ts";

/** `seconds` of a sine, brought from one rate to another in pieces of odd lengths. */
function resampleSine(from: number, to: number, hertz: number, seconds = 0.5): Float32Array {
  const samples = Float32Array.from({ length: from * seconds }, (_, i) =>
    Math.sin((2 * Math.PI * hertz * i) / from),
  );
  const resampler = createResampler(from, to);
  const parts = [resampler.push(samples.subarray(0, 7)), resampler.push(samples.subarray(7, 1001))];
  parts.push(resampler.push(samples.subarray(1001)), resampler.finish());
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

/** The largest distance from the same sine at the new rate, away from both ends. */
function distance(sound: Float32Array, to: number, hertz: number, amplitude = 1): number {
  let largest = 0;
  for (let i = 400; i < sound.length - 400; i++) {
    const wanted = amplitude * Math.sin((2 * Math.PI * hertz * i) / to);
    largest = Math.max(largest, Math.abs((sound[i] ?? 0) - wanted));
  }
  return largest;
}

const RATES = [
  [44_100, 16_000],
  [48_000, 16_000],
  [22_050, 16_000],
  [8000, 16_000],
  [16_000, 48_000],
  [44_099, 16_000], // no common divisor: more phases than filters
] as const;

for (const [from, to] of RATES) {
  test(`a sine stays the sine it was from ${from} to ${to} Hz`, () => {
    for (const hertz of [50, 440, 3000]) {
      const sound = resampleSine(from, to, hertz);
      assert.equal(sound.length, Math.ceil((Math.floor(from * 0.5) * to) / from));
      // The window's ripple is 5e-5; a nearest phase of 1024 is off by up to 1/1024 of a sample.
      const tolerance = from === 44_099 ? 2e-3 : 1e-4;
      assert.ok(
        distance(sound, to, hertz) < tolerance,
        `${hertz} Hz: ${distance(sound, to, hertz)}`,
      );
    }
  });
}

test("what is too high for the new rate is gone, not folded back", () => {
  for (const hertz of [9500, 12_000, 20_000]) {
    const largest = resampleSine(44_100, 16_000, hertz)
      .slice(400, -400)
      .reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    assert.ok(largest < 1e-3, `${hertz} Hz left ${largest}`);
  }
});

test("a constant stays itself up to both ends", () => {
  const resampler = createResampler(44_100, 16_000);
  const parts = [...resampler.push(new Float32Array(4410).fill(0.5)), ...resampler.finish()];
  assert.equal(parts.length, 1600);
  assert.ok(parts.every((sample) => Math.abs(sample - 0.5) < 1e-4));
});

test("equal rates change nothing", () => {
  const samples = Float32Array.of(1, 2, 3);
  assert.equal(createResampler(16_000, 16_000).push(samples), samples);
});

test("a sound shorter than the filter has its length", () => {
  for (const length of [1, 5, 40]) {
    const resampler = createResampler(48_000, 16_000);
    const count =
      resampler.push(new Float32Array(length).fill(0.5)).length + resampler.finish().length;
    assert.equal(count, Math.ceil(length / 3));
  }
});
