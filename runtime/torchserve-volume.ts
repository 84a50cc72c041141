/**
 * A volume laid out as KServe's TorchServe runtime has it: `model-store/*.mar` and `config/config.properties`.
 *
 * It is recognized where `--model-dir` points. The store is served as the file says (`model_snapshot`, else `load_models`),
 * and all of it where the file says neither. The file's addresses are where TorchServe listens behind KServe's own server;
 * here nobody stands in front, so they mean nothing, and no port is opened beside the main one unless it is asked for.
 * Snapshots are not written: the volume is read-only, and says what is served at each start.
 * Source: `python/torchserve` and the samples of KServe 0.20.
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { OptionName, OptionValues } from "./options.ts";
import { readConfigFile, type ConfigFile } from "./torchserve-config.ts";

export interface TorchServeVolume {
  /** The folder of the archives, absolute. */
  readonly modelStore: string;
  /** What its file says, less what a volume cannot decide; `undefined` where it has none. */
  readonly configFile: ConfigFile | undefined;
  /** What was found, in a sentence. */
  readonly found: string;
}

const STORE = "model-store";
const CONFIG = join("config", "config.properties");

/** Where TorchServe listens, and where its own container has the volume. */
const NOT_FROM_VOLUME: readonly OptionName[] = [
  "host",
  "port",
  "managementHost",
  "managementPort",
  "metricsHost",
  "metricsPort",
  "modelStore",
];

/** @param folder Absolute. @returns `undefined` where it is no such volume. */
export function readTorchServeVolume(
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
): TorchServeVolume | undefined {
  const modelStore = join(folder, STORE);
  const path = join(folder, CONFIG);
  const isConfigured = statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  const archives = listOf(modelStore);
  if (archives === undefined) return undefined;
  if (!isConfigured && !archives.some((name) => /\.(?:mar|tar\.gz|tgz|zip)$/i.test(name)))
    return undefined;
  const file = isConfigured
    ? readConfigFile({ named: path, snapshots: undefined, cwd: folder, env })
    : undefined;
  return {
    modelStore,
    configFile: file && {
      ...file,
      values: new Map([...file.values].filter(([name]) => !NOT_FROM_VOLUME.includes(name))),
    },
    found:
      `Found TorchServe's volume: serving ${modelStore}, ` +
      (file === undefined
        ? "all of it, as there is no config/config.properties"
        : `as ${path} says, without its addresses`),
  };
}

/** Options that the volume decides where nobody else has. */
export function settingsOfVolume({
  modelStore,
  configFile,
}: TorchServeVolume): Partial<OptionValues> {
  const isToldWhat =
    configFile?.snapshot !== undefined || configFile?.values.has("models") === true;
  return {
    modelStore,
    noConfigSnapshots: true,
    managementPort: "off",
    metricsPort: "off",
    ...(!isToldWhat && { models: ["all"] }),
  };
}

function listOf(folder: string): readonly string[] | undefined {
  try {
    return readdirSync(folder);
  } catch {
    return undefined; // no such folder, or not for this user: then it is no volume of that kind
  }
}
