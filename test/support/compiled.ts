/**
 * The program as it is published: JavaScript, compiled once into a folder of the test's.
 */
import { execFile } from "node:child_process";
import { copyFile, mkdtemp, realpath, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

import { ROOT } from "./hubserve.ts";

export interface CompiledProgram extends AsyncDisposable {
  /** `dist/cli.js`, absolute. */
  readonly cli: string;
}

export async function compileProgram(): Promise<CompiledProgram> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "hubserve-compiled-")));
  const compiler = createRequire(import.meta.url).resolve("typescript/package.json");
  await copyFile(join(ROOT, "package.json"), join(folder, "package.json"));
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"), "junction");
  const args = ["-p", "tsconfig.build.json", "--outDir", join(folder, "dist")];
  await promisify(execFile)(
    process.execPath,
    [join(dirname(compiler), "bin/tsc"), ...args, "--declaration", "false", "--sourceMap", "false"],
    { cwd: ROOT },
  ).catch(() => undefined); // whether it compiles without complaints is for another test to say; the files are written
  return {
    cli: join(folder, "dist", "cli.js"),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
