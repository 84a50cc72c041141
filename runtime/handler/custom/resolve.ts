/**
 * Where each import of a custom handler leads, as a plugin for esbuild.
 *
 * The repository's own files go into the bundle. Packages stay outside and are named by absolute URL (`import`) or
 * path (`require`), so that the bundle runs from any folder. A package is looked for, in this order,
 *
 * 1. in the runtime, for the libraries that must exist once: see `SHARED_PACKAGES`, and `hubserve` itself;
 * 2. in the `node_modules` of the repository and of the folders above it;
 * 3. among what `requirements.json` asked for;
 * 4. among the runtime's own packages.
 *
 * The search itself is esbuild's, so `exports`, `imports` and tsconfig `paths` mean what they mean elsewhere.
 */
import { existsSync, realpathSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, isAbsolute, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import type { OnResolveArgs, OnResolveResult, Plugin, PluginBuild } from "esbuild";
import { isShared, RUNTIME_FOLDER, RUNTIME_INDEX } from "./scope.ts";

export interface ResolveOptions {
  /** The repository's folder, absolute. */
  readonly repository: string;
  /** Folders to ask for packages that the repository lacks. */
  readonly fallbacks: readonly string[];
}

/** Marks a question of this plugin to esbuild, which would otherwise come back to this plugin. */
const OURS = Symbol("asked by the hubserve resolver");

/** `require` of a library that exists once as an ES module: see `loadShared`. */
export const SHARED_NAMESPACE = "hubserve-shared";

export function packageResolver({ repository, fallbacks }: ResolveOptions): Plugin {
  return {
    name: "hubserve-packages",
    setup(build) {
      build.onResolve({ filter: /.*/ }, (args) => {
        if (args.pluginData === OURS || args.kind === "entry-point") return undefined;
        if (args.namespace === SHARED_NAMESPACE) return { path: args.path, external: true };
        if (isBuiltin(args.path)) return { path: args.path, external: true };
        // Native code and WebAssembly are loaded by Node from where they lie.
        if (/\.(?:node|wasm)$/.test(args.path)) return resolveBinary(build, args);
        if (/^\.{0,2}\/|^\.{1,2}$/.test(args.path) || isAbsolute(args.path)) return undefined;
        if (/^(?:https?|data|file):/.test(args.path)) return { path: args.path, external: true };
        return args.path === "hubserve" || isShared(args.path)
          ? resolveShared(build, args)
          : resolvePackage(build, args, repository, fallbacks);
      });
      build.onLoad({ filter: /.*/, namespace: SHARED_NAMESPACE }, ({ path }) => ({
        // An import instead of a require: the same instance as everyone else's, also where a loader such as tsx
        // would compile a required ES module anew.
        contents: `export * from ${JSON.stringify(path)};`,
        loader: "js",
        resolveDir: RUNTIME_FOLDER,
      }));
    },
  };
}

async function resolvePackage(
  build: PluginBuild,
  args: OnResolveArgs,
  repository: string,
  fallbacks: readonly string[],
): Promise<OnResolveResult | undefined> {
  const roots = [args.resolveDir, ...fallbacks];
  for (const resolveDir of roots) {
    const found = await ask(build, args, resolveDir);
    if (found.errors.length > 0) continue;
    if (found.external) return { path: found.path, external: true };
    if (isOwnFile(found.path, repository)) return { path: found.path };
    return toExternal(found.path, args.kind);
  }
  // As in Node: only the line that asks for it fails, when it runs, so a `try` around it works.
  if (args.kind !== "import-statement") return { path: args.path, external: true };
  return { errors: [{ text: explainMiss(args.path, roots) }] };
}

async function resolveShared(
  build: PluginBuild,
  args: OnResolveArgs,
): Promise<OnResolveResult | undefined> {
  const isRequired = args.kind === "require-call";
  if (args.path === "hubserve") {
    const path = pathToFileURL(RUNTIME_INDEX).href;
    if (args.kind === "require-resolve") return { path: RUNTIME_INDEX, external: true };
    return isRequired ? { path, namespace: SHARED_NAMESPACE } : { path, external: true };
  }
  let resolveDir = RUNTIME_FOLDER;
  let kind = isRequired ? "import-statement" : args.kind;
  if (args.path.startsWith("onnxruntime-common")) {
    // onnxruntime-node brings the copy in use, and requires it: an import would make a second one.
    const node = await ask(build, { ...args, path: "onnxruntime-node" }, RUNTIME_FOLDER);
    if (node.errors.length === 0) resolveDir = dirname(realpathSync(node.path));
    kind = "require-call";
  }
  const found = await ask(build, { ...args, kind }, resolveDir);
  if (found.errors.length > 0) return { errors: found.errors };
  if (isRequired && found.path.endsWith(".mjs")) {
    const path = pathToFileURL(realpathSync(found.path)).href;
    return { path, namespace: SHARED_NAMESPACE };
  }
  return toExternal(found.path, args.kind);
}

async function resolveBinary(build: PluginBuild, args: OnResolveArgs): Promise<OnResolveResult> {
  const found = await ask(build, args, args.resolveDir);
  if (found.errors.length > 0) return { path: args.path, external: true };
  return toExternal(found.path, args.kind);
}

function ask(
  build: PluginBuild,
  { path, kind, importer, with: attributes }: OnResolveArgs,
  resolveDir: string,
) {
  return build.resolve(path, { kind, importer, resolveDir, with: attributes, pluginData: OURS });
}

function toExternal(path: string, kind: OnResolveArgs["kind"]): OnResolveResult {
  // Node refuses to import JSON without an attribute, and most people write none: take it into the bundle.
  const isImport = kind === "import-statement" || kind === "dynamic-import";
  if (isImport && path.endsWith(".json")) return { path };
  // The real path, because Node tells copies of a module apart by it.
  const real = realpathSync(path);
  return { path: isImport ? pathToFileURL(real).href : real, external: true };
}

/** Whether a resolved name is a file of the repository (through `#imports` or tsconfig `paths`), not of a package. */
function isOwnFile(path: string, repository: string): boolean {
  const inside = relative(repository, path);
  const isInside = !isAbsolute(inside) && !inside.startsWith("..");
  return !/(?:^|[\\/])node_modules[\\/]/.test(isInside ? inside : path);
}

function explainMiss(path: string, roots: readonly string[]): string {
  if (path.startsWith("#")) return `package.json has no import "${path}"`;
  const parts = path.split("/");
  const name = parts.slice(0, path.startsWith("@") ? 2 : 1).join("/");
  return roots.some((root) => hasPackage(name, root))
    ? `the package "${name}" has nothing to import as "${path}"`
    : `the package "${name}" is not installed; add it to requirements.json`;
}

function hasPackage(name: string, folder: string): boolean {
  if (existsSync(join(folder, "node_modules", name))) return true;
  const above = dirname(folder);
  return above !== folder && hasPackage(name, above);
}
