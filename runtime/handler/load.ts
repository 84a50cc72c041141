/**
 * Loads what answers a repository's requests: its own handler if it has one, the default handler otherwise.
 *
 * Both are imported only when it is their turn, so neither pays for the other.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { RuntimeError, systemCodeOf } from "../errors.ts";
import type { ModelDescription } from "../inference.ts";
import type { Log } from "../observe/log.ts";
import { findModelFolder } from "../weights.ts";
import type { LoadedHandler, LoadOptions } from "./contract.ts";

/** The names of a custom handler, first come first served. */
export const HANDLER_FILES = ["handler.ts", "handler.js", "handler.mjs"] as const;

/** Hugging Face's names for a handler in Python; the second is the older. */
const PYTHON_HANDLER_FILES = ["handler.py", "pipeline.py"] as const;

type Note = ModelDescription["notes"][number];

/**
 * Loads the handler and waits until it is ready to answer.
 *
 * Each call compiles a custom handler afresh, so that a changed file is seen.
 *
 * @throws {RuntimeError} `HANDLER_INVALID` when the repository's own handler cannot be loaded;
 * `REPOSITORY_NOT_FOUND` when there is no such folder; what the default handler throws.
 */
export async function loadHandler(options: LoadOptions, log: Log): Promise<LoadedHandler> {
  const { repository } = options;
  const names = await listRoot(repository);
  const { handlerFile } = options;
  const [file, ...others] = handlerFilesAmong(names, handlerFile);
  const python = PYTHON_HANDLER_FILES.find((name) => names.includes(name));

  if (file === undefined) {
    const notes = python === undefined ? [] : [ignoredPython(python)];
    const startedAtMs = performance.now();
    const { loadDefaultHandler } = await import("./default.ts");
    const importedAtMs = performance.now();
    try {
      const loaded = await loadDefaultHandler(options, log);
      const loadParts = {
        modules: importedAtMs - startedAtMs,
        model: performance.now() - importedAtMs,
      };
      return withNotes({ ...loaded, loadParts }, notes);
    } catch (error) {
      // The notes are lost with the handler, and this one may be the reason.
      for (const { text } of notes) log.warn(text);
      throw error;
    }
  }

  const modelFolder = findModelFolder(await listModelFiles(repository, names));
  const modelPath = modelFolder === "" ? repository : join(repository, modelFolder);
  const startedAtMs = performance.now();
  const { loadCustomHandler } = await import("./custom/handler.ts");
  const importedAtMs = performance.now();
  const loaded = await loadCustomHandler({ ...options, file, modelPath }, log);
  const loadParts = {
    modules: importedAtMs - startedAtMs,
    handler: performance.now() - importedAtMs,
  };
  return withNotes(
    { ...loaded, loadParts },
    others.length === 0 ? [] : [ignoredOthers(file, others)],
  );
}

/** The repository's own handler, relative to it; `undefined` where it has none. */
export async function findHandlerFile({
  repository,
  handlerFile,
}: Pick<LoadOptions, "repository" | "handlerFile">): Promise<string | undefined> {
  return handlerFilesAmong(await listRoot(repository), handlerFile)[0];
}

/** The one that is used, and those that are not. */
function handlerFilesAmong(names: readonly string[], named: string | undefined): readonly string[] {
  return named === undefined ? HANDLER_FILES.filter((name) => names.includes(name)) : [named];
}

function ignoredPython(file: string): Note {
  const text =
    `Found ${file}, which is Python and is not run: the default handler serves the model's task if it can; ` +
    `a handler.ts beside it would answer in its place`;
  return { level: "warn", text };
}

function ignoredOthers(file: string, others: readonly string[]): Note {
  return { level: "warn", text: `Found ${[file, ...others].join(" and ")}: ${file} is used` };
}

function withNotes(loaded: LoadedHandler, notes: readonly Note[]): LoadedHandler {
  if (notes.length === 0) return loaded;
  const { description } = loaded;
  return {
    ...loaded,
    description: { ...description, notes: [...description.notes, ...notes] },
    call: (request, context) => loaded.call(request, context),
    dispose: () => loaded.dispose(),
  };
}

async function listRoot(repository: string): Promise<readonly string[]> {
  try {
    return await readdir(repository);
  } catch (error) {
    const code = systemCodeOf(error);
    const text = `Cannot load the handler: the folder ${repository} cannot be read (${code ?? "unknown reason"})`;
    throw new RuntimeError("REPOSITORY_NOT_FOUND", text, { cause: error });
  }
}

/** The names in the only folders where `findModelFolder` looks for weights. */
async function listModelFiles(
  repository: string,
  root: readonly string[],
): Promise<readonly string[]> {
  const files = [...root];
  for (const folder of ["onnx", "model", "model/onnx"]) {
    if (!root.includes(folder.split("/")[0] ?? "")) continue;
    const names = await readdir(join(repository, folder)).catch(() => []);
    for (const name of names) files.push(`${folder}/${name}`);
  }
  return files;
}
