/**
 * `hubserve archive`: makes a model archive, with the flags of torch-model-archiver 0.12.
 *
 * Two things differ: the runtime is `node` unless told otherwise, and without `--handler` the default handler serves.
 */
import { statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Surroundings } from "./config.ts";
import { messageOf } from "./errors.ts";
import { nearestWord } from "./nearest-word.ts";
import { printResult } from "./observe/log.ts";
import { BUILT_IN_HANDLERS } from "./repository/archive-aliases.ts";
import { collectFiles, refusal } from "./repository/archive-files.ts";
import { RUNTIMES, type ArchiveRuntime } from "./repository/archive-manifest.ts";
import { ARCHIVE_FORMATS, writeArchive } from "./repository/archive-write.ts";
import { VERSION } from "./version.ts";

const FLAGS = {
  "model-name": { type: "string" },
  version: { type: "string", short: "v" },
  "serialized-file": { type: "string" },
  "model-file": { type: "string" },
  handler: { type: "string" },
  "extra-files": { type: "string", multiple: true },
  runtime: { type: "string", default: "node" },
  "export-path": { type: "string", default: "." },
  "archive-format": { type: "string", default: "default" },
  "requirements-file": { type: "string", short: "r" },
  "config-file": { type: "string", short: "c" },
  force: { type: "boolean", short: "f", default: false },
  json: { type: "boolean", default: false },
} as const;

/** torch-model-archiver's own rule: the name becomes a part of paths and of URLs. */
const MODEL_NAME = /^[A-Za-z0-9][A-Za-z0-9_\-.]*$/;

/** @returns The exit code. */
export async function runArchive({ args, cwd }: Surroundings): Promise<number> {
  const flags = readFlags(args);
  const modelName = wanted(flags, "model-name");
  const modelVersion = wanted(flags, "version");
  if (!MODEL_NAME.test(modelName)) {
    throw refusal(
      `--model-name: found "${modelName}", wanted letters, digits, "_", "-" and ".", the first a letter or a digit`,
    );
  }
  const runtime = choice("runtime", flags.runtime, RUNTIMES);
  const format = choice("archive-format", flags["archive-format"], ARCHIVE_FORMATS);
  const exportPath = resolve(cwd, flags["export-path"]);
  if (!statSync(exportPath, { throwIfNoEntry: false })?.isDirectory())
    throw refusal(`--export-path: there is no folder ${flags["export-path"]}`);

  const handler = findHandler(cwd, flags.handler, runtime);
  const single = {
    serializedFile: flags["serialized-file"],
    modelFile: flags["model-file"],
    requirementsFile: flags["requirements-file"],
    configFile: flags["config-file"],
  };
  const paths = [...Object.values(single), handler.path].filter((path) => path !== undefined);
  const names = Object.entries(single).flatMap(([key, path]) =>
    path === undefined ? [] : [[key, basename(path)] as const],
  );
  const target = await writeArchive({
    manifest: {
      runtime,
      modelName,
      modelVersion,
      handler: handler.name,
      ...Object.fromEntries(names),
    },
    files: collectFiles(cwd, paths, flags["extra-files"]?.join(",")),
    exportPath,
    format,
    force: flags.force,
    archiverVersion: VERSION,
    now: new Date(),
  });
  printResult(flags.json ? JSON.stringify({ archive: target, modelName, modelVersion }) : target);
  return 0;
}

function readFlags(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: FLAGS, strict: true }).values;
  } catch (error) {
    const flag = /'-*([\w-]+)/.exec(messageOf(error))?.[1] ?? "";
    const near = Object.hasOwn(FLAGS, flag) ? undefined : nearestWord(flag, Object.keys(FLAGS));
    const advice = near === undefined ? "" : `; did you mean "--${near}"`;
    throw refusal(`${messageOf(error).split(". ")[0] ?? ""}${advice}`);
  }
}

function wanted(flags: ReturnType<typeof readFlags>, name: "model-name" | "version"): string {
  const value = flags[name]?.trim();
  if (value === undefined || value === "") throw refusal(`wanted --${name}`);
  return value;
}

function choice<const C extends string>(flag: string, value: string, choices: readonly C[]): C {
  const found = choices.find((each) => each === value);
  if (found !== undefined) return found;
  throw refusal(`--${flag}: found "${value}", wanted one of ${choices.join(", ")}`);
}

/** What the manifest names, and the file that goes into the archive; a built-in handler has none. */
function findHandler(
  cwd: string,
  handler: string | undefined,
  runtime: ArchiveRuntime,
): { readonly name: string; readonly path?: string } {
  if (handler === undefined || BUILT_IN_HANDLERS.has(handler))
    return { name: handler ?? "base_handler" };
  const [file = ""] = handler.split(":"); // module:function
  const extensions = runtime === "node" ? ["", ".ts", ".js", ".mjs"] : ["", ".py"];
  const path = extensions
    .map((extension) => `${file}${extension}`)
    .find((each) => statSync(resolve(cwd, each), { throwIfNoEntry: false })?.isFile());
  if (path === undefined) throw refusal(`--handler: there is no file ${file}`);
  if (runtime === "node" && !/\.(?:ts|js|mjs)$/.test(path)) {
    const advice = path.endsWith(".py") ? "; --runtime python archives it for TorchServe" : "";
    throw refusal(`--handler: found ${file}, wanted a .ts, .js or .mjs file${advice}`);
  }
  return { name: basename(handler), path };
}
