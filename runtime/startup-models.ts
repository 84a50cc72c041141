/**
 * Which models a server starts with, and their launch.
 *
 * One that was named as the reference is launched alone, and its failure ends the start. Those of a model store
 * (`--models`, `load_models`, a snapshot) come up together: one that fails is logged, and the others are served.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Config } from "./config.ts";
import type { LaunchedModel, Launcher, LaunchRequest, LaunchSettings } from "./engine/launcher.ts";
import type { Models } from "./engine/models.ts";
import { messageOf, RuntimeError } from "./errors.ts";
import type { Log } from "./observe/log.ts";
import { MANIFEST_FILE } from "./repository/archive-manifest.ts";
import { isArchiveName } from "./repository/archive-name.ts";
import { identify } from "./repository/resolve.ts";
import type { ServedModels, ServedVersion } from "./torchserve-config.ts";

export interface StartOptions {
  readonly config: Config;
  readonly launcher: Launcher;
  readonly models: Models;
  readonly log: Log;
}

/** One model to start with. */
export interface ModelToStart {
  /** What it is called, where somebody says. */
  readonly name?: string;
  readonly version?: string;
  /** A file or a folder of the model store, a Hub repository, an allowed URL, a path. */
  readonly source: string;
  readonly served?: ServedVersion;
}

export interface StartedModels {
  /** Those that answer requests, or could. */
  readonly launched: readonly LaunchedModel[];
  /** Whether these are all that there were to be. */
  readonly isComplete: boolean;
}

/**
 * Launches what the configuration says, at once where nothing has to be read first.
 *
 * @throws RuntimeError when the reference cannot be served, or none of several.
 */
export async function startModels(options: StartOptions): Promise<StartedModels> {
  const { config, models, log } = options;
  const chosen = chooseModels(config, log);
  if (chosen === undefined) {
    const model = launchReference(options);
    const launched = model instanceof Promise ? await model : model;
    await launched.ready;
    return { launched: [launched], isComplete: true };
  }
  const starts = await Promise.allSettled(chosen.map(async (model) => startOne(model, options)));
  const failed = starts.filter((start) => start.status === "rejected");
  for (const [index, start] of starts.entries()) {
    if (start.status === "rejected")
      log.error(`Cannot serve "${chosen[index]?.source}": ${messageOf(start.reason)}`);
  }
  if (failed.length > 0 && failed.length === starts.length) throw failed[0]?.reason;
  restoreDefaults(config.configFile?.snapshot, models);
  const launched = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
  return { launched, isComplete: failed.length === 0 };
}

/** @returns `undefined` where the reference is served, or what stands for it. */
export function chooseModels(config: Config, log: Log): readonly ModelToStart[] | undefined {
  const { reference, modelDir, modelId, modelStore, configFile, models } = config;
  if (reference !== undefined) return undefined;
  if (configFile?.snapshot !== undefined) {
    log.info(`Restoring what ${configFile.path} says`);
    if (models.length > 0 && !config.origins.models.includes(" in ")) {
      log.warn(
        `Ignoring ${config.origins.models}: the snapshot says what is served; --no-config-snapshots starts anew`,
      );
    }
    return fromSnapshot(configFile.snapshot);
  }
  if (models.length > 0) return models.flatMap((text) => fromText(text, config));
  if (modelDir !== undefined || modelId !== undefined) return undefined;
  return modelStore === undefined ? undefined : [];
}

function fromSnapshot(snapshot: ServedModels): readonly ModelToStart[] {
  return Object.entries(snapshot).flatMap(([name, versions]) =>
    Object.entries(versions).map(([version, served]) => ({
      name,
      version,
      source: served.marName,
      served,
    })),
  );
}

/** `all`, `none`, `source` or `name=source`. */
function fromText(text: string, config: Config): readonly ModelToStart[] {
  if (/^none$/i.test(text)) return [];
  if (/^all$/i.test(text)) return listStore(config).map((source) => ({ source }));
  const [, name, source = text] = /^([^=/:]+)=(.+)$/.exec(text) ?? [];
  return [name === undefined ? { source } : { name, source }];
}

