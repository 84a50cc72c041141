import assert from "node:assert/strict";
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import type { HubProgress } from "../../runtime/repository/hub.ts";
import { etagOf, filesFromFolder, type HubFiles, startHubServer } from "../support/hub-server.ts";
import { bytesOf, createDownloader, MODEL_FILES, NAME, NOBODY } from "./hub-fixture.ts";

const repositories = { [NAME]: { files: MODEL_FILES } };
const WANTED = ["README.md", "config.json", "onnx/model_quantized.onnx", "tokenizer.json"];

async function readTree(folder: string): Promise<string[]> {
  const items = await readdir(folder, { recursive: true, withFileTypes: true });
  return items
    .filter((item) => !item.isDirectory())
    .map((item) => join(item.parentPath, item.name).slice(folder.length + 1))
    .toSorted();
}

/** Puts files into the cache as Python's huggingface_hub does, which keeps no listing. */
async function putLikePython(folder: string, commit: string, files: HubFiles): Promise<void> {
  await mkdir(join(folder, "refs"), { recursive: true });
  await mkdir(join(folder, "blobs"), { recursive: true });
  await writeFile(join(folder, "refs", "main"), commit);
  for (const [path, file] of Object.entries(files)) {
    const etag = etagOf(file);
    const target = join(folder, "snapshots", commit, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(
      join(folder, "blobs", etag),
      typeof file === "object" && "lfs" in file ? file.lfs : file,
    );
    const up = "../".repeat(path.split("/").length + 1);
    await symlink(`${up}blobs/${etag}`, target);
  }
}

describe("downloadRepository() from the Hub", () => {
  test("fetches what will be used, and nothing else", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const snapshot = await here.download();
    assert.equal(snapshot.origin, "hub");
    assert.equal(snapshot.commit, hub.commitOf(NAME));
    assert.deepEqual(await readTree(snapshot.path), WANTED);
    assert.equal(
      await readFile(join(snapshot.path, "config.json"), "utf8"),
      '{"model_type":"bert"}',
    );
    assert.deepEqual(
      await readFile(join(snapshot.path, "onnx/model_quantized.onnx")),
      bytesOf(2000),
    );
    // Who it is, what it holds, four files, one of them at the CDN.
    assert.equal(hub.requests.length, 7);
  });

  test("writes the layout of Python's huggingface_hub, with relative links", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { commit, path } = await here.download();
    assert.equal(path, join(here.folder, "snapshots", commit));
    const etags = {
      config: etagOf(MODEL_FILES["config.json"]),
      onnx: etagOf(MODEL_FILES["onnx/model_quantized.onnx"]),
    };
    assert.equal(await readlink(join(path, "config.json")), `../../blobs/${etags.config}`);
    assert.equal(
      await readlink(join(path, "onnx/model_quantized.onnx")),
      `../../../blobs/${etags.onnx}`,
    );
    assert.equal(etags.onnx.length, 64);
    assert.equal(etags.config.length, 40);
    assert.equal(await readFile(join(here.folder, "refs/main"), "utf8"), commit);
    assert.deepEqual((await readdir(here.folder)).toSorted(), [
      "blobs",
      "refs",
      "snapshots",
      "trees",
    ]);
    assert.deepEqual(await readdir(join(here.folder, "trees")), [`${commit}.json`]);
    assert.equal((await readdir(join(here.folder, "blobs"))).length, WANTED.length);
  });

  test("fetches the named dtype", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { path } = await here.download({ dtype: "fp32" });
    assert.deepEqual(await readdir(join(path, "onnx")), ["model.onnx"]);
  });

  test("lets include and exclude override", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { path } = await here.download({
      include: ["*.safetensors", "onnx/"],
      exclude: ["*_q*"],
    });
    assert.deepEqual(await readTree(path), ["model.safetensors", "onnx/model.onnx"]);
  });

  test("says what there is when nothing is wanted", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    await assert.rejects(here.download({ include: ["*.gguf"], exclude: ["x"] }), {
      code: "DOWNLOAD_FAILED",
      message:
        'Cannot download "owner/name": found ".gitattributes", "README.md", "config.json", "tokenizer.json", "model.safetensors", …, wanted files that match "*.gguf", without "x"',
    });
  });

  test("fetches names with spaces, percent signs, hashes and question marks", async () => {
    const files = { "a b/100% #1?.json": "{}", "é/ü.txt": "x" };
    await using hub = await startHubServer({ repositories: { [NAME]: { files } } });
    await using here = await createDownloader(hub);
    const { path } = await here.download();
    assert.deepEqual(await readTree(path), Object.keys(files).toSorted());
  });

  test("makes empty files without asking", async () => {
    const files = { "config.json": "{}", "lib/__init__.py": "" };
    await using hub = await startHubServer({ repositories: { [NAME]: { files } } });
    await using here = await createDownloader(hub);
    const { path } = await here.download();
    assert.equal(await readFile(join(path, "lib/__init__.py"), "utf8"), "");
    assert.ok(!hub.asked.some((line) => line.includes("__init__")));
  });

  test("fetches a content once, whatever names it has", async () => {
    const files = { "a.json": "same", "b/c.json": "same", "d.json": "other" };
    await using hub = await startHubServer({ repositories: { [NAME]: { files } } });
    await using here = await createDownloader(hub);
    const { path } = await here.download();
    assert.equal(await readFile(join(path, "b/c.json"), "utf8"), "same");
    assert.equal(hub.asked.filter((line) => line.includes("/resolve/")).length, 2);
  });

  test("fetches a file of the Xet store over plain HTTP, and keeps its Xet hash for Python", async () => {
    const xetHash = "c".repeat(64);
    const files = { "onnx/model.onnx": { lfs: "weights" } };
    await using hub = await startHubServer({
      repositories: {
        [NAME]: { files, listing: (entries) => entries.map((entry) => ({ ...entry, xetHash })) },
      },
    });
    await using here = await createDownloader(hub);
    const { path, commit } = await here.download();
    assert.equal(await readFile(join(path, "onnx/model.onnx"), "utf8"), "weights");
    assert.ok(
      (await readFile(join(here.folder, `trees/${commit}.json`), "utf8")).includes(xetHash),
    );
  });

  test("reads a listing of many pages", async () => {
    const files = Object.fromEntries(
      Array.from({ length: 25 }, (_, index) => [`${index}.txt`, `${index}`]),
    );
    await using hub = await startHubServer({ repositories: { [NAME]: { files } }, pageSize: 10 });
    await using here = await createDownloader(hub);
    const { path } = await here.download();
    assert.equal((await readdir(path)).length, 25);
    assert.equal(hub.asked.filter((line) => line.includes("/tree/")).length, 3);
  });

  test("fetches several files at once, and never more than four", async () => {
    const files = Object.fromEntries(
      Array.from({ length: 12 }, (_, index) => [`${index}.txt`, `${index}`]),
    );
    await using hub = await startHubServer({ repositories: { [NAME]: { files } } });
    await using here = await createDownloader(hub);
    let running = 0;
    let most = 0;
    let release = (): void => undefined;
    const fourAtOnce = new Promise<void>((resolve) => (release = resolve));
    await here.download({
      fetch: async (input, init) => {
        const { pathname } = new URL(input instanceof Request ? input.url : input);
        if (!pathname.includes("/resolve/")) return await fetch(input, init);
        running += 1;
        most = Math.max(most, running);
        if (running === 4) release();
        await fourAtOnce;
        const response = await fetch(input, init);
        running -= 1;
        return response;
      },
    });
    assert.equal(most, 4);
  });

  test("takes tags, commits and pull requests, and keeps references in folders as Python does", async () => {
    const revisions = { "v1.0": { "a.txt": "v1" }, "refs/pr/1": { "a.txt": "pr" } };
    await using hub = await startHubServer({
      repositories: { [NAME]: { files: MODEL_FILES, revisions } },
    });
    await using here = await createDownloader(hub);
    for (const [revision, content] of [
      ["v1.0", "v1"],
      ["refs/pr/1", "pr"],
    ] as const) {
      const { path, commit } = await here.download({}, revision);
      assert.equal(await readFile(join(path, "a.txt"), "utf8"), content);
      assert.equal(await readFile(join(here.folder, "refs", revision), "utf8"), commit);
    }
    const commit = hub.commitOf(NAME, "v1.0");
    assert.equal((await here.download({}, commit)).commit, commit);
    assert.deepEqual(await readdir(join(here.folder, "refs")), ["refs", "v1.0"]);
  });

  test("tells how far it is", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const seen: HubProgress[] = [];
    let clock = 0;
    await here.download({
      onProgress: (progress) => seen.push(progress),
      now: () => (clock += 100),
    });
    const bytesTotal = WANTED.reduce((sum, path) => {
      const file = MODEL_FILES[path as keyof typeof MODEL_FILES];
      return sum + (typeof file === "string" ? file : file.lfs).length;
    }, 0);
    const totals = { bytesTotal, filesTotal: 4 };
    assert.deepEqual(seen[0], { bytesDone: 0, filesDone: 0, ...totals });
    assert.deepEqual(seen.at(-1), { bytesDone: bytesTotal, filesDone: 4, ...totals });
    assert.ok(!here.lines.some((line) => line.includes("Download")));
  });

  test("logs where it starts and ends when nobody draws", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    await here.download();
    assert.match(here.lines[0] ?? "", /Downloading 4 files of "owner\/name": 2\.0 kB$/);
    assert.match(here.lines[1] ?? "", /Downloaded 4 files of "owner\/name": 2\.0 kB in \d+\.\d s$/);
    assert.equal(here.lines.length, 2);
  });

  test("serves a folder on disk as a repository", async () => {
    const folder = new URL("../../model", import.meta.url).pathname;
    const files = await filesFromFolder(folder);
    await using hub = await startHubServer({ repositories: { [NAME]: { files } } });
    await using here = await createDownloader(hub);
    const { path } = await here.download();
    assert.ok((await readTree(path)).includes("onnx/model_quantized.onnx"));
    assert.deepEqual(
      await readFile(join(path, "tokenizer.json")),
      await readFile(join(folder, "tokenizer.json")),
    );
  });
});

