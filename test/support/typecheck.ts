/**
 * The compiler over a few files, as a strict project of its own.
 */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { variantOf } from "./goldens.ts";

const OPTIONS = {
  strict: true,
  noEmit: true,
  target: "es2023",
  lib: ["es2023"],
  module: "nodenext",
  types: [],
  allowImportingTsExtensions: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
};

/** @param files Their names and texts. @returns What the compiler has to say; nothing where all is well. */
export async function checkTypes(files: Readonly<Record<string, string>>): Promise<string> {
  await using project = await variantOf(undefined, {
    ...files,
    "package.json": { type: "module" },
    "tsconfig.json": { compilerOptions: OPTIONS, include: ["**/*"] },
  });
  const { resolve } = createRequire(import.meta.url);
  const compiler = join(dirname(resolve("typescript/package.json")), "bin", "tsc");
  // The project is there until the compiler has ended.
  return await new Promise((settle) => {
    execFile(
      process.execPath,
      [compiler, "-p", project.path, "--pretty", "false"],
      (_, stdout, stderr) => settle(`${stdout}${stderr}`.trim()),
    );
  });
}
