/**
 * Which of a repository's own files a handler is made of, without its packages being there: what has to be published.
 *
 * What a handler opens while it runs (`readFile`) cannot be told from its code.
 */
import { relative, resolve, sep } from "node:path";
import { build, stop } from "esbuild";
import { RuntimeError } from "../../errors.ts";
import { toCompileError } from "./failure.ts";

/**
 * The handler's file and what it imports by relative name, relative to the repository.
 *
 * @param file The handler's file, relative to the repository.
 * @throws RuntimeError `HANDLER_INVALID` when it does not compile, or imports what lies outside of the repository.
 */
export async function listOwnFiles(repository: string, file: string): Promise<readonly string[]> {
  try {
    const { metafile } = await build({
      entryPoints: [resolve(repository, file)],
      absWorkingDir: repository,
      outdir: repository, // nothing is written
      write: false,
      bundle: true,
      packages: "external",
      format: "esm",
      platform: "node",
      preserveSymlinks: true,
      metafile: true,
      logLevel: "silent",
    });
    return Object.keys(metafile.inputs).map((input) => {
      const path = resolve(repository, input.replace(/ with \{.*\}$/, ""));
      if (path.startsWith(repository + sep))
        return relative(repository, path).replaceAll("\\", "/");
      throw new RuntimeError(
        "HANDLER_INVALID",
        `Cannot publish the handler: it imports ${path}, which lies outside of the repository`,
      );
    });
  } catch (error) {
    throw toCompileError(error, new Map());
  } finally {
    await stop(); // esbuild works in a process of its own
  }
}
