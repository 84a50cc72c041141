import assert from "node:assert/strict";
import { test } from "node:test";
import { CLEAR_LINE, createProgressLine } from "../../runtime/observe/progress.ts";

function draw(columns: number): { written: string[]; line: ReturnType<typeof createProgressLine> } {
  const written: string[] = [];
  return {
    written,
    line: createProgressLine({ isTTY: true, columns, write: (text) => written.push(text) }),
  };
}

test("a progress line is drawn over itself on a terminal and cleared when all is done", () => {
  const { written, line } = draw(100);
  line?.({ bytesDone: 5e6, bytesTotal: 10e6, filesDone: 1, filesTotal: 2 });
  line?.({ bytesDone: 10e6, bytesTotal: 10e6, filesDone: 2, filesTotal: 2 });
  assert.deepEqual(written, [
    `${CLEAR_LINE}[${"█".repeat(12)}${"░".repeat(12)}] 5.0 of 10.0 MB, 1 of 2 files`,
    CLEAR_LINE,
  ]);
});

test("a progress line never wraps", () => {
  const { written, line } = draw(20);
  line?.({ bytesDone: 0, bytesTotal: 0, filesDone: 0, filesTotal: 1 });
  assert.equal(written[0]?.length, CLEAR_LINE.length + 19);
});

test("where there is no terminal there is no progress line", () => {
  assert.equal(createProgressLine({ write: () => assert.fail("drew") }), undefined);
});
