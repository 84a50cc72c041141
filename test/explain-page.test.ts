/**
 * docs/explanations.md and its picture show what the embedded model answers today.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { drawHeatMap, explain, PICTURE, TEXTS } from "../scripts/heat-map.ts";
import { assertNear, EMBEDDED } from "./support/goldens.ts";

/** Of numbers with two digits after the point, and of colours in 255 steps: one step each way. */
const STEP = { importance: 0.011, colour: 2 };
const COLOUR = /rgb\(\d+,\d+,\d+\)/g;
const IMPORTANCE = /(?<=#777777">)[+−]?\d\.\d\d/g;

test("the picture is what the embedded model explains: `npm run docs` writes it", async () => {
  const [written, drawn] = [readFileSync(PICTURE, "utf8"), drawHeatMap(await explain(TEXTS))];
  const bare = (svg: string) => svg.replaceAll(COLOUR, "").replaceAll(IMPORTANCE, "");
  assert.equal(bare(drawn), bare(written));
  const importances = (svg: string) =>
    (svg.match(IMPORTANCE) ?? []).map((text) => Number(text.replace("−", "-")));
  assert.equal(importances(written).length, 26);
  assertNear(importances(drawn), importances(written), STEP.importance);
  const colours = (svg: string) =>
    (svg.match(COLOUR) ?? []).flatMap((text) => (text.match(/\d+/g) ?? []).map(Number));
  assertNear(colours(drawn), colours(written), STEP.colour);
});

test("the page's example is the embedded model's answer", async () => {
  const page = readFileSync(join(EMBEDDED, "docs/explanations.md"), "utf8");
  const list = (key: string): unknown[] =>
    JSON.parse(new RegExp(`"${key}": (\\[.*\\])`).exec(page)?.[1] ?? "[]") as unknown[];
  const text = /"inputs": "([^"]*)"/.exec(page)?.[1] ?? "";
  const [found] = await explain([text]);
  assert.deepEqual(list("words"), found?.words);
  assertNear(found?.importances ?? [], list("importances") as number[], 1e-4); // four digits are shown
  assert.equal(/"target": "(\w+)"/.exec(page)?.[1], found?.target);
});

test("words of a heat map are text, whatever they hold", () => {
  const span = { start: 0, end: 1, importance: -2 };
  const svg = drawHeatMap([
    {
      words: [],
      importances: [],
      delta: 0,
      target: "a & b",
      spans: [{ word: "<script>", ...span }],
    },
  ]);
  assert.ok(svg.includes("&lt;script&gt;") && !svg.includes("<script>"));
  assert.ok(svg.includes("a &amp; b") && svg.includes("−2.00") && svg.includes("rgb(90,90,255)"));
});