const REPOSITORY_FILES = /^(?:MAR-INF|handler\.(?:ts|js|mjs)|config\.json|model|onnx|.+\.onnx)$/;

function listStore({ modelStore, cwd }: Config): readonly string[] {
  if (modelStore === undefined) {
    throw new RuntimeError("INVALID_OPTION", "Cannot load all models: wanted --model-store");
  }
  const folder = resolve(cwd, modelStore);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => !name.startsWith(".") && isServable(join(folder, name)))
    .sort();
}

function isServable(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.isDirectory() !== true) return stats?.isFile() === true && isArchiveName(path);
  return readdirSync(path).some((name) => REPOSITORY_FILES.test(name));
}

/** An archive's own name and version are read first; for all else nothing has to be. */
function launchReference(options: StartOptions) {
  const { config, launcher } = options;
  const path = resolve(config.cwd, config.reference ?? config.modelDir ?? ".");
  if (!isArchiveName(path) && !existsSync(join(path, MANIFEST_FILE))) return launcher.launch({});
  return identifyHere(config, options).then((identity) => launcher.launch(identity));
}

function identifyHere(
  config: Config,
  { log }: StartOptions,
): Promise<{ readonly name: string; readonly version?: string }> {
  return identify(config, { log, signal: new AbortController().signal });
}

async function startOne(
  { name, version, source, served }: ModelToStart,
  options: StartOptions,
): Promise<LaunchedModel> {
  const { config, launcher } = options;
  // Without a store: a path, or a Hub repository.
  const isInStore = config.modelStore !== undefined || /^[a-z]+:\/\//i.test(source);
  const found = isInStore
    ? await launcher.locate(source)
    : await identifyHere({ ...config, reference: source }, options);
  const identity = { name: name ?? found.name, version: version ?? found.version };
  const how = served ?? servedAs(config.configFile?.models, identity, source);
  const launched = launcher.launch({
    name: identity.name,
    ...(identity.version !== undefined && { version: identity.version }),
    origin: source,
    ...toRequest("reference" in found ? found.reference : source, how),
  });
  await launched.ready;
  return launched;
}

/** What `models={…}` says of an archive. */
function servedAs(
  models: ServedModels | undefined,
  { name, version = "1.0" }: { readonly name: string; readonly version: string | undefined },
  source: string,
): ServedVersion | undefined {
  const served = models?.[name]?.[version];
  return served?.marName === source ? served : undefined;
}

function toRequest(
  reference: string,
  served: ServedVersion | undefined,
): Pick<LaunchRequest, "settings" | "isLazy"> {
  const { minWorkers, maxWorkers, batchSize, maxBatchDelay } = served ?? {};
  const { responseTimeout, startupTimeout } = served ?? {};
  const settings: LaunchSettings = {
    reference,
    ...(minWorkers !== undefined && minWorkers > 0 && { minWorkers }),
    ...(maxWorkers !== undefined && maxWorkers > 0 && { maxWorkers }),
    ...(batchSize !== undefined && { batchSize }),
    ...(maxBatchDelay !== undefined && { maxBatchDelayMs: maxBatchDelay }),
    ...(responseTimeout !== undefined && { requestTimeoutMs: responseTimeout * 1000 }),
    ...(startupTimeout !== undefined && { startupTimeoutMs: startupTimeout * 1000 }),
  };
  return maxWorkers === 0 ? { settings, isLazy: true } : { settings };
}

/** The first that was registered is the default until somebody says otherwise. */
function restoreDefaults(snapshot: ServedModels | undefined, models: Models): void {
  for (const [name, versions] of Object.entries(snapshot ?? {})) {
    const version = Object.keys(versions).find((each) => versions[each]?.defaultVersion === true);
    const isThere = models.list.some((each) => each.name === name && each.version === version);
    if (version !== undefined && isThere) models.setDefault(name, version);
  }
}