describe("downloadRepository() from the cache", () => {
  test("asks one question when a branch's files are all here", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const first = await here.download();
    const before = hub.requests.length;
    const second = await here.download();
    assert.deepEqual(second, { ...first, origin: "cache" });
    assert.deepEqual(hub.asked.slice(before), ["GET /api/models/owner/name/revision/main"]);
  });

  test("asks nothing when a commit's files are all here", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { commit } = await here.download();
    const before = hub.requests.length;
    assert.equal((await here.download({}, commit)).origin, "cache");
    assert.equal(hub.requests.length, before);
    assert.equal((await here.download({ ...NOBODY, offline: true }, commit)).origin, "cache");
  });

  test("fetches the rest of a commit when more is wanted than last time", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { commit } = await here.download();
    const before = hub.requests.length;
    assert.equal((await here.download({ dtype: "fp32" }, commit)).origin, "hub");
    assert.deepEqual(hub.asked.slice(before), [
      `GET /owner/name/resolve/${commit}/onnx/model.onnx`,
      `CDN GET /store/${etagOf(MODEL_FILES["onnx/model.onnx"])}`,
    ]);
  });

  test("fetches of a new commit what the old one did not have", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const old = await here.download();
    const commit = hub.push(NAME, { ...MODEL_FILES, "config.json": "changed" });
    const before = hub.requests.length;
    const snapshot = await here.download();
    assert.equal(snapshot.commit, commit);
    assert.equal(await readFile(join(snapshot.path, "config.json"), "utf8"), "changed");
    assert.deepEqual(
      hub.asked.slice(before).filter((line) => !line.includes("/api/")),
      [`GET /owner/name/resolve/${commit}/config.json`],
    );
    assert.equal(await readFile(join(here.folder, "refs/main"), "utf8"), commit);
    assert.notEqual(await readFile(join(old.path, "config.json"), "utf8"), "changed");
  });

  test("uses what Python put there, and fetches only what is missing", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { "config.json": _, ...rest } = MODEL_FILES;
    await putLikePython(here.folder, hub.commitOf(NAME), rest);
    const snapshot = await here.download();
    assert.equal(snapshot.origin, "hub");
    assert.deepEqual(
      hub.asked.filter((line) => line.includes("/resolve/")),
      [`GET /owner/name/resolve/${snapshot.commit}/config.json`],
    );
    assert.equal((await here.download({}, snapshot.commit)).origin, "cache");
  });

  test("links a blob that is here under another commit's name", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    await putLikePython(here.folder, "0".repeat(40), MODEL_FILES);
    await here.download();
    assert.ok(!hub.asked.some((line) => line.includes("/resolve/")));
  });

  test("fetches a file again that is here in a wrong size, or as a link that leads nowhere", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { path } = await here.download();
    await writeFile(join(path, "config.json"), "{");
    await rm(join(here.folder, "blobs", etagOf(MODEL_FILES["tokenizer.json"])));
    const before = hub.requests.length;
    await here.download();
    assert.equal(await readFile(join(path, "config.json"), "utf8"), '{"model_type":"bert"}');
    assert.equal(await readFile(join(path, "tokenizer.json"), "utf8"), "{}");
    assert.equal(hub.requests.length, before + 3);
  });

  test("serves what the branch last was when the Hub cannot be reached, and says so", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { commit, path } = await here.download();
    here.lines.length = 0;
    const snapshot = await here.download({ endpoint: NOBODY.url });
    assert.deepEqual(snapshot, { path, commit, origin: "cache" });
    const last = here.lines.at(-1) ?? "";
    assert.match(last, new RegExp(`WARN Serving commit ${commit} of "owner/name" from the cache`));
    assert.match(last, /reason=it refuses the connection \(ECONNREFUSED\), revision=main/);
  });

  for (const status of [500, 503, 429]) {
    test(`serves what the branch last was when the Hub keeps answering ${status}`, async () => {
      await using hub = await startHubServer({ repositories });
      await using here = await createDownloader(hub);
      await here.download();
      hub.misbehave(/\/api\//, { status }, Infinity);
      assert.equal((await here.download()).origin, "cache");
    });
  }

  test("does not serve a commit whose download was interrupted", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    hub.misbehave(/config\.json/, { status: 502 }, Infinity);
    const commit = hub.commitOf(NAME);
    await assert.rejects(here.download({}, commit), { code: "HUB_UNREACHABLE" });
    await assert.rejects(here.download(), { code: "HUB_UNREACHABLE" });
  });

  test("serves the last whole commit when the files of a new one cannot be fetched", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const old = await here.download();
    hub.push(NAME, { ...MODEL_FILES, "config.json": "changed" });
    hub.misbehave(/config\.json/, { status: 502 }, Infinity);
    assert.equal((await here.download()).commit, old.commit);
  });

  test("serves from the cache when something else answers in the Hub's place", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    await here.download();
    hub.misbehave(/\/api\//, { status: 200, body: "<html>Log in to the hotel's network</html>" });
    assert.equal((await here.download()).origin, "cache");
    assert.match(here.lines.at(-1) ?? "", /reason=it does not answer as the Hub does: /);
  });

  test("serves a whole snapshot from a cache that may not be written", async (t) => {
    if (process.seteuid === undefined) return t.skip("needs POSIX permissions");
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { path } = await here.download();
    await rm(join(here.folder, "trees"), { recursive: true });
    const folders = [here.cacheDir, here.folder, join(here.folder, "refs")];
    for (const folder of folders) await chmod(folder, 0o555);
    // Root may write everywhere; 65534 is nobody.
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid(65_534);
    try {
      const snapshot = await here.download();
      assert.deepEqual(snapshot, { path, commit: hub.commitOf(NAME), origin: "cache" });
    } finally {
      if (isRoot) process.seteuid(0);
      for (const folder of folders) await chmod(folder, 0o755);
    }
    assert.ok(!(await readdir(here.folder)).includes("trees"));
  });
});

