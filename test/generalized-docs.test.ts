/**
 * `docs/generalized-handler.md` says what the program does: each key has its row, each answer is the real one.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { loadDefaultHandler } from "../runtime/handler/default.ts";
import { HANDLER_KEYS, TASK_OF_MODE } from "../runtime/handler/model/handler-settings.ts";
import { toLabels } from "../runtime/handler/model/labels.ts";
import { silentLog } from "../runtime/observe/log.ts";
import { parseModelConfig } from "../runtime/repository/model-config.ts";
import { ask, modelPath } from "./support/goldens.ts";

const PAGE = readFileSync(
  fileURLToPath(new URL("../docs/generalized-handler.md", import.meta.url)),
  "utf8",
);

/** What stands below a heading, up to the next of its level. */
function section(heading: string): string {
  const level = heading.slice(0, heading.indexOf(" "));
  const after = PAGE.split(`\n${heading}\n`)[1];
  assert.ok(after !== undefined, `the page has "${heading}"`);
  return after.split(new RegExp(`\n#{1,${level.length}} `))[0] ?? "";
}

test("the page has one row for each key, and no other", () => {
  const [table = ""] = section("## What each key means on onnxruntime").split("What stands beside");
  const rows = [...table.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1] ?? "");
  assert.deepEqual(rows.toSorted(), [...HANDLER_KEYS].toSorted());
});

test("the page's files of labels are read", () => {
  const [block = ""] =
    /```jsonc\n(.*?)```/s.exec(section("## Labels: `index_to_name.json`"))?.slice(1) ?? [];
  const lines = block.trim().split("\n");
  assert.equal(lines.length, 4);
  for (const line of lines) {
    const labels = toLabels("index_to_name.json", JSON.parse(line.replace(/\s*\/\/.*$/, "")));
    assert.ok(Object.keys(labels).length >= 2, line);
  }
});

for (const mode of Object.keys(TASK_OF_MODE)) {
  test(`the page's answers of ${mode} are the real ones`, async () => {
    const text = section(`### ${mode}`);
    const [, yaml = ""] = /```yaml\n(.*?)```/s.exec(text) ?? [];
    const task = await checkAnswers(text, yaml);
    assert.equal(task, TASK_OF_MODE[mode as keyof typeof TASK_OF_MODE]);
  });
}

test("the page's entities are the real ones", async () => {
  await checkAnswers(section("## The named-entity service with its entity dictionaries"), "");
});

/** Asks the fixture that a block of requests and answers begins with. @returns The task that was served. */
async function checkAnswers(text: string, yaml: string): Promise<string | undefined> {
  const [, model = "", block = ""] = /```jsonc\n\/\/ (\S+), fp32\n(.*?)```/s.exec(text) ?? [];
  const { file, handler } = parseModelConfig("model-config.yaml", yaml, silentLog());
  const options = { repository: modelPath(model), dtype: "fp32" };
  const settings = handler && { handlerSettings: { file, keys: handler } };
  const loaded = await loadDefaultHandler({ ...options, ...settings }, silentLog());
  const pairs = [...block.matchAll(/^(\{.*)\n((?:\/\/.*\n)+)/gm)];
  assert.ok(pairs.length > 0, "the page shows an answer");
  for (const [, request = "", comment = ""] of pairs) {
    const answer: unknown = JSON.parse(comment.replaceAll(/^\/\/(?: →)?/gm, ""));
    assertSame(await ask(loaded, JSON.parse(request)), answer, request);
  }
  await loaded.dispose();
  return loaded.description.task;
}

/** The same but for the digits that the page leaves out: it has five. */
function assertSame(actual: unknown, shown: unknown, path: string): void {
  if (typeof shown === "number" && typeof actual === "number") {
    assert.ok(Math.abs(actual - shown) < 2e-5, `${path}: ${actual}, the page says ${shown}`);
  } else if (typeof shown === "object" && shown !== null) {
    assert.ok(typeof actual === "object" && actual !== null, path);
    assert.deepEqual(Object.keys(actual), Object.keys(shown), path);
    const parts = new Map(Object.entries(actual));
    for (const [key, part] of Object.entries(shown)) {
      assertSame(parts.get(key), part, `${path}.${key}`);
    }
  } else assert.equal(actual, shown, path);
}
