/**
 * The beginning of a model's card: what is read of it, and what a hostile or odd one does.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { readModelCard } from "../../runtime/repository/model-card.ts";

function cardOf(content: string | Uint8Array | undefined, name = "README.md"): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-card-"));
  try {
    if (content !== undefined) writeFileSync(join(folder, name), content);
    return readModelCard(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("readModelCard() leaves the front matter out", () => {
  assert.equal(
    cardOf("---\nlicense: mit\ntags:\n- a\n---\n\n# A model\n\nText.\n"),
    "# A model\n\nText.",
  );
  assert.equal(cardOf("---\r\nlicense: mit\r\n---\r\nText"), "Text");
  assert.equal(
    cardOf("# No front matter\n\n---\nA rule.", "readme.md"),
    "# No front matter\n\n---\nA rule.",
  );
});

test("readModelCard() finds nothing where there is nothing", () => {
  assert.equal(cardOf(undefined), undefined);
  assert.equal(cardOf("---\nlicense: mit\n---\n"), undefined);
  assert.equal(cardOf(`---\n${"results: many\n".repeat(10_000)}---\nText`), undefined);
  const folder = mkdtempSync(join(tmpdir(), "hubserve-card-"));
  mkdirSync(join(folder, "README.md"));
  assert.equal(readModelCard(folder), undefined);
  rmSync(folder, { recursive: true });
});

test("readModelCard() reads the beginning of a long card only, and no half characters", () => {
  const long = cardOf("A line of the card, ü.\n".repeat(100_000)) ?? "";
  assert.ok(long.length <= 6_002 && long.endsWith("ü.\n…"), long.slice(-40));
  const wide = cardOf(`a${"😀".repeat(30_000)}`) ?? "";
  assert.ok(wide.length <= 6_002);
  assert.doesNotMatch(wide, /\uFFFD|[\uD800-\uDFFF]/u);
});
