/**
 * What a reference holds, looked at without fetching it: names and sizes, and the text of small files.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { modelInfo } from "@huggingface/hub";
import { RuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { HubSubject } from "./hub-errors.ts";
import { createHubFetch } from "./hub-fetch.ts";
import { fetchListing } from "./hub-listing.ts";
import { assertReference } from "./hub-reference.ts";
import { selectListed } from "./hub-select.ts";
import { chooseReference, nameOf, type RepositorySettings } from "./resolve.ts";

export interface InspectedFile {
  /** Relative to the repository, with `/`. */
  readonly path: string;
  /** In bytes. */
  readonly size: number;
}

export interface Inspection {
  readonly name: string;
  /** The folder, absolute; `undefined` where it is on the Hub. */
  readonly folder: string | undefined;
  readonly commit: string | undefined;
  readonly files: readonly InspectedFile[];
  /** What would be downloaded, in bytes; 0 for a folder. */
  readonly downloadBytes: number;
  /** What the Hub says the model is for. */
  readonly hubTask: string | undefined;
  /** The text of a small file; `undefined` where there is none. */
  readonly readText: (path: string) => Promise<string | undefined>;
}

/** No configuration and no card is larger. */
const MAX_TEXT_BYTES = 4 * 1024 * 1024;
/** More folders down lies nothing that is served. */
const MAX_DEPTH = 4;
const MAX_FILES = 10_000;

/** @throws RuntimeError as `chooseReference`, or as a download would; `NOT_SUPPORTED` for an archive. */
export async function inspectRepository(
  settings: RepositorySettings,
  log: Log,
  signal: AbortSignal,
): Promise<Inspection> {
  const reference = chooseReference(settings);
  if (reference.kind === "archive") {
    throw new RuntimeError(
      "NOT_SUPPORTED",
      `Cannot look into the archive ${reference.path}: unpack it, or try it with \`hubserve call\``,
    );
  }
  if (reference.kind === "folder") {
    const { path } = reference;
    return {
      name: nameOf(reference),
      folder: path,
      commit: undefined,
      files: await listFolder(path),
      downloadBytes: 0,
      hubTask: undefined,
      readText: (file) => readFile(join(path, file), "utf8").catch(() => undefined),
    };
  }

  assertReference(reference);
  const { endpoint, token, hubCache } = settings;
  const subject: HubSubject = {
    ...reference,
    endpoint,
    cacheDir: hubCache,
    hasToken: token !== undefined,
  };
  const fetch = createHubFetch({
    subject,
    token,
    signal,
    log,
    sleep: (ms, stop) => delay(ms, undefined, { signal: stop }),
  });
  const { name, revision } = reference;
  const { sha, task } = await modelInfo({
    name,
    revision,
    hubUrl: endpoint,
    additionalFields: ["sha"],
    fetch,
  });
  const listing = await fetchListing(subject, sha, fetch);
  const wanted = selectListed(listing, settings);
  return {
    name,
    folder: undefined,
    commit: sha,
    files: listing.map(({ path, size }) => ({ path, size })),
    downloadBytes: wanted.reduce((sum, { size }) => sum + size, 0),
    hubTask: task,
    async readText(path) {
      const file = listing.find((each) => each.path === path);
      if (file === undefined || file.size > MAX_TEXT_BYTES) return undefined;
      const place = path.split("/").map(encodeURIComponent).join("/");
      return await (await fetch(`${endpoint}/${name}/resolve/${sha}/${place}`)).text();
    },
  };
}

async function listFolder(root: string): Promise<readonly InspectedFile[]> {
  const files: InspectedFile[] = [];
  const folders = [""];
  for (const folder of folders) {
    for (const name of await readdir(join(root, folder)).catch(() => [])) {
      if (name.startsWith(".") || name === "node_modules") continue;
      const path = `${folder}${name}`;
      const found = await stat(join(root, path)).catch(() => undefined); // a link that leads nowhere
      if (found?.isDirectory() === true && folder.split("/").length <= MAX_DEPTH)
        folders.push(`${path}/`);
      else if (found?.isFile() === true) files.push({ path, size: found.size });
      if (files.length >= MAX_FILES) return files;
    }
  }
  return files;
}
