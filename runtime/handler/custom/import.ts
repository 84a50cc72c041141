/**
 * `import()` inside a compiled handler, also of names that are computed at run time.
 *
 * esbuild leaves `import(name)` alone, and Node would look below the bundle's temporary folder. A hook sends it where
 * `resolve.ts` sends the names it can read. The same hook hands the bundle to Node as it is: tsx, in
 * development, would rewrite modules that hold an `import()` and lose their source map. A bundle without gets no hook.
 */
import { readFileSync } from "node:fs";
import * as nodeModule from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { systemCodeOf } from "../../errors.ts";
import { RUNTIME_INDEX, SHARED_PACKAGES, type ScopeOptions } from "./scope.ts";

/** Whether compiled code may hold an `import()`; a text that looks like one counts too. */
export function hasDynamicImport(code: string): boolean {
  return /\bimport\s*\(/.test(code);
}

/**
 * Makes `import()` work in the module at `bundleUrl`. Relative names that are computed start at the handler's file.
 *
 * To be called before the module is imported.
 */
export function hookDynamicImports(bundleUrl: string, { handler, fallbacks }: ScopeOptions): void {
  const parents = [handler, ...fallbacks.map((folder) => join(folder, "package.json"))];
  const plan: ImportPlan = {
    bundleUrl,
    parents: parents.map((path) => pathToFileURL(path).href),
    shared: SHARED_PACKAGES,
    runtime: pathToFileURL(RUNTIME_INDEX).href,
  };
  const { registerHooks } = nodeModule as typeof nodeModule & { registerHooks?: RegisterHooks };
  if (registerHooks !== undefined) {
    registerHooks(createHooks(plan));
    return;
  }
  // Node before 22.15 runs hooks in a thread of their own, which loads them from a URL.
  const source = `const plan = ${JSON.stringify(plan)};\n${THREAD_HOOKS}`;
  try {
    nodeModule.register(`data:text/javascript,${encodeURIComponent(source)}`);
  } catch (error) {
    // A sandbox has no threads: there, an `import()` of a computed name finds nothing before Node 22.15.
    if (systemCodeOf(error) !== "ERR_ACCESS_DENIED") throw error;
  }
}

interface ImportPlan {
  readonly bundleUrl: string;
  /** From where a name is looked up, in this order. */
  readonly parents: readonly string[];
  /** Packages that are looked up from the runtime alone. */
  readonly shared: readonly string[];
  /** The module that `hubserve` means. */
  readonly runtime: string;
}

interface ResolveContext {
  readonly parentURL?: string | undefined;
}
type Resolved = { readonly url: string };
type Loaded = {
  readonly format: string;
  readonly source?: unknown;
  readonly shortCircuit?: boolean;
};

/** The hooks of `module.registerHooks`, as far as they are used; the types in use are those of the oldest Node. */
interface SyncHooks {
  resolve(
    name: string,
    context: ResolveContext,
    next: (name: string, context: ResolveContext) => Resolved,
  ): Resolved;
  load(url: string, context: object, next: (url: string, context: object) => Loaded): Loaded;
}
type RegisterHooks = (hooks: SyncHooks) => void;

function createHooks(plan: ImportPlan): SyncHooks {
  return {
    resolve(name, context, next) {
      if (context.parentURL !== plan.bundleUrl) return next(name, context);
      if (name === "hubserve") return next(plan.runtime, context);
      let first: unknown;
      for (const parentURL of plan.shared.includes(name) ? [plan.runtime] : plan.parents) {
        try {
          return next(name, { ...context, parentURL });
        } catch (error) {
          first ??= error;
        }
      }
      throw first;
    },
    load(url, context, next) {
      if (url !== plan.bundleUrl) return next(url, context);
      return { format: "module", shortCircuit: true, source: readFileSync(fileURLToPath(url)) };
    },
  };
}

/** `createHooks` for the hooks' thread, where everything is awaited: keep the two alike. */
const THREAD_HOOKS = `
import { readFile } from "node:fs/promises";
export async function resolve(name, context, next) {
  if (context.parentURL !== plan.bundleUrl) return next(name, context);
  if (name === "hubserve") return next(plan.runtime, context);
  let first;
  for (const parentURL of plan.shared.includes(name) ? [plan.runtime] : plan.parents) {
    try {
      return await next(name, { ...context, parentURL });
    } catch (error) {
      first ??= error;
    }
  }
  throw first;
}
export async function load(url, context, next) {
  if (url !== plan.bundleUrl) return next(url, context);
  return { format: "module", shortCircuit: true, source: await readFile(new URL(url)) };
}
`;