describe("downloadRepository() offline", () => {
  test("serves a branch without a question", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { commit, path } = await here.download();
    const refuse = (): never => assert.fail("it asked");
    const snapshot = await here.download({ offline: true, fetch: refuse });
    assert.deepEqual(snapshot, { path, commit, origin: "cache" });
  });

  test("serves what Python put there as it is", async () => {
    await using here = await createDownloader(NOBODY);
    await putLikePython(here.folder, "1".repeat(40), { "config.json": "{}" });
    const { path } = await here.download({ offline: true });
    assert.deepEqual(await readdir(path), ["config.json"]);
  });

  test("says that nothing is there, and how to get it", async () => {
    await using here = await createDownloader(NOBODY);
    await assert.rejects(here.download({ offline: true }), {
      code: "REPOSITORY_NOT_FOUND",
      message: `Cannot load "owner/name" at "main" offline: it is not in the cache folder "${here.cacheDir}"; start once without HF_HUB_OFFLINE, or copy the folder there from a machine that has it`,
    });
  });

  test("says which weights are missing", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { path } = await here.download();
    await rm(join(path, "onnx/model_quantized.onnx"));
    await rm(join(path, "config.json"));
    await assert.rejects(here.download({ offline: true }), {
      code: "REPOSITORY_NOT_FOUND",
      message:
        /offline: 2 of 4 files, such as "onnx\/model_quantized\.onnx", are not in the cache folder/,
    });
  });

  test("serves without other files, and says which", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    const { path } = await here.download();
    await rm(join(path, "README.md"));
    assert.equal((await here.download({ offline: true })).origin, "cache");
    assert.match(
      here.lines.at(-1) ?? "",
      /WARN Serving "owner\/name" in part: 1 of 4 files, such as "README\.md", are not in the cache$/,
    );
  });

  test("takes the dtype that is here when none was named, and says so", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    await here.download({ dtype: "fp32" });
    assert.equal((await here.download({ offline: true })).origin, "cache");
    assert.match(here.lines.at(-1) ?? "", /WARN Using the fp32 weights of "owner\/name"/);
  });

  test("does not take another dtype than the one that was named", async () => {
    await using hub = await startHubServer({ repositories });
    await using here = await createDownloader(hub);
    await here.download({ dtype: "fp32" });
    await assert.rejects(here.download({ offline: true, dtype: "q8" }), {
      code: "REPOSITORY_NOT_FOUND",
    });
  });
});
