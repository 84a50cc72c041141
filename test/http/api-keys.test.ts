import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

import { splitKeys } from "../../runtime/api-key-text.ts";
import { createApiKeys, type ApiKeys } from "../../runtime/http/api-keys.ts";
import { silentLog, type Log } from "../../runtime/observe/log.ts";

const GOOD = "k".repeat(32);
const OTHER = "o".repeat(32);

const sends =
  (headers: Readonly<Record<string, string>>) =>
  (name: string): string | undefined =>
    headers[name];
const opens = (keys: ApiKeys | undefined, key: string): boolean =>
  keys?.accepts(sends({ "x-api-key": key })) === true;

function makeFile(t: TestContext, text: string): string {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-api-keys-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "keys");
  writeFileSync(file, text);
  return file;
}

function recordingLog(): { log: Log; lines: string[] } {
  const lines: string[] = [];
  const note = (text: string): void => void lines.push(text);
  const log: Log = { ...silentLog(), info: note, warn: note, error: note };
  return { log, lines };
}

test("without keys and without a file there is no lock", () => {
  assert.equal(createApiKeys({ keys: [], log: silentLog() }), undefined);
});

test("a key is taken as a bearer and in the two headers of its own, whole and in its case", () => {
  const keys = createApiKeys({ keys: [GOOD, OTHER], log: silentLog() })!;
  for (const headers of [
    { authorization: `Bearer ${GOOD}` },
    { authorization: `bearer  ${GOOD}` },
    { "x-api-key": GOOD },
    { "api-key": ` ${OTHER} ` },
    { authorization: "Bearer of-torchserve", "x-api-key": OTHER },
  ])
    assert.ok(keys.accepts(sends(headers)), JSON.stringify(headers));
  for (const headers of [
    {},
    { authorization: GOOD },
    { authorization: `Basic ${GOOD}` },
    { authorization: `Bearer ${GOOD}, Bearer ${OTHER}` },
    { authorization: "Bearer " },
    { "x-api-key": "" },
    { "x-api-key": GOOD.slice(1) },
    { "x-api-key": `${GOOD}k` },
    { "x-api-key": GOOD.toUpperCase() },
    { cookie: `x-api-key=${GOOD}` },
  ])
    assert.ok(!keys.accepts(sends(headers)), JSON.stringify(headers));
});

test("a variable holds several keys, and what is no key is refused without being shown", () => {
  assert.deepEqual(splitKeys(" a-key ,b-key\nc-key\r\n"), ["a-key", "b-key", "c-key"]);
  for (const text of [",", " \n", "two words", "schlüssel", "x".repeat(513)])
    assert.throws(
      () => splitKeys(text),
      (error) => error instanceof RangeError && (text.length < 3 || !error.message.includes(text)),
    );
});

test("a file has a key on each line, with comments, and is read again once it has changed", (t) => {
  const file = makeFile(t, `# the shop\n${GOOD}\r\n\n  # nobody: ${OTHER}\n`);
  let nowMs = 0;
  const { log, lines } = recordingLog();
  const keys = createApiKeys({ keys: [], file, log, now: () => nowMs });
  assert.ok(opens(keys, GOOD));
  assert.ok(!opens(keys, OTHER), "a comment");

  writeFileSync(`${file}.new`, `${OTHER}\n`);
  renameSync(`${file}.new`, file);
  assert.ok(opens(keys, GOOD), "it is looked at once a second");
  nowMs = 1000;
  assert.ok(!opens(keys, GOOD), "revoked");
  assert.ok(opens(keys, OTHER));
  assert.match(lines.join("\n"), /Read the API keys anew: one is in the file/);
});

test("a file that is gone, empty or wrong while the server runs opens nothing, and says so once", (t) => {
  const file = makeFile(t, GOOD);
  let nowMs = 0;
  const { log, lines } = recordingLog();
  const keys = createApiKeys({ keys: [OTHER], file, log, now: () => nowMs });
  const after = (change: () => void): string[] => {
    lines.length = 0;
    change();
    for (let i = 0; i < 3; i++) {
      nowMs += 1000;
      opens(keys, GOOD);
    }
    return lines.filter((line) => line.startsWith("Cannot"));
  };
  for (const [change, said] of [
    [() => rmSync(file), /ENOENT/],
    [() => writeFileSync(file, "# none\n"), /holds none/],
    [() => writeFileSync(file, `${GOOD}\nnot a key\n`), /line 2 is no key/],
  ] as const) {
    const found = after(change);
    assert.equal(found.length, 1, found.join("\n"));
    assert.match(found[0]!, said);
    assert.doesNotMatch(found[0]!, /not a key|kkk/);
    assert.ok(!opens(keys, GOOD));
    assert.ok(opens(keys, OTHER), "the one that was given directly stays");
    after(() => writeFileSync(file, `${GOOD}\n# ${nowMs}`));
    assert.ok(opens(keys, GOOD), "and it is good again once the file is");
  }
});

test("a start with a file that holds no key fails, rather than with an open door", (t) => {
  for (const [text, said] of [
    ["", /holds none; wanted one on each line$/],
    ["# only this", /holds none/],
    ["a b", /line 1 is no key/],
    ["x\n".repeat(1001), /holds 1001, wanted at most 1000/],
    ["#".repeat(1024 * 1024 + 1), /has 1048577 bytes/],
  ] as const) {
    const file = makeFile(t, text);
    assert.throws(() => createApiKeys({ keys: [OTHER], file, log: silentLog() }), {
      code: "INVALID_OPTION",
      message: said,
    });
  }
  assert.throws(() => createApiKeys({ keys: [], file: "/no/such", log: silentLog() }), {
    code: "INVALID_OPTION",
    message: /ENOENT; name the file with --api-key-file$/,
  });
});

test("a short key is warned about, and not shown", () => {
  const { log, lines } = recordingLog();
  createApiKeys({ keys: ["hunter2"], log });
  assert.match(lines.join("\n"), /One API key has fewer than 16 characters/);
  assert.doesNotMatch(lines.join("\n"), /hunter2/);
});
