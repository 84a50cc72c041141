import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { HubOptions } from "../../runtime/repository/hub.ts";
import { etagOf, startHubServer } from "../support/hub-server.ts";
import { bytesOf, createDownloader, type Downloader, NAME } from "./hub-fixture.ts";

const LARGE = bytesOf(300_000);
const LFS = { "onnx/model.onnx": { lfs: LARGE } };
const PLAIN = { "tokenizer.json": LARGE };
const ETAG = etagOf(LFS["onnx/model.onnx"]);

/** What an earlier start left in mid-file. */
async function leavePartial({ folder }: Downloader, etag: string, bytes: Uint8Array) {
  await mkdir(join(folder, "blobs"), { recursive: true });
  await writeFile(join(folder, "blobs", `${etag}.incomplete`), bytes);
}

/** Both ways in which the Hub keeps files. */
const KINDS = [
  { kind: "an LFS file", files: LFS, path: "onnx/model.onnx", request: /^CDN/ },
  { kind: "a plain file", files: PLAIN, path: "tokenizer.json", request: /\/resolve\// },
] as const;

for (const { kind, files, path: file, request } of KINDS) {
  const etag = etagOf(Object.values(files)[0] ?? "");
  const repositories = { [NAME]: { files } };

  describe(`downloadRepository() of ${kind}`, () => {
    test("resumes where an earlier start stopped", async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      await leavePartial(here, etag, LARGE.subarray(0, 123_456));
      const { path } = await here.download();
      assert.deepEqual(await readFile(join(path, file)), LARGE);
      assert.equal(hub.requests.at(-1)?.range, "bytes=123456-299999");
      assert.deepEqual(await readdir(join(here.folder, "blobs")), [etag]);
    });

    test("asks for nothing when an earlier start stopped just before the end", async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      await leavePartial(here, etag, LARGE);
      const { path } = await here.download();
      assert.deepEqual(await readFile(join(path, file)), LARGE);
      assert.ok(!hub.asked.some((line) => line.includes("/resolve/")));
    });

    test("resumes when the connection is cut in mid-file", async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      hub.misbehave(request, { cutAfterBytes: 100_000 });
      hub.misbehave(request, { cutAfterBytes: 50_000 });
      const { path } = await here.download();
      assert.deepEqual(await readFile(join(path, file)), LARGE);
      const ranges = hub.requests.flatMap(({ range }) => range ?? []);
      assert.equal(ranges.at(-1), "bytes=150000-299999");
    });

    test("resumes when nothing more comes", async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      hub.misbehave(request, { stallAfterBytes: 100_000 });
      const { path } = await here.download({ stallTimeoutMs: 50 });
      assert.deepEqual(await readFile(join(path, file)), LARGE);
      assert.ok(here.lines.some((line) => line.includes("nothing came for 0.05 s")));
    });

    test("gives up after four cuts in a row, and keeps what came", async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      hub.misbehave(request, { cutAfterBytes: 10_000 }, Infinity);
      await assert.rejects(here.download(), {
        code: "HUB_UNREACHABLE",
        message:
          /: the connection broke after 40000 of 300000 bytes of ".*": .*; check the network/,
      });
      const left = await readFile(join(here.folder, "blobs", `${etag}.incomplete`));
      assert.deepEqual(left, LARGE.subarray(0, 40_000));
      assert.deepEqual(await readdir(join(here.folder, "blobs")), [`${etag}.incomplete`]);
    });

    test("starts over when a server answers a range with everything", async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      await leavePartial(here, etag, LARGE.subarray(0, 1000));
      hub.misbehave(request, { ignoresRange: true });
      const { path } = await here.download();
      assert.deepEqual(await readFile(join(path, file)), LARGE);
      assert.equal(hub.requests.at(-1)?.range, undefined);
    });

    test("starts over when what an earlier start left is wrong", async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      await leavePartial(here, etag, Buffer.alloc(200_000));
      const { path } = await here.download();
      assert.deepEqual(await readFile(join(path, file)), LARGE);
      assert.ok(here.lines.some((line) => /WARN Downloading ".*" again from the start/.test(line)));
    });

    test("throws away what is longer than the file", async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      await leavePartial(here, etag, Buffer.alloc(400_000));
      const { path } = await here.download();
      assert.deepEqual(await readFile(join(path, file)), LARGE);
    });

    test("tries a wrong content once more from the start", async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      hub.misbehave(request, { content: Buffer.alloc(LARGE.length, 1) });
      const { path } = await here.download();
      assert.deepEqual(await readFile(join(path, file)), LARGE);
    });

    test("refuses a content that is wrong twice, names both hashes, and keeps nothing", async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      const wrong = Buffer.alloc(LARGE.length, 1);
      hub.misbehave(request, { content: wrong }, Infinity);
      const found = etagOf(kind === "an LFS file" ? { lfs: wrong } : wrong);
      await assert.rejects(here.download(), {
        code: "DOWNLOAD_FAILED",
        message: `Cannot download "${file}" of "owner/name": found content with the hash "${found}", wanted "${etag}"`,
      });
      assert.deepEqual(await readdir(join(here.folder, "blobs")), []);
      assert.deepEqual(await readdir(here.folder), ["blobs", "trees"]);
    });

    for (const [what, size] of [
      ["longer", LARGE.length + 1],
      ["shorter", LARGE.length - 1],
    ] as const) {
      test(`refuses a content that is ${what} than listed twice`, async () => {
        await using hub = await startHubServer({ repositories });
        await using here = await createDownloader(hub);
        hub.misbehave(request, { content: Buffer.alloc(size) }, Infinity);
        await assert.rejects(here.download(), {
          code: "DOWNLOAD_FAILED",
          message: /: found (?:more than 300000|299999) bytes, wanted/,
        });
        assert.deepEqual(await readdir(join(here.folder, "blobs")), []);
      });
    }

    test("stops in mid-file when the signal fires, keeps what came, and resumes later", async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      hub.misbehave(request, { stallAfterBytes: 100_000 });
      const leaving = new AbortController();
      let clock = 0;
      const options: Partial<HubOptions> = {
        signal: leaving.signal,
        now: () => (clock += 100),
        onProgress: ({ bytesDone }) => {
          if (bytesDone >= 100_000) leaving.abort(new Error("enough"));
        },
      };
      await assert.rejects(here.download(options), /^Error: enough$/);
      assert.deepEqual(await readdir(join(here.folder, "blobs")), [`${etag}.incomplete`]);
      assert.deepEqual(await readdir(join(here.cacheDir, ".locks/models--owner--name")), []);

      const { path } = await here.download();
      assert.deepEqual(await readFile(join(path, file)), LARGE);
      assert.equal(hub.requests.at(-1)?.range, "bytes=100000-299999");
    });
  });
}

