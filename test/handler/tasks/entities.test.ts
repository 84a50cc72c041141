import assert from "node:assert/strict";
import { test } from "node:test";

import {
  groupTokens,
  labelTokens,
  mergeOverlapping,
  type Entity,
  type ScoredToken,
  type Strategy,
} from "../../../runtime/handler/tasks/entities.ts";
import { assertNear } from "../../support/goldens.ts";

const BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"];

/** Tokens that follow each other: `##` goes on with a word, then one score for each label, in percent. */
function tokensOf(...rows: readonly (readonly [word: string, ...percent: number[]])[]) {
  return rows.map(([word, ...percent], index): ScoredToken => {
    const start = index * 10;
    const scores = Float64Array.from(percent, (value) => value / 100);
    return { word, scores, start, end: start + 9, index, isSubword: word.startsWith("##") };
  });
}

/** Tokens with one label each, quite sure. */
function labelled(labels: readonly string[], scheme: readonly string[]): ScoredToken[] {
  return tokensOf(
    ...labels.map((label) => ["x", ...scheme.map((l) => (l === label ? 90 : 1))] as const),
  );
}

/** `PER 0-19`: every entity with its place. */
function shown(entities: readonly Entity[]): string[] {
  return entities.map(({ label, start, end }) => `${label} ${start}-${end}`);
}

function groups(labels: readonly string[], scheme = BIO): string[] {
  return shown(groupTokens(labelled(labels, scheme), scheme, "simple"));
}

test("an entity goes on with I of its kind, and begins anew with B", () => {
  assert.deepEqual(groups(["B-PER", "I-PER", "O", "B-LOC"]), ["PER 0-19", "O 20-29", "LOC 30-39"]);
  assert.deepEqual(groups(["B-PER", "B-PER", "I-PER"]), ["PER 0-9", "PER 10-29"]);
  assert.deepEqual(groups(["B-PER", "I-LOC"]), ["PER 0-9", "LOC 10-19"]);
  assert.deepEqual(groups(["I-PER", "I-PER"]), ["PER 0-19"]);
  assert.deepEqual(groups([]), []);
});

test("labels without prefix go on", () => {
  const scheme = ["NOUN", "VERB"];
  assert.deepEqual(groups(["NOUN", "NOUN", "VERB"], scheme), ["NOUN 0-19", "VERB 20-29"]);
});

test("a kind may have hyphens, and loses what is before the first one", () => {
  const scheme = ["O", "B-GEO-X", "I-GEO-X"];
  assert.deepEqual(groups(["B-GEO-X", "I-GEO-X"], scheme), ["GEO-X 0-19"]);
});

test("of BIOES, S begins and E goes on", () => {
  const scheme = ["O", "B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "E-LOC"];
  const labels = ["B-PER", "I-PER", "E-PER", "S-PER", "S-PER", "B-LOC", "E-LOC", "E-PER"];
  assert.deepEqual(groups(labels, scheme), [
    "PER 0-29",
    "PER 30-39",
    "PER 40-49",
    "LOC 50-69",
    "PER 70-79",
  ]);
});

test("of BILOU, U begins and L goes on", () => {
  const scheme = ["O", "B-PER", "I-PER", "L-PER", "U-PER"];
  assert.deepEqual(groups(["B-PER", "L-PER", "U-PER", "U-PER"], scheme), [
    "PER 0-19",
    "PER 20-29",
    "PER 30-39",
  ]);
});

test("E and S are no prefixes where no label begins with B, as in Python", () => {
  const scheme = ["E-MAIL", "S-MAIL"];
  assert.deepEqual(groups(["E-MAIL", "S-MAIL", "S-MAIL"], scheme), ["MAIL 0-9", "MAIL 10-29"]);
});

/** micro|soft is a person in its beginning, then a place, more surely. */
const MICROSOFT = tokensOf(
  ["micro", 10, 50, 10, 20, 10],
  ["##soft", 4, 3, 3, 70, 20],
  ["x", 96, 1, 1, 1, 1],
);
const BY_STRATEGY: readonly (readonly [
  strategy: Strategy,
  entities: readonly string[],
  scores: readonly number[],
])[] = [
  ["simple", ["PER 0-9", "LOC 10-19", "O 20-29"], [0.5, 0.7, 0.96]],
  ["first", ["PER 0-19", "O 20-29"], [0.5, 0.96]],
  ["max", ["LOC 0-19", "O 20-29"], [0.7, 0.96]],
  ["average", ["LOC 0-19", "O 20-29"], [0.45, 0.96]],
];

for (const [strategy, expected, scores] of BY_STRATEGY) {
  test(`${strategy} labels words its own way`, () => {
    assert.ok(strategy !== "none");
    const entities = groupTokens(MICROSOFT, BIO, strategy);
    assert.deepEqual(shown(entities), expected);
    assertNear(
      entities.map(({ score }) => score),
      scores,
      1e-12,
    );
  });
}

test("an entity's score is the mean of its words', whatever their length", () => {
  const tokens = tokensOf(["a", 0, 80, 20], ["##b", 0, 0, 100], ["c", 0, 40, 60]);
  const [entity] = groupTokens(tokens, BIO.slice(0, 3), "first");
  assertNear([entity?.score ?? 0], [0.7], 1e-12);
});

test("none labels every token by itself, with its prefix", () => {
  assert.deepEqual(shown(labelTokens(MICROSOFT, BIO)), ["B-PER 0-9", "B-LOC 10-19", "O 20-29"]);
});

test("of equal scores the first label counts, and a label without name its number", () => {
  assert.deepEqual(shown(labelTokens(tokensOf(["x", 50, 50]), ["A"])), ["A 0-9"]);
  assert.deepEqual(shown(labelTokens(tokensOf(["x", 40, 60]), ["A"])), ["LABEL_1 0-9"]);
});

function entity(label: string, start: number, end: number, score = 0.5): Entity {
  return { label, start, end, score, tokens: [] };
}

test("of entities that overlap the longest stays, of equally long ones the surest", () => {
  const merged = mergeOverlapping([
    entity("PER", 0, 5),
    entity("LOC", 20, 25, 0.6),
    entity("PER", 3, 9),
    entity("ORG", 20, 25, 0.7),
    entity("ORG", 20, 25, 0.65),
    entity("PER", 9, 12),
  ]);
  assert.deepEqual(shown(merged), ["PER 3-9", "PER 9-12", "ORG 20-25"]);
  assert.deepEqual(mergeOverlapping([]), []);
});
