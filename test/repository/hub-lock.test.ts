import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { type LockOptions, withLock } from "../../runtime/repository/hub-lock.ts";

describe("withLock()", () => {
  let folder = "";
  let path = "";
  const signal = new AbortController().signal;
  const options = {
    signal,
    sleep: async () => assert.fail("nothing holds the lock"),
  } satisfies LockOptions;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hubserve-lock-"));
    path = join(folder, "x.lock");
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test("returns what the task returns, and leaves no lock behind", async () => {
    assert.equal(await withLock(path, options, async () => 7), 7);
    assert.deepEqual(await readdir(folder), []);
  });

  test("leaves no lock behind when the task fails", async () => {
    const failing = withLock(path, options, () => Promise.reject(new Error("no")));
    await assert.rejects(failing, /no/);
    assert.deepEqual(await readdir(folder), []);
  });

  test("lets one in at a time, and says once that another waits", async () => {
    const events: string[] = [];
    const first = withResolvers();
    const entered = withResolvers();
    const one = withLock(path, options, async () => {
      events.push("one in");
      entered.resolve();
      await first.promise;
      events.push("one out");
    });
    await entered.promise;
    let polls = 0;
    const two = withLock(
      path,
      {
        signal,
        onWait: () => events.push("two waits"),
        sleep: async () => {
          polls += 1;
          if (polls === 3) {
            first.resolve();
            await one;
          }
        },
      },
      async () => {
        events.push("two in");
      },
    );
    await two;
    assert.deepEqual(events, ["one in", "two waits", "one out", "two in"]);
  });

  test("takes over a lock that nobody has touched for 20 s", async () => {
    await writeFile(path, "");
    const now = (): number => 1_000_000_000;
    await utimes(path, now() / 1000 - 21, now() / 1000 - 21);
    assert.equal(await withLock(path, { ...options, now }, async () => "mine"), "mine");
  });

  test("does not take over a lock that was touched within 20 s", async () => {
    await writeFile(path, "");
    const now = (): number => 1_000_000_000;
    await utimes(path, now() / 1000 - 19, now() / 1000 - 19);
    const sleep = (): Promise<void> => Promise.reject(new Error("it waits"));
    await assert.rejects(
      withLock(path, { ...options, now, sleep }, async () => 0),
      /it waits/,
    );
  });

  test("touches its lock while the task runs, and no longer", async () => {
    const beats: (() => void)[] = [];
    let isStopped = false;
    const every: NonNullable<LockOptions["every"]> = (ms, beat) => {
      assert.equal(ms, 2000);
      beats.push(beat);
      return () => void (isStopped = true);
    };
    const now = (): number => 2_000_000_000_000;
    await withLock(path, { ...options, now, every }, async () => {
      beats[0]?.();
      // The touch is asynchronous and nobody waits for it; this ends as soon as it is seen.
      while ((await stat(path)).mtimeMs !== now());
      assert.equal(isStopped, false);
    });
    assert.equal(isStopped, true);
  });

  test("stops waiting when the signal fires", async () => {
    await writeFile(path, "");
    const leaving = new AbortController();
    const sleep = async (_ms: number, signal: AbortSignal): Promise<void> => {
      leaving.abort(new Error("enough"));
      signal.throwIfAborted();
    };
    const waiting = withLock(path, { signal: leaving.signal, sleep }, async () => 0);
    await assert.rejects(waiting, /enough/);
    assert.deepEqual(await readdir(folder), ["x.lock"]);
  });
});

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}
