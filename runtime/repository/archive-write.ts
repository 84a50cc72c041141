/**
 * Writes model archives as torch-model-archiver does: `.mar` (zip), `.tar.gz`, or a folder.
 *
 * The same files make the same archive, byte for byte, but for the date in its manifest. It appears under its name when
 * all of it is written, or not at all.
 */
import { randomUUID } from "node:crypto";
import { createWriteStream, existsSync } from "node:fs";
import { copyFile, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { create } from "tar";
import { ZipFile } from "yazl";
import { refusal, type ArchivedFile } from "./archive-files.ts";
import { MANIFEST_FILE, type Manifest } from "./archive-manifest.ts";

export const ARCHIVE_FORMATS = ["default", "zip-store", "tgz", "no-archive"] as const;
export type ArchiveFormat = (typeof ARCHIVE_FORMATS)[number];

const EXTENSIONS: Readonly<Record<ArchiveFormat, string>> = {
  default: ".mar",
  "zip-store": ".mar",
  tgz: ".tar.gz",
  "no-archive": "",
};

/** The first that a zip file can say, in the local time that it is kept in: no archive tells when its files were made. */
const NO_TIME = new Date(1980, 0, 1);

export interface ArchiveToWrite {
  readonly manifest: Manifest;
  readonly files: readonly ArchivedFile[];
  /** Where it goes; a folder that is there. */
  readonly exportPath: string;
  readonly format: ArchiveFormat;
  /** Whether one that is there already is overwritten. */
  readonly force: boolean;
  /** What made it. */
  readonly archiverVersion: string;
  readonly now: Date;
}

/** @returns The path of what was written. @throws RuntimeError `INVALID_OPTION` when it is there already. */
export async function writeArchive(archive: ArchiveToWrite): Promise<string> {
  const { manifest, exportPath, format, force } = archive;
  const target = join(exportPath, `${manifest.modelName}${EXTENSIONS[format]}`);
  if (existsSync(target) && !force)
    throw refusal(`${target} already exists; --force overwrites it`);
  const temporary = join(exportPath, `.archiving-${randomUUID()}`);
  try {
    if (format === "tgz") await writeTar(archive, temporary);
    else if (format === "no-archive") await fill(archive, temporary, copyFile);
    else await writeZip(archive, temporary);
    if (format === "no-archive") await rm(target, { recursive: true, force: true });
    await rename(temporary, target);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
  return target;
}

async function writeZip(archive: ArchiveToWrite, target: string): Promise<void> {
  const zip = new ZipFile();
  const options = {
    mtime: NO_TIME,
    mode: 0o100_644,
    compress: archive.format !== "zip-store",
    forceDosTimestamp: true, // without it the time of the zone stands there as well
  };
  for (const { name, path } of archive.files) zip.addFile(path, name, options);
  zip.addBuffer(Buffer.from(manifestText(archive)), MANIFEST_FILE, options);
  zip.end();
  const failed = new Promise<never>((_resolve, reject) => zip.once("error", reject));
  await Promise.race([pipeline(zip.outputStream, createWriteStream(target)), failed]);
}

/** Everything lies in one folder named for the model. */
async function writeTar(archive: ArchiveToWrite, target: string): Promise<void> {
  const { modelName } = archive.manifest;
  const staging = `${target}-files`;
  try {
    await fill(archive, join(staging, modelName), symlink);
    const names = [...archive.files.map(({ name }) => name), MANIFEST_FILE];
    await create(
      {
        file: target,
        cwd: staging,
        gzip: true,
        portable: true,
        follow: true,
        mtime: NO_TIME,
        onWriteEntry: ({ stat }) => void (stat && (stat.mode = 0o100_644)),
      },
      names.map((name) => `${modelName}/${name}`),
    );
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function fill(
  archive: ArchiveToWrite,
  folder: string,
  put: (from: string, to: string) => Promise<void>,
): Promise<void> {
  for (const { name, path } of archive.files) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await put(path, join(folder, name));
  }
  await mkdir(dirname(join(folder, MANIFEST_FILE)), { recursive: true });
  await writeFile(join(folder, MANIFEST_FILE), manifestText(archive));
}

/** Keys and their order are torch-model-archiver's (`manifest.py`, `model.py` of 0.12). */
function manifestText({ manifest, archiverVersion, now }: ArchiveToWrite): string {
  const { modelName, serializedFile, handler, modelFile, modelVersion } = manifest;
  const { requirementsFile, configFile, runtime } = manifest;
  const model = {
    modelName,
    serializedFile,
    handler,
    modelFile,
    modelVersion,
    requirementsFile,
    configFile,
  };
  return JSON.stringify({ createdOn: toDate(now), runtime, model, archiverVersion }, null, 2);
}

/** `dd/mm/YYYY HH:MM:SS`, local. */
function toDate(now: Date): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const date = `${two(now.getDate())}/${two(now.getMonth() + 1)}/${now.getFullYear()}`;
  return `${date} ${two(now.getHours())}:${two(now.getMinutes())}:${two(now.getSeconds())}`;
}
