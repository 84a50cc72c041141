/**
 * TASKS.md shows what the shelf answers today: the page is written again and compared.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { tasksPage } from "../scripts/tasks-page.ts";
import { EMBEDDED } from "./support/goldens.ts";

/** Scores depend on the processor's kernels in their last digits, boxes may be rounded the other way. */
const SCORE_TOLERANCE = 0.02;
const PIXEL_TOLERANCE = 1;

const NUMBER = /-?\d+(?:\.\d+)?(?:e-?\d+)?/g;

test("TASKS.md is what the tasks answer: `npm run docs` writes it", async () => {
  const written = readFileSync(join(EMBEDDED, "TASKS.md"), "utf8");
  const answered = await tasksPage();
  assert.equal(answered.replaceAll(NUMBER, "#"), written.replaceAll(NUMBER, "#"));
  const expected = written.match(NUMBER) ?? [];
  for (const [index, text] of (answered.match(NUMBER) ?? []).entries()) {
    const wanted = expected[index] ?? "";
    const tolerance = wanted.includes(".") ? SCORE_TOLERANCE : PIXEL_TOLERANCE;
    assert.ok(
      Math.abs(Number(text) - Number(wanted)) <= tolerance,
      `${text} is not near ${wanted}`,
    );
  }
});
