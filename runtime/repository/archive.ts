/**
 * Opens model archives: `.mar` and `.zip`, `.tar.gz`, and folders that hold a `MAR-INF`.
 *
 * An archive is unpacked once, into hubserve's cache, under its SHA-256: first into a folder of its own, which gets its
 * name only when everything in it was checked. So a broken archive leaves nothing behind, two processes may open one at
 * once, and the place where archives lie may be read-only.
 */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat, symlink } from "node:fs/promises";
import { basename, dirname, join, posix } from "node:path";
import { pipeline } from "node:stream/promises";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { RuntimeError, systemCodeOf } from "../errors.ts";
import { silentLog, type Log } from "../observe/log.ts";
import { writableFolder } from "../writable-folder.ts";
import { aliasesOf } from "./archive-aliases.ts";
import { createEntryGuard, refused } from "./archive-entries.ts";
import {
  LONGEST_MANIFEST_BYTES,
  MANIFEST_FILE,
  parseManifest,
  type Manifest,
} from "./archive-manifest.ts";
import { assertServable } from "./archive-python.ts";
import { unpackTar } from "./archive-tar.ts";
import { readZipText, unpackZip } from "./archive-zip.ts";

export interface OpenedArchive {
  /** The folder to serve, absolute. */
  readonly path: string;
  readonly manifest: Manifest | undefined;
}

