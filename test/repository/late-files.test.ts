import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { silentLog } from "../../runtime/observe/log.ts";
import { waitForFiles } from "../../runtime/repository/late-files.ts";

const root = mkdtempSync(join(tmpdir(), "hubserve-late-"));
after(() => rmSync(root, { recursive: true, force: true }));

let count = 0;

/** A folder, and a clock that goes on while it is waited; `onSleep` is what happens meanwhile, by the number of the look. */
function makeScene(onSleep: (look: number, folder: string) => void = () => undefined) {
  const folder = join(root, String(++count));
  let nowMs = 0;
  let looks = 0;
  const lines: string[] = [];
  const stop = new AbortController();
  return {
    folder,
    lines,
    stop,
    get tookMs() {
      return nowMs;
    },
    options: {
      isComplete: (names: readonly string[]) => names.includes("handler.ts"),
      timeoutMs: 60_000,
      signal: stop.signal,
      log: { ...silentLog(), info: (text: string) => void lines.push(text) },
      now: () => nowMs,
      sleep: async (ms: number, signal: AbortSignal) => {
        signal.throwIfAborted();
        nowMs += ms;
        onSleep(++looks, folder);
      },
    },
  };
}

test("waitForFiles() settles once the folder is complete and has not changed for a second", async () => {
  const scene = makeScene((look, folder) => {
    if (look === 4) mkdirSync(folder);
    if (look === 8) writeFileSync(join(folder, "handler.ts"), "a");
    if (look > 8 && look <= 20) appendFileSync(join(folder, "handler.ts"), "a"); // it grows
  });
  await waitForFiles(scene.folder, scene.options);
  // The last change is seen at the 20th look; four more pass a second.
  assert.equal(scene.tookMs, 24 * 250);
  assert.equal(scene.lines.length, 1);
});

test("waitForFiles() takes a second for files that were there before", async () => {
  const scene = makeScene();
  mkdirSync(scene.folder);
  writeFileSync(join(scene.folder, "handler.ts"), "");
  await waitForFiles(scene.folder, scene.options);
  assert.equal(scene.tookMs, 1000);
});

test("waitForFiles() says now and then what it waits for, and what it found when the time is over", async () => {
  const scene = makeScene((look, folder) => {
    if (look === 2) mkdirSync(folder);
    if (look === 100) writeFileSync(join(folder, "README.md"), "");
  });
  await assert.rejects(waitForFiles(scene.folder, scene.options), {
    code: "REPOSITORY_NOT_FOUND",
    message:
      `Cannot serve the folder ${scene.folder}: after 60 s of waiting it holds no handler.ts, no config.json and no model/; ` +
      "is what fills it running? --startup-timeout says how long to wait",
  });
  const found = scene.lines.map((line) => line.slice(line.indexOf(": ") + 2));
  const holdsNone = "it holds no handler.ts, no config.json and no model/";
  assert.deepEqual(found, ["it is not there", "it is empty", holdsNone, holdsNone]);
});

test("waitForFiles() never takes a folder that does not stop growing", async () => {
  const scene = makeScene((_look, folder) => {
    mkdirSync(folder, { recursive: true });
    appendFileSync(join(folder, "handler.ts"), "a");
  });
  await assert.rejects(waitForFiles(scene.folder, scene.options), /60 s of waiting it still grows/);
});

test("waitForFiles() ends when its signal fires", async () => {
  const scene = makeScene((look) => {
    if (look === 3) scene.stop.abort(new Error("the server ends"));
  });
  await assert.rejects(waitForFiles(scene.folder, scene.options), /the server ends/);
});
