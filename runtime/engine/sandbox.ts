/**
 * `--sandbox`: workers under Node's permission model.
 *
 * A worker may read the repository, what `requirements.json` installed, and hubserve with its packages; write to a folder of
 * its own that goes with it; and start neither programs nor threads. What this is not: a jail. Native addons
 * (onnxruntime, sharp) are code that Node does not watch, and any that the repository brings is let in with them; the network
 * is open; and the model says itself that it stops mistakes, not malice (nodejs.org/api/permissions.html, "constraints").
 *
 * The compiler of handlers is a program, so it runs outside, before (`sandbox-bundle.ts`).
 */
import { existsSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, sep } from "node:path";
import { fileURLToPath } from "node:url";

import { RuntimeError } from "../errors.ts";
import type { LoadOptions } from "../inference.ts";

export interface Sandbox {
  /** What Node is started with. */
  readonly flags: readonly string[];
  /** The worker's own folder, absolute. */
  readonly scratch: string;
  /** Over the environment that the worker would have had. */
  readonly env: Readonly<Record<string, string>>;
  /** Removes the worker's own folder, which a worker that was killed has left. */
  close(): void;
}

export interface SandboxOptions {
  readonly load: Pick<LoadOptions, "repository" | "dependencies">;
  /** What this Node knows; the flags that `NODE_OPTIONS` may hold. */
  readonly knows?: (flag: string) => boolean;
  /** Whether Node runs this program as it is: JavaScript, or TypeScript without a compiler. */
  readonly runsBare?: boolean;
}

/** @throws RuntimeError `INVALID_OPTION` where this Node, or the way it was started, has no such thing. */
export function openSandbox({
  load: { repository, dependencies },
  knows = (flag) => process.allowedNodeEnvironmentFlags.has(flag),
  runsBare = !import.meta.url.endsWith(".ts") || hasTypeScript(),
}: SandboxOptions): Sandbox {
  const permission = ["--permission", "--experimental-permission"].find(knows);
  if (permission === undefined)
    throw refuse(`this Node (${process.version}) has no permission model, wanted one from 20 on`);
  if (!runsBare)
    throw refuse(
      "it runs from its TypeScript source, whose compiler is a program of its own; `npm run build` makes dist/cli.js, which can",
    );
  const scratch = realpathSync(mkdtempSync(join(tmpdir(), "hubserve-worker-")));
  const close = (): void => rmSync(scratch, { recursive: true, force: true });
  try {
    const readable = [
      scratch,
      ...foldersOf(repository),
      ...foldersOf(dependencies),
      ...ownFolders(),
    ];
    return {
      flags: [
        permission,
        "--allow-addons",
        // Where Node can close the network, it would also be closed for what handlers and --allow-url-inputs ask for.
        ...["--allow-net"].filter(knows),
        ...outermost(readable).map((path) => `--allow-fs-read=${checked(path)}`),
        `--allow-fs-write=${checked(scratch)}`,
        // Both are told here and in SECURITY.md, not by each worker in each log.
        "--disable-warning=ExperimentalWarning",
        "--disable-warning=SecurityWarning",
      ],
      scratch,
      env: { TMPDIR: scratch, TEMP: scratch, TMP: scratch },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** A folder as named and without links; and of the Hub's cache the whole entry, as a snapshot is made of links to its blobs. */
function foldersOf(path: string | undefined): string[] {
  if (path === undefined || !existsSync(path)) return [];
  const entry = dirname(dirname(path));
  const isSnapshot = dirname(path).endsWith(`${sep}snapshots`) && existsSync(join(entry, "blobs"));
  const folder = isSnapshot ? entry : path;
  return [folder, realpathSync(folder)];
}

/** This program, and the packages that it can import: in the `node_modules` of its own folder and of those around it. */
function ownFolders(): string[] {
  const here = fileURLToPath(new URL("../", import.meta.url));
  const folders = [here.replace(/[\\/]$/, "")];
  for (let folder = dirname(here); ; folder = dirname(folder)) {
    const packages = join(folder, "node_modules");
    if (existsSync(packages)) folders.push(packages, realpathSync(packages));
    for (const file of ["package.json"]) {
      const path = join(folder, file);
      if (existsSync(path)) folders.push(path); // tells whether a .js file is a module
    }
    if (dirname(folder) === folder) return folders;
  }
}

/** Without those that lie in another one: Node 20 ends itself where one is named twice. */
function outermost(paths: readonly string[]): string[] {
  const all = [...new Set(paths)];
  return all.filter((path) => !all.some((other) => other !== path && path.startsWith(other + sep)));
}

/** Node 20 takes a comma for the end of a path, and a star for all that begins so. */
function checked(path: string): string {
  if (!/[,*]/.test(path)) return path;
  throw refuse(`the path "${path}" has a comma or a star, which Node reads as something else`);
}

function hasTypeScript(): boolean {
  const { features } = process as { features: { readonly typescript?: unknown } }; // younger than the types
  return features.typescript === "strip" || features.typescript === "transform";
}

function refuse(problem: string): RuntimeError {
  return new RuntimeError("INVALID_OPTION", `Cannot use --sandbox: ${problem}`);
}
