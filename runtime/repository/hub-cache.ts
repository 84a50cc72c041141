/**
 * The Hugging Face cache on disk, shared with Python's huggingface_hub in both directions.
 *
 * ```
 * models--owner--name/
 *   blobs/<etag>                 content, once for all commits; `<etag>.incomplete` while it comes
 *   refs/<revision>              the commit that a branch or tag last was
 *   snapshots/<commit>/<path>    a relative link to the blob
 *   trees/<commit>.json          what the commit holds
 * .locks/models--owner--name/    `<etag>.hubserve` while a hubserve fetches that content
 * ```
 *
 * Where links are not possible the file itself lies in the snapshot, as Python does it (huggingface_hub 2.0,
 * `file_download.py`, `_create_symlink`).
 */
import { randomUUID } from "node:crypto";
import {
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink as fsSymlink,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { systemCodeOf } from "../errors.ts";
import { etagOf, type ListedFile } from "./hub-listing.ts";
import { isCommit } from "./hub-reference.ts";
import { formatTree, parseTree } from "./hub-tree.ts";

export type Symlink = (target: string, path: string) => Promise<void>;

export interface HubCacheOptions {
  readonly cacheDir: string;
  /** A name that `assertReference` let pass. */
  readonly name: string;
  readonly symlink?: Symlink | undefined;
}

/** One model's folder in the cache. Its folders are made when something is first put there. */
export interface HubCache {
  /** Where a commit's files lie. */
  snapshotPath(commit: string): string;
  /** Where a content lies once it is whole; its folder exists when this resolves. */
  prepareBlob(file: ListedFile): Promise<string>;
  /** A lock file for a content; its folder exists when this resolves. */
  prepareLock(file: ListedFile): Promise<string>;
  /** The commit that `revision` was when somebody last asked. */
  readRef(revision: string): Promise<string | undefined>;
  writeRef(revision: string, commit: string): Promise<void>;
  readListing(commit: string): Promise<readonly ListedFile[] | undefined>;
  writeListing(commit: string, files: readonly ListedFile[]): Promise<void>;
  /** The files that a snapshot has, whoever put them there. Links that lead nowhere do not count. */
  listSnapshot(commit: string): Promise<readonly string[]>;
  /** Those of `files` that the snapshot does not have in their right size. */
  findMissing(commit: string, files: readonly ListedFile[]): Promise<readonly ListedFile[]>;
  /** Whether the blob of `file` is there, in its right size. */
  holdsBlob(file: ListedFile): Promise<boolean>;
  /**
   * Gives the snapshot files of one content, which must be a whole blob.
   *
   * @param isNew Whether no other snapshot can be using the blob; without links it is then moved instead of copied.
   */
  link(commit: string, files: readonly ListedFile[], isNew: boolean): Promise<void>;
}

/** A disk that may not be written still serves what it has. */
const READ_ONLY: ReadonlySet<string | undefined> = new Set(["EROFS", "EACCES", "EPERM"]);

export function createHubCache({ cacheDir, name, symlink = fsSymlink }: HubCacheOptions): HubCache {
  const folder = resolve(cacheDir, ["models", ...name.split("/")].join("--"));
  const blobs = join(folder, "blobs");
  const locks = resolve(cacheDir, ".locks", basename(folder));
  const snapshotPath = (commit: string): string => join(folder, "snapshots", commit);
  const blobPath = (file: ListedFile): string => join(blobs, etagOf(file));
  const refPath = (revision: string): string => join(folder, "refs", ...revision.split("/"));
  const treePath = (commit: string): string => join(folder, "trees", `${commit}.json`);

  /** Puts what `make` makes in its place at once, so that no reader sees half of it and no other writer is in the way. */
  async function place(target: string, make: (temporary: string) => Promise<void>): Promise<void> {
    await mkdir(dirname(target), { recursive: true });
    // In no folder that is listed: a process may die here.
    const temporary = join(folder, `.${randomUUID()}.tmp`);
    try {
      await make(temporary);
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async function linkOne(target: string, blob: string, mayMove: boolean): Promise<void> {
    try {
      await place(target, (temporary) => symlink(relative(dirname(target), blob), temporary));
    } catch {
      // Windows without the privilege, network file systems, FAT.
      if (mayMove) await rename(blob, target);
      else await place(target, (temporary) => copyFile(blob, temporary));
    }
  }

  async function keep(path: string, text: string): Promise<void> {
    try {
      await place(path, (temporary) => writeFile(temporary, text));
    } catch (error) {
      if (!READ_ONLY.has(systemCodeOf(error))) throw error;
    }
  }

  return {
    snapshotPath,
    prepareBlob: async (file) => {
      await mkdir(blobs, { recursive: true });
      return blobPath(file);
    },
    prepareLock: async (file) => {
      await mkdir(locks, { recursive: true });
      // Not `.lock`: those are Python's, which leaves them behind.
      return join(locks, `${etagOf(file)}.hubserve`);
    },
    readRef: async (revision) => {
      const commit = (await readTextOf(refPath(revision)))?.trim();
      return commit !== undefined && isCommit(commit) ? commit : undefined;
    },
    writeRef: (revision, commit) => keep(refPath(revision), commit),
    readListing: async (commit) => {
      const text = await readTextOf(treePath(commit));
      return text === undefined ? undefined : parseTree(text);
    },
    writeListing: (commit, files) => keep(treePath(commit), formatTree(files)),
    listSnapshot: async (commit) => {
      const root = snapshotPath(commit);
      const names = await readdir(root, { recursive: true }).catch(() => []);
      const paths = names.map((file) => file.replaceAll("\\", "/"));
      const areFiles = await Promise.all(paths.map((path) => isFileOf(join(root, path))));
      return paths.filter((_, index) => areFiles[index]).toSorted();
    },
    findMissing: async (commit, files) => {
      const root = snapshotPath(commit);
      const areHere = await Promise.all(
        files.map(({ path, size }) => isFileOf(join(root, path), size)),
      );
      return files.filter((_, index) => areHere[index] !== true);
    },
    holdsBlob: (file) => isFileOf(blobPath(file), file.size),
    link: async (commit, files, isNew) => {
      for (const [index, file] of files.entries()) {
        const target = join(snapshotPath(commit), file.path);
        await linkOne(target, blobPath(file), isNew && index === files.length - 1);
      }
    },
  };
}

async function readTextOf(path: string): Promise<string | undefined> {
  return await readFile(path, "utf8").catch(() => undefined);
}

async function isFileOf(path: string, size?: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true && (size === undefined || found.size === size);
}