describe("downloadRepository() of several files", () => {
  test("stops the others when one fails", async () => {
    const files = { "a.bin.json": LARGE, "b.json": "b" };
    await using hub = await startHubServer({ repositories: { [NAME]: { files } } });
    await using here = await createDownloader(hub);
    hub.misbehave(/a\.bin\.json/, { stallAfterBytes: 1000 });
    hub.misbehave(/b\.json/, { status: 418 });
    await assert.rejects(here.download(), {
      code: "DOWNLOAD_FAILED",
      message: 'Cannot download "owner/name": the Hub answers 418',
    });
  });

  test("says which file could not be written", async () => {
    await using hub = await startHubServer({ repositories: { [NAME]: { files: LFS } } });
    await using here = await createDownloader(hub);
    // A folder where the file should be: what an unwritable disk says differs from user to user.
    await mkdir(join(here.folder, "blobs", `${ETAG}.incomplete`), { recursive: true });
    await assert.rejects(here.download(), {
      code: "DOWNLOAD_FAILED",
      message: /^Cannot download "onnx\/model\.onnx" of "owner\/name": EISDIR/,
    });
  });
});

describe("downloadRepository() where links are not possible", () => {
  const symlink = (): Promise<void> =>
    Promise.reject(Object.assign(new Error("EPERM: operation not permitted"), { code: "EPERM" }));

  test("moves a new file into the snapshot", async () => {
    await using hub = await startHubServer({ repositories: { [NAME]: { files: LFS } } });
    await using here = await createDownloader(hub);
    const { path, commit } = await here.download({ symlink });
    assert.deepEqual(await readFile(join(path, "onnx/model.onnx")), LARGE);
    assert.deepEqual(await readdir(join(here.folder, "blobs")), []);
    assert.equal((await here.download({ symlink }, commit)).origin, "cache");
  });

  test("copies a blob that other snapshots may be using, and a content with two names", async () => {
    const files = { "a.json": "same", "b.json": "same" };
    await using hub = await startHubServer({ repositories: { [NAME]: { files } } });
    await using here = await createDownloader(hub);
    const first = await here.download({ symlink });
    assert.equal(await readFile(join(first.path, "a.json"), "utf8"), "same");
    assert.equal(await readFile(join(first.path, "b.json"), "utf8"), "same");

    await writeFile(join(here.folder, "blobs", etagOf("same")), "same");
    hub.push(NAME, { ...files, "c.json": "new" });
    const second = await here.download({ symlink });
    assert.equal(await readFile(join(second.path, "a.json"), "utf8"), "same");
    assert.deepEqual(await readdir(join(here.folder, "blobs")), [etagOf("same")]);
  });
});
