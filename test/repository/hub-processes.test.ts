import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { etagOf, startHubServer } from "../support/hub-server.ts";
import { bytesOf, createDownloader, type Downloader, NAME } from "./hub-fixture.ts";

const LARGE = bytesOf(2_000_000);
const files = { "config.json": "{}", "onnx/model.onnx": { lfs: LARGE } };
const repositories = { [NAME]: { files } };
const ETAG = etagOf(files["onnx/model.onnx"]);

/** A program that downloads and prints what it got, as another hubserve on this machine would. */
const PROGRAM = `
  const { downloadRepository } = await import(process.argv[1]);
  const { silentLog } = await import(process.argv[2]);
  const [endpoint, cacheDir] = process.argv.slice(3);
  const signal = new AbortController().signal;
  const log = silentLog();
  const options = { endpoint, cacheDir, signal, log, offline: false };
  const reference = { name: "owner/name", revision: "main" };
  console.log(JSON.stringify(await downloadRepository(reference, options)));
`;

async function downloadInChild(endpoint: string, cacheDir: string): Promise<unknown> {
  const modules = ["repository/hub.ts", "observe/log.ts"].map(
    (file) => new URL(`../../runtime/${file}`, import.meta.url).href,
  );
  const flags = ["--import", "tsx", "--input-type=module", "--eval", PROGRAM];
  const child = spawn(process.execPath, [...flags, ...modules, endpoint, cacheDir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return JSON.parse(Buffer.concat(await child.stdout.toArray()).toString());
}

function lockOf({ cacheDir }: Downloader): string {
  return join(cacheDir, ".locks", "models--owner--name", `${ETAG}.hubserve`);
}

/** A lock as a process that is still at work, or died, has left it. */
async function leaveLock(here: Downloader): Promise<string> {
  await mkdir(dirname(lockOf(here)), { recursive: true });
  await writeFile(lockOf(here), "");
  return lockOf(here);
}

describe("downloadRepository() in two processes at once", () => {
  test("fetches each file once and gives both the same snapshot", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const snapshots = await Promise.all([
      downloadInChild(hub.url, here.cacheDir),
      downloadInChild(hub.url, here.cacheDir),
      here.download(),
    ]);
    const path = join(here.folder, "snapshots", hub.commitOf(NAME));
    for (const snapshot of snapshots) {
      assert.ok(typeof snapshot === "object" && snapshot !== null && "path" in snapshot);
      assert.equal(snapshot.path, path);
    }
    assert.deepEqual(await readFile(join(path, "onnx/model.onnx")), LARGE);
    assert.equal(hub.asked.filter((line) => line.startsWith("CDN")).length, 1);
    assert.deepEqual(
      (await readdir(join(here.folder, "blobs"))).toSorted(),
      [etagOf("{}"), ETAG].toSorted(),
    );
  });

  test("waits for the other one, and takes what it fetched", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const lock = await leaveLock(here);
    let polls = 0;
    await here.download({
      sleep: async () => {
        polls += 1;
        if (polls > 1) return;
        // The other process ends: its blob is there and its lock is not.
        await mkdir(join(here.folder, "blobs"), { recursive: true });
        await writeFile(join(here.folder, "blobs", ETAG), LARGE);
        await rm(lock);
      },
    });
    assert.ok(
      here.lines.some((line) =>
        line.includes('Waiting for another process that downloads "onnx/model.onnx"'),
      ),
    );
    assert.ok(!hub.asked.some((line) => line.startsWith("CDN")));
  });

  test("takes over from one that died, and resumes what it left", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const lock = await leaveLock(here);
    await mkdir(join(here.folder, "blobs"), { recursive: true });
    await utimes(lock, 1, 1);
    await writeFile(join(here.folder, "blobs", `${ETAG}.incomplete`), LARGE.subarray(0, 500_000));
    const { path } = await here.download();
    assert.deepEqual(await readFile(join(path, "onnx/model.onnx")), LARGE);
    assert.equal(hub.requests.at(-1)?.range, "bytes=500000-1999999");
  });

  test("bears it when one that only slept works on at the same time", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    // Half-way through, the lock is taken for stale, and a second download begins on the same partial file.
    let second: Promise<unknown> | undefined;
    let clock = 0;
    const first = here.download({
      now: () => (clock += 100),
      onProgress: ({ bytesDone }) => {
        if (bytesDone < 500_000 || second !== undefined) return;
        second = utimes(lockOf(here), 1, 1).then(() => here.download());
      },
    });
    const { path } = await first;
    assert.notEqual(second, undefined);
    await second;
    assert.deepEqual(await readFile(join(path, "onnx/model.onnx")), LARGE);
  });
});
