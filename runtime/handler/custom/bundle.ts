/**
 * Compiles a repository's handler and imports it: one way for every version of Node.
 *
 * esbuild joins the repository's own files into one ES module with a source map; packages stay where they are
 * (`resolve.ts`). The module is written to a fresh temporary folder, imported and deleted, so a read-only
 * repository works, and a second call sees the files as they are then. `scope.ts` gives it a `require` and an
 * `import.meta` that speak of the source files, `import.ts` an `import(name)`.
 *
 * What differs from plain Node: packages are evaluated before the first own file, as a bundle's imports come first.
 */
import { rmSync } from "node:fs";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import {
  build as runEsbuild,
  stop as stopEsbuild,
  type BuildOptions,
  type BuildResult,
  type Loader,
  type Plugin,
} from "esbuild";
import { messageOf, RuntimeError, systemCodeOf } from "../../errors.ts";
import { hasDynamicImport, hookDynamicImports } from "./import.ts";
import { formatNotice, toCompileError } from "./failure.ts";
import { packageResolver, SHARED_NAMESPACE } from "./resolve.ts";
import { RUNTIME_FOLDER, type ScopeOptions } from "./scope.ts";

export interface CompileOptions {
  /** The repository's folder, absolute. */
  readonly repository: string;
  /** The handler's file, relative to the repository. */
  readonly file: string;
  /** The folder whose `node_modules` holds what `requirements.json` asked for. */
  readonly dependencies?: string;
}

/** A handler as one ES module in text. */
export interface HandlerBundle {
  /** With an inline source map whose sources are file URLs. */
  readonly code: string;
  /** The files that went into it, absolute. */
  readonly files: readonly string[];
  /** What esbuild found odd in the repository's own files, one sentence each. */
  readonly warnings: readonly string[];
  readonly scope: ScopeOptions;
}

export interface CompiledHandler extends Omit<HandlerBundle, "code" | "scope"> {
  /** What the handler's file exports. */
  readonly module: Readonly<Record<string, unknown>>;
  /** Without the time its own top-level code took. */
  readonly compileMs: number;
}

/**
 * Compiles the handler and runs its top-level code.
 *
 * @throws {RuntimeError} `HANDLER_INVALID` when it does not compile; what the handler's own code throws is thrown as
 * it is.
 */
export async function compileHandler(options: CompileOptions): Promise<CompiledHandler> {
  const startedAtMs = performance.now();
  const { code, files, warnings, scope } = await bundleHandler(options);
  const compileMs = performance.now() - startedAtMs;
  return { module: await importBundle(code, scope), files, warnings, compileMs };
}

/** Runs the top-level code of a handler that was compiled elsewhere. */
export async function importCompiled({
  code,
  scope,
  files,
  warnings,
}: HandlerBundle): Promise<CompiledHandler> {
  return { module: await importBundle(code, scope), files, warnings, compileMs: 0 };
}

