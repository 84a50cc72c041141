/**
 * Archives: opened, or refused with nothing left behind.
 */
import { readdirSync, existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";

import { isRuntimeError } from "../../runtime/errors.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { identifyArchive, openArchive } from "../../runtime/repository/archive.ts";
import { rawTar, rawTgz, rawZip, type RawEntry } from "../support/raw-archives.ts";
import { mutateBytes } from "./bytes.ts";
import { openReader } from "./readers.ts";
import { spread, type Step } from "./recipe.ts";
import { Defect, type Session, type Target } from "./target.ts";

const MANIFEST = JSON.stringify({
  runtime: "node",
  model: { modelName: "echo", modelVersion: "1.0", handler: "handler.ts" },
});

const ENTRIES: readonly RawEntry[] = [
  { name: "MAR-INF/MANIFEST.json", content: MANIFEST, isDeflated: true },
  { name: "handler.ts", content: "export class EndpointHandler {}", isDeflated: true },
  { name: "model-config.yaml", content: "batchSize: 2\n" },
  { name: "onnx/model.onnx", content: Buffer.alloc(500, 7), isDeflated: true },
  { name: "config.json", content: "{}" },
];

const inFolder = ENTRIES.map((entry) => ({ ...entry, name: `echo/${String(entry.name)}` }));

const WORDS: readonly (string | Uint8Array)[] = [
  "PK\u0003\u0004",
  "PK\u0001\u0002",
  "PK\u0005\u0006",
  "PK\u0006\u0006",
  "PK\u0006\u0007",
  "../",
  "/",
  "\\",
  "..\\",
  "C:",
  "\u0000",
  "ustar\u000000",
  "ustar  \u0000",
  "././@LongLink",
  "0000644\u0000",
  "77777777777",
  "MAR-INF/",
  "MANIFEST.json",
  "handler.ts",
  "20 path=../../x\n",
  "1",
  "2",
  "5",
  "L",
  "K",
  "x",
  "g",
  "S",
  "\u0080\u0000\u0000\u0000\u0000\u0000\u0000\u0001",
  Uint8Array.of(0x1f, 0x8b, 8, 0),
];

/** Within what gzip has packed: outside, its checksum would hide most of the reader. */
function mutateArchive(bytes: Uint8Array, step: Step, others: readonly Uint8Array[]): Uint8Array {
  const options = { words: WORDS, others };
  if (bytes[0] !== 0x1f || step[0] % 5 === 0) return mutateBytes(bytes, step, options);
  try {
    const inner = gunzipSync(bytes, { maxOutputLength: 1_000_000 });
    const changed = mutateBytes(inner, [spread(step[0], 1), step[1], step[2]], options);
    return gzipSync(step[1] % 2 === 0 ? mended(changed) : changed, { level: 1 });
  } catch {
    return mutateBytes(bytes, step, options);
  }
}

/** With the checksum of every header right again: a wrong one ends the reading. */
function mended(tar: Uint8Array): Uint8Array {
  const copy = Buffer.from(tar);
  for (let at = 0; at + 512 <= copy.length; at += 512) {
    if (copy.toString("latin1", at + 257, at + 262) !== "ustar") continue;
    copy.write("        ", at + 148);
    const sum = copy.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
    copy.write(`${sum.toString(8).padStart(6, "0")}\0 `, at + 148);
  }
  return copy;
}

export const ARCHIVE_TARGET: Target = { name: "archives", open: openArchives };

async function openArchives(): Promise<Session> {
  const folder = await mkdtemp(join(tmpdir(), "hubserve-fuzz-"));
  const cacheDir = join(folder, "cache");
  const archives = join(cacheDir, "archives");
  const path = join(folder, "a.mar");
  const options = { cacheDir, signal: new AbortController().signal, log: silentLog() };

  return openReader({
    name: "archives",
    seeds: () => [
      rawZip(ENTRIES),
      rawZip([...ENTRIES, { name: "empty/", mode: 0o040_755 }]),
      rawZip(inFolder),
      rawTgz(ENTRIES),
      rawTgz(inFolder),
      gzipSync(rawTar([...ENTRIES, { name: "folder/", type: "5" }])),
    ],
    mutate: mutateArchive,
    async read(bytes) {
      await writeFile(path, bytes);
      const identified = await settled(identifyArchive(path, options));
      const opened = await settled(openArchive(path, options));
      const left = existsSync(archives) ? readdirSync(archives) : [];
      await rm(archives, { recursive: true, force: true });
      const stray = readdirSync(folder).filter((name) => name !== "a.mar" && name !== "cache");
      if (stray.length > 0) throw new Defect("a file outside", stray.join(", "));
      if (left.some((name) => name.startsWith(".")))
        throw new Defect("left behind", left.join(", "));
      if ("error" in opened) {
        // The identification of a tar file opens it: what was opened then stays.
        if (left.length > 0) throw new Defect("left behind of a refused archive", left.join(", "));
        throw opened.error;
      }
      if (left.length !== 1) throw new Defect("nothing opened", `${left.length} folders`);
      if ("error" in identified && !isRuntimeError(identified.error)) throw identified.error;
      return "opened";
    },
    refuses: ["REPOSITORY_INVALID"],
    close: () => rm(folder, { recursive: true, force: true }),
  });
}

async function settled<T>(promise: Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await promise };
  } catch (error) {
    return { error };
  }
}
