/**
 * The names under which hubserve looks for an archive's files, where its manifest gave them others.
 *
 * TorchServe's manifests may call the handler, the configuration and the weights as they like; a repository has
 * `handler.ts`, `model-config.yaml` and `model.onnx`. The alias is a link beside the file, so nothing is copied.
 */
import { posix } from "node:path";
import { chooseWeights } from "../weights.ts";
import { refused } from "./archive-entries.ts";
import type { Manifest } from "./archive-manifest.ts";

/** Handlers that TorchServe brings along: here they mean the default handler. */
export const BUILT_IN_HANDLERS: ReadonlySet<string> = new Set([
  "base_handler",
  "text_classifier",
  "image_classifier",
  "object_detector",
  "image_segmenter",
  "dali_image_classifier",
  "vllm_handler",
  "trt_llm_handler",
]);

const SCRIPT = /\.(?:ts|js|mjs)$/;

/**
 * @param archive Its file name, for messages.
 * @param files What the archive holds, relative, with `/`.
 * @returns Alias → file, which lie in the same folder.
 * @throws RuntimeError `REPOSITORY_INVALID` when the manifest names a file that is not there.
 */
export function aliasesOf(
  archive: string,
  files: readonly string[],
  manifest: Manifest | undefined,
): ReadonlyMap<string, string> {
  const aliases = new Map<string, string>();
  const add = (alias: string, file: string | undefined): void => {
    if (file !== undefined && file !== alias && !files.includes(alias)) aliases.set(alias, file);
  };
  if (manifest?.runtime === "node") {
    const handler = findHandler(archive, files, manifest.handler);
    const extension = SCRIPT.exec(handler ?? "")?.[0];
    add(`handler${extension}`, handler);
    add("requirements.json", named(archive, files, manifest.requirementsFile));
  }
  const config = named(archive, files, manifest?.configFile);
  if (!files.includes("model-config.yml")) add("model-config.yaml", config);
  const graphs = files.filter((file) => file.endsWith(".onnx"));
  const [only, ...more] = Object.keys(chooseWeights(files)?.components ?? {});
  const [graph] = graphs;
  // One graph of any name is the model; several are the parts of one, whose names say which.
  if (graph !== undefined && only !== undefined && more.length === 0 && graphs.length === 1) {
    const folder = posix.dirname(graph);
    const name = posix.basename(graph).replace(only, "model");
    add(folder === "." ? name : `${folder}/${name}`, graph);
  }
  return aliases;
}

/** The handler's file: `my.ts`, or `my` without its extension; a function's name behind a colon means nothing here. */
function findHandler(
  archive: string,
  files: readonly string[],
  handler: string | undefined,
): string | undefined {
  const name = handler?.split(":")[0];
  if (name === undefined || BUILT_IN_HANDLERS.has(name)) return undefined;
  const found = [name, `${name}.ts`, `${name}.js`, `${name}.mjs`].find(
    (file) => SCRIPT.test(file) && files.includes(file),
  );
  if (found !== undefined) return found;
  throw refused(archive, `its manifest names the handler "${name}", which is not in it`);
}

function named(
  archive: string,
  files: readonly string[],
  file: string | undefined,
): string | undefined {
  if (file === undefined || files.includes(file)) return file;
  throw refused(archive, `its manifest names "${file}", which is not in it`);
}
