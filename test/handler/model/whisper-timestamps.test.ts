import assert from "node:assert/strict";
import { test } from "node:test";

import { findLanguage, languageName } from "../../../runtime/handler/model/whisper-languages.ts";
import {
  createTimestampRule,
  cutSegments,
} from "../../../runtime/handler/model/whisper-timestamps.ts";

/** Tokens 0–9 are text, 10 ends, 11 is a special one, 12 means no times, 13 is 0.00 seconds, 14 is 0.02, … */
const CLOCK = { beginId: 13, stepSeconds: 0.02, endId: 10, maxInitial: 2 };
const END = 10;
const time = (step: number) => CLOCK.beginId + step;

/** Which tokens may follow what was generated, where text is likelier than times. */
function allowed(generated: readonly number[], scores = new Float32Array(20)): number[] {
  if (scores.every((score) => score === 0)) scores.fill(9, 0, 13);
  createTimestampRule(CLOCK)(scores, { ids: [11, ...generated], generated: generated.length });
  return [...scores.keys()].filter((id) => scores[id] !== -Infinity);
}

const TEXT = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
const times = (from: number, to = 6) =>
  Array.from({ length: to - from + 1 }, (_, i) => time(from + i));

test("a first token is a time, no later than the model allows", () => {
  assert.deepEqual(allowed([]), times(0, 2));
});

test("after a start comes text", () => {
  assert.deepEqual(allowed([time(1)]), TEXT);
  assert.deepEqual(allowed([time(0), 3, time(2), time(2)]), TEXT);
});

test("after text comes text, or a time later than the last", () => {
  assert.deepEqual(allowed([time(1), 3]), [...TEXT, ...times(2)]);
});

test("after an end comes the next start, no earlier, or the end of all", () => {
  assert.deepEqual(allowed([time(1), 3, time(4)]), [END, 11, ...times(4)]);
});

test("a time comes where all times together are likelier than any text", () => {
  const scores = new Float32Array(20).fill(1);
  scores[3] = 2; // seven times at 1 make log(7) + 1
  assert.deepEqual(allowed([time(0), 5], scores), times(1));
});

test("cutSegments() cuts where one time follows another, and listens on there", () => {
  const ids = [time(0), 1, 2, time(3), time(3), 4, time(5), time(5), 6];
  assert.deepEqual(cutSegments(ids, 7, CLOCK), {
    segments: [
      { start: 0, end: 3, ids: [1, 2] },
      { start: 3, end: 5, ids: [4] },
    ],
    next: 5,
  });
});

test("cutSegments() takes a last time that stands alone for the end of all speech", () => {
  const ids = [time(0), 1, time(3), time(4), 5, time(6)];
  assert.deepEqual(cutSegments(ids, 7, CLOCK), {
    segments: [
      { start: 0, end: 3, ids: [1] },
      { start: 4, end: 6, ids: [5] },
    ],
    next: 7,
  });
});

test("cutSegments() makes one segment where nothing is cut, and none of silence", () => {
  assert.deepEqual(cutSegments([time(1), 4, 5], 7, CLOCK), {
    segments: [{ start: 1, end: undefined, ids: [4, 5] }],
    next: 7,
  });
  assert.deepEqual(cutSegments([time(1), 4, time(2)], 7, CLOCK).segments[0]?.end, 2);
  assert.deepEqual(cutSegments([], 7, CLOCK), { segments: [], next: 7 });
});

test("languages are found by code, token, name and the names that only some use", () => {
  const codes = ["en", "de", "my", "jw", "yue", "ca"];
  for (const [given, code] of [
    ["en", "en"],
    ["<|de|>", "de"],
    [" German ", "de"],
    ["burmese", "my"],
    ["Myanmar", "my"],
    ["javanese", "jw"],
    ["cantonese", "yue"],
    ["valencian", "ca"],
    ["french", undefined],
    ["klingon", undefined],
    ["", undefined],
  ] as const) {
    assert.equal(findLanguage(given, codes), code, given);
  }
  assert.deepEqual(["de", "my", "jw", "nn"].map(languageName), [
    "german",
    "myanmar",
    "javanese",
    "nynorsk",
  ]);
});
