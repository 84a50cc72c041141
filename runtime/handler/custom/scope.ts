/**
 * What a compiled handler finds where a module of its own would: `require`, `import.meta`, and packages whose names
 * are computed at run time.
 *
 * The bundle runs from a temporary folder, so Node's own answers would start there. These start at the handler's
 * source file and then, as `resolve.ts` does for the names it can read, go on to the folders in `fallbacks`.
 * The bundle imports this file by URL; keep it free of anything that costs time to load.
 */
import * as nodeModule from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** The packages of which a handler shares the runtime's own copy, so that there is one `env` and one native library. */
export const SHARED_PACKAGES: readonly string[] = [
  "@huggingface/transformers",
  "onnxruntime-common",
  "onnxruntime-node",
];

/** The runtime's own folder, whose `node_modules` (or one above) holds the runtime's packages. */
export const RUNTIME_FOLDER = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** What `import … from "hubserve"` means inside a handler: `index.ts` in development, `index.js` once published. */
export const RUNTIME_INDEX = join(
  RUNTIME_FOLDER,
  `index${import.meta.url.slice(import.meta.url.lastIndexOf("."))}`,
);

export interface ScopeOptions {
  /** The handler's source file, absolute. */
  readonly handler: string;
  /** Folders whose `node_modules`, or ones above, are asked for a package that the handler's own folders lack. */
  readonly fallbacks: readonly string[];
}

export interface HandlerScope {
  readonly require: NodeJS.Require;
  /** The `import.meta` of one source file. */
  meta(file: string): ImportMeta;
}

export function createScope({ handler, fallbacks }: ScopeOptions): HandlerScope {
  const own = nodeModule.createRequire(handler);
  const others = fallbacks.map((folder) => nodeModule.createRequire(join(folder, "package.json")));
  const runtime = nodeModule.createRequire(RUNTIME_INDEX);

  function resolve(id: string, options?: { paths?: string[] | undefined }): string {
    if (id === "hubserve") return RUNTIME_INDEX;
    if (isShared(id)) return runtime.resolve(id);
    try {
      return own.resolve(id, options);
    } catch (error) {
      if (!isBare(id) || codeOf(error) !== "MODULE_NOT_FOUND") throw error;
      for (const other of others) {
        try {
          return other.resolve(id);
        } catch {
          // The first failure says it best.
        }
      }
      // Node's own frames would push the handler's line off the stack.
      if (error instanceof Error) Error.captureStackTrace(error, resolve);
      throw error;
    }
  }

  const require = Object.assign((id: string): unknown => own(resolve(id)), {
    resolve: Object.assign(resolve, { paths: (id: string) => own.resolve.paths(id) }),
    cache: own.cache,
    extensions: own.extensions,
    main: undefined, // `require.main === module` must be false: the handler is never the program
  });

  return {
    require,
    meta(file) {
      const url = pathToFileURL(file).href;
      return {
        url,
        filename: file,
        dirname: dirname(file),
        // With the conditions of `require`, where a package tells them apart: Node has no synchronous other way.
        resolve: (id: string) => {
          if (/^\.{0,2}\//.test(id)) return new URL(id, url).href;
          if (URL.canParse(id)) return id;
          const path = resolve(id);
          return nodeModule.isBuiltin(path) ? `node:${path}` : pathToFileURL(path).href;
        },
      };
    },
  };
}

export function isShared(id: string): boolean {
  return SHARED_PACKAGES.some((name) => id === name || id.startsWith(`${name}/`));
}

/** Whether `id` names a package: not a relative or absolute path, and not a `#subpath` of the repository. */
function isBare(id: string): boolean {
  return !/^(?:[./#\\]|[A-Za-z]:[\\/])/.test(id);
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