export interface ArchiveOptions {
  /** hubserve's own cache. */
  readonly cacheDir: string;
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** Unpacking that was killed leaves its folder; a day later nobody can be at it any more. */
const LEFTOVER_AGE_MS = 24 * 3600 * 1000;

/**
 * Opens an archive, a file or a folder.
 *
 * @throws RuntimeError `REPOSITORY_INVALID` when it is damaged, holds what it must not, or nothing that can be served;
 * `REPOSITORY_NOT_FOUND` when it cannot be read.
 */
export async function openArchive(path: string, options: ArchiveOptions): Promise<OpenedArchive> {
  const stats = await stat(path).catch(cannotRead(path));
  if (stats.isDirectory()) return openFolder(path, options);
  const { signal } = options;
  const sha256 = await hashFile(path, signal).catch(cannotRead(path));
  const usual = join(options.cacheDir, "archives", sha256);
  if (existsSync(usual)) return serveable(basename(path), usual, options.log); // also where nothing may be written
  const archives = archivesOf(options);
  const target = join(archives, sha256);
  if (!existsSync(target)) {
    await mkdir(archives, { recursive: true });
    await sweep(archives);
    await publish(target, async (folder) => unpack(path, stats.size, folder, signal));
  }
  return serveable(basename(path), target, options.log);
}

/**
 * The manifest alone, without unpacking where that can be: a listing at the end of the file says where it lies.
 *
 * @throws RuntimeError as `openArchive`.
 */
export async function identifyArchive(
  path: string,
  options: ArchiveOptions,
): Promise<Manifest | undefined> {
  const name = basename(path);
  const stats = await stat(path).catch(cannotRead(path));
  if (stats.isDirectory()) return readManifest(name, path);
  // What there is to say of it is said when it is opened to be served.
  if ((await formatOf(path)) !== "zip")
    return (await openArchive(path, { ...options, log: silentLog() })).manifest;
  const text = await readZipText({ path, name }, MANIFEST_FILE, LONGEST_MANIFEST_BYTES);
  return text === undefined ? undefined : parseManifest(name, text);
}

function archivesOf({ cacheDir, log }: ArchiveOptions): string {
  return writableFolder(join(cacheDir, "archives"), "archives", log);
}

/** Fills a new folder and gives it its name at once, or removes it. */
async function publish(target: string, fill: (folder: string) => Promise<string>): Promise<void> {
  const temporary = join(dirname(target), `.unpacking-${randomUUID()}`);
  await mkdir(temporary, { mode: 0o755 });
  try {
    const filled = await fill(temporary);
    await rename(filled, target).catch((error: unknown) => {
      // Another process was quicker; what it unpacked is the same.
      if (!existsSync(target)) throw error;
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Unpacks below `folder`. @returns The folder of the model: `folder`, or the one that holds everything in it. */
async function unpack(
  path: string,
  size: number,
  folder: string,
  signal: AbortSignal,
): Promise<string> {
  const name = basename(path);
  const guard = createEntryGuard(name, size);
  const format = await formatOf(path);
  if (format === undefined)
    throw refused(name, "it is neither a zip file (.mar) nor a gzipped tar file (.tar.gz)");
  await (format === "zip" ? unpackZip : unpackTar)({ path, name }, folder, { guard, signal });
  const root = format === "zip" ? folder : await withoutTopFolder(folder);
  const manifest = readManifest(name, root);
  await link(aliasesOf(name, await listFiles(root), manifest), root);
  // Only what can be served is kept: the next start would stumble over it again.
  assertHolds(name, root, await listFiles(root), manifest);
  return root;
}

/** tgz archives have one folder named for the model, and everything in it; TorchServe strips it. */
async function withoutTopFolder(folder: string): Promise<string> {
  const [only, ...more] = await readdir(folder, { withFileTypes: true });
  if (only === undefined || more.length > 0 || !only.isDirectory()) return folder;
  return only.name === dirname(MANIFEST_FILE) ? folder : join(folder, only.name);
}

/** A folder is served where it lies, unless its files need other names: then through a folder of links. */
async function openFolder(path: string, options: ArchiveOptions): Promise<OpenedArchive> {
  const name = basename(path);
  const aliases = aliasesOf(name, await listFiles(path), readManifest(name, path));
  if (aliases.size === 0) return serveable(name, path, options.log);
  const archives = archivesOf(options);
  await mkdir(archives, { recursive: true });
  const key = createHash("sha256")
    .update(path)
    .update(JSON.stringify([...aliases]));
  const target = join(archives, `links-${key.digest("hex")}`);
  await rm(target, { recursive: true, force: true }); // files may have come since
  await publish(target, async (folder) => {
    for (const entry of await readdir(path)) await mirror(join(path, entry), join(folder, entry));
    await link(aliases, folder);
    return folder;
  });
  return serveable(name, target, options.log);
}

/** Folders as they are, files as links: an alias may lie in a folder, and must not change the original. */
async function mirror(from: string, to: string): Promise<void> {
  if (!statSync(from).isDirectory()) return symlink(from, to);
  await mkdir(to);
  for (const entry of await readdir(from)) await mirror(join(from, entry), join(to, entry));
}

async function link(aliases: ReadonlyMap<string, string>, root: string): Promise<void> {
  for (const [alias, file] of aliases) await symlink(posix.basename(file), join(root, alias));
}

async function serveable(name: string, path: string, log: Log): Promise<OpenedArchive> {
  const manifest = readManifest(name, path);
  const note = assertHolds(name, path, await listFiles(path), manifest);
  if (note !== undefined) log.warn(note);
  return { path, manifest };
}

/** @returns What a person should know of what is served. @throws RuntimeError when nothing can be. */
function assertHolds(
  archive: string,
  root: string,
  files: readonly string[],
  manifest: Manifest | undefined,
): string | undefined {
  if (files.some((file) => /^handler\.(?:ts|js|mjs)$/.test(file))) return undefined;
  if (manifest !== undefined && manifest.runtime !== "node")
    return assertServable({ archive, files, manifest, mode: readMode(root) });
  if (files.some((file) => file.endsWith(".onnx"))) return undefined;
  throw refused(archive, "it has neither a handler.ts nor ONNX weights");
}

function readManifest(name: string, folder: string): Manifest | undefined {
  const file = join(folder, MANIFEST_FILE);
  const stats = statSync(file, { throwIfNoEntry: false });
  if (!stats?.isFile()) return undefined;
  if (stats.size > LONGEST_MANIFEST_BYTES)
    throw refused(name, `${MANIFEST_FILE} has more than ${LONGEST_MANIFEST_BYTES} bytes`);
  return parseManifest(name, readFileSync(file, "utf8"));
}

const Mode = z.object({ mode: z.string() });
const ModeFile = z.union([z.object({ handler: Mode }).transform(({ handler }) => handler), Mode]);

/** The generalized handler's mode, for an advice only: a file that cannot be read gives none. */
function readMode(root: string): string | undefined {
  for (const file of ["model-config.yaml", "setup_config.json"]) {
    const path = join(root, file);
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? Infinity) > 64 * 1024) continue;
    try {
      return ModeFile.parse(parseYaml(readFileSync(path, "utf8"), { logLevel: "error" })).mode;
    } catch {
      continue; // whoever loads the model says what is wrong with the file
    }
  }
  return undefined;
}

/** Every file, relative, with `/`. */
async function listFiles(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(root.length + 1)
        .replaceAll("\\", "/"),
    )
    .sort();
}

/** What a file is, told from its first bytes: names may say anything. */
async function formatOf(path: string): Promise<"zip" | "tgz" | undefined> {
  await using file = await open(path).catch(cannotRead(path));
  const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
  if (buffer[0] === 0x50 && buffer[1] === 0x4b) return "zip"; // "PK"
  if (buffer[0] === 0x1f && buffer[1] === 0x8b) return "tgz";
  return undefined;
}

async function hashFile(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash, { signal });
  return hash.digest("hex");
}

/** Removes what killed processes left half unpacked. */
async function sweep(archives: string): Promise<void> {
  for (const name of await readdir(archives)) {
    if (!name.startsWith(".unpacking-")) continue;
    const stats = statSync(join(archives, name), { throwIfNoEntry: false });
    if (stats !== undefined && Date.now() - stats.mtimeMs > LEFTOVER_AGE_MS)
      await rm(join(archives, name), { recursive: true, force: true });
  }
}

function cannotRead(path: string): (error: unknown) => never {
  return (error) => {
    const code = systemCodeOf(error);
    if (code === undefined || code === "ABORT_ERR") throw error;
    throw new RuntimeError(
      "REPOSITORY_NOT_FOUND",
      `Cannot open the archive "${basename(path)}": it cannot be read (${code})`,
      { cause: error },
    );
  };
}
