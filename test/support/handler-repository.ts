/**
 * Repositories for tests of handlers: the fixtures, and throw-away ones written from a table of files.
 */
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of a fixture below `test/fixtures/handlers`. */
export function handlerFixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/handlers/${name}`, import.meta.url));
}

export interface TemporaryRepository extends AsyncDisposable {
  /** Its folder, absolute and without links. */
  readonly path: string;
  /** Writes a file, relative to the folder. */
  write(name: string, text: string): Promise<void>;
}

/** Writes `files` (name → text) into a fresh folder, which goes when the test's scope ends. */
export async function makeRepository(
  files: Readonly<Record<string, string>>,
): Promise<TemporaryRepository> {
  const path = await realpath(await mkdtemp(join(tmpdir(), "hubserve-test-")));
  async function write(name: string, text: string): Promise<void> {
    await mkdir(dirname(join(path, name)), { recursive: true });
    await writeFile(join(path, name), text);
  }
  for (const [name, text] of Object.entries(files)) await write(name, text);
  return {
    path,
    write,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** The files of a package called `name` below a repository's `node_modules`, as an ES module. */
export function packageFiles(
  name: string,
  source: string,
  folder = "node_modules",
): Record<string, string> {
  const manifest = { name, version: "1.0.0", type: "module", exports: "./index.js" };
  return {
    [`${folder}/${name}/package.json`]: JSON.stringify(manifest),
    [`${folder}/${name}/index.js`]: source,
  };
}