export async function bundleHandler(options: CompileOptions): Promise<HandlerBundle> {
  const { repository, file, dependencies } = options;
  const fallbacks = [...(dependencies === undefined ? [] : [dependencies]), RUNTIME_FOLDER];
  const scope: ScopeOptions = { handler: join(repository, file), fallbacks };
  const shifts = new Map<string, number>();
  try {
    const { outputFiles, metafile, warnings } = await buildAlone({
      entryPoints: [scope.handler],
      absWorkingDir: repository,
      outdir: repository, // where paths in the source map start; nothing is written
      write: false,
      bundle: true,
      format: "esm",
      platform: "node",
      target: `node${process.versions.node}`,
      conditions: [], // esbuild would add "module", which Node does not know
      resolveExtensions: [".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".jsx", ".json"],
      // The Hub's cache is made of links: `snapshots/…/handler.ts` points at a blob without an extension.
      preserveSymlinks: true,
      ignoreAnnotations: true, // Node has no `sideEffects: false`
      define: {
        "import.meta": META,
        __dirname: `${META}.dirname`,
        __filename: `${META}.filename`,
      },
      banner: { js: toBanner(scope) },
      sourcemap: "external",
      sourcesContent: false,
      legalComments: "none",
      charset: "utf8",
      metafile: true,
      logLevel: "silent",
      plugins: [packageResolver({ repository, fallbacks }), ownFiles(shifts)],
    });
    const [map = "", code = ""] = [".map", ".js"].map(
      (end) => outputFiles.find(({ path }) => path.endsWith(end))?.text,
    );
    return {
      code: `${code}\n//# sourceMappingURL=data:application/json;base64,${inlineMap(map, repository)}\n`,
      files: listFiles(metafile.inputs, repository),
      warnings: warnings.map((warning) => formatNotice(warning, shifts)),
      scope,
    };
  } catch (error) {
    throw toCompileError(error, shifts);
  }
}

/** The files behind esbuild's names for its inputs, which tell a file from the same file `with { type: "json" }`. */
function listFiles(inputs: Readonly<Record<string, unknown>>, repository: string): string[] {
  const names = Object.keys(inputs).filter((name) => !name.startsWith(SHARED_NAMESPACE));
  return [...new Set(names.map((name) => resolve(repository, name.replace(/ with \{.*\}$/, ""))))];
}

/** The name under which a source file finds its `import.meta`. esbuild numbers it where files meet. */
const META = "__hubserve_meta";

/** Runs before the handler's first line, on a line of its own. */
function toBanner(scope: ScopeOptions): string {
  const helper = new URL(`./scope${extname(import.meta.url)}`, import.meta.url);
  return (
    `import { createScope as __hubserve_createScope } from ${JSON.stringify(helper.href)}; ` +
    `const __hubserve_scope = __hubserve_createScope(${JSON.stringify(scope)}); ` +
    `const require = __hubserve_scope.require;`
  );
}

/**
 * Gives each source file that asks for it an `import.meta` of its own, on its first line so that lines keep their
 * numbers.
 *
 * @param shifts Receives how many bytes the first line of a file grew by.
 */
function ownFiles(shifts: Map<string, number>): Plugin {
  return {
    name: "hubserve-own-files",
    setup(build) {
      build.onLoad({ filter: /\.[cm]?[jt]sx?$/, namespace: "file" }, async ({ path }) => {
        const text = await readFile(path, "utf8");
        if (!/\bimport\s*\.\s*meta\b|\b__(?:dirname|filename)\b/.test(text)) return undefined;
        const prefix = `const ${META} = __hubserve_scope.meta(${JSON.stringify(path)}); `;
        shifts.set(path, Buffer.byteLength(prefix));
        return { contents: prefix + text.replace(/^\uFEFF?#!/, "//"), loader: toLoader(path) };
      });
    },
  };
}

function toLoader(path: string): Loader {
  const kind = extname(path).replace(/^\.[cm]?/, "");
  return kind === "ts" || kind === "tsx" || kind === "jsx" ? kind : "js";
}

// esbuild works in a process of its own, one for all builds of this process and alive until told otherwise; a server
// has no use for it after the load. The count keeps it for as long as another load needs it.
let buildsUnderWay = 0;

async function buildAlone<T extends BuildOptions>(options: T): Promise<BuildResult<T>> {
  buildsUnderWay++;
  try {
    return await runEsbuild<T>(options as never);
  } finally {
    buildsUnderWay--;
    if (buildsUnderWay === 0) await stopEsbuild();
  }
}

/** The source map in base64, its sources as file URLs: they must hold wherever the bundle lies. */
function inlineMap(text: string, repository: string): string {
  const map = JSON.parse(text) as { sources: string[] }; // esbuild's own, of version 3 of the format
  const sources = map.sources.map((source) =>
    source.startsWith(SHARED_NAMESPACE) ? source : pathToFileURL(resolve(repository, source)).href,
  );
  return Buffer.from(JSON.stringify({ ...map, sources })).toString("base64");
}

async function importBundle(
  code: string,
  scope: ScopeOptions,
): Promise<Readonly<Record<string, unknown>>> {
  // Stacks show the handler's own lines from here on. The map is read with the code, so both may go afterwards.
  process.setSourceMapsEnabled(true);
  const folder = await makeFolder();
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove); // a handler may end the process while it is imported
  try {
    const path = join(folder, "handler.mjs");
    await writeFile(path, code);
    const { href } = pathToFileURL(path);
    if (hasDynamicImport(code)) hookDynamicImports(href, scope);
    return (await import(href)) as Record<string, unknown>;
  } finally {
    process.off("exit", remove);
    remove();
  }
}

async function makeFolder(): Promise<string> {
  try {
    return await mkdtemp(join(tmpdir(), "hubserve-"));
  } catch (error) {
    const why = systemCodeOf(error) ?? messageOf(error);
    const text = `Cannot compile the handler: no temporary file can be written (${why}); set TMPDIR to a folder that can be`;
    throw new RuntimeError("INTERNAL", text, { cause: error });
  }
}
