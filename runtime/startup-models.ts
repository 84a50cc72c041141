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
  // Found together and launched in their order: the first is the one that answers where no model is named.
  const finds = chosen.map(async (model) => findOne(model, options));
  const starts = await Promise.allSettled(
    finds.map(async (find, index) => {
      await Promise.allSettled(finds.slice(0, index));
      return launchOne(await find, options);
    }),
  );
  const failed = starts.filter((start) => start.status === "rejected");
  for (const [index, start] of starts.entries()) {
    if (start.status === "rejected")
      log.error(`Cannot serve "${chosen[index]?.source}": ${messageOf(start.reason)}`);
  }
  if (failed.length > 0 && failed.length === starts.length) throw failed[0]?.reason;
  restoreDefaults(config.configFile?.snapshot, models);
  restoreTraffic(config.configFile?.traffic, models, log);
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
  const named = config.modelName === undefined ? {} : { name: config.modelName };
  if (!isArchiveName(path) && !existsSync(join(path, MANIFEST_FILE))) return launcher.launch(named);
  return identifyHere(config, options).then((identity) =>
    launcher.launch({ ...identity, ...named }),
  );
}

function identifyHere(
  config: Config,
  { log }: StartOptions,
): Promise<{ readonly name: string; readonly version?: string }> {
  return identify(config, { log, signal: new AbortController().signal });
}

interface FoundToStart extends ModelToStart {
  readonly name: string;
  /** What `launch` takes as its reference. */
  readonly reference: string;
}

async function findOne(model: ModelToStart, options: StartOptions): Promise<FoundToStart> {
  const { config, launcher } = options;
  const { source } = model;
  // Without a store: a path, or a Hub repository.
  const isInStore = config.modelStore !== undefined || /^[a-z]+:\/\//i.test(source);
  const found = isInStore
    ? await launcher.locate(source)
    : await identifyHere({ ...config, reference: source }, options);
  const version = model.version ?? found.version;
  return {
    ...model,
    name: model.name ?? found.name,
    ...(version !== undefined && { version }),
    reference: "reference" in found ? found.reference : source,
  };
}

async function launchOne(
  { name, version, source, reference, served }: FoundToStart,
  { config, launcher }: StartOptions,
): Promise<LaunchedModel> {
  const how = served ?? servedAs(config.configFile?.models, { name, version }, source);
  const launched = launcher.launch({
    name,
    ...(version !== undefined && { version }),
    origin: source,
    ...toRequest(reference, how),
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

/** Weights of versions that could not be served go to the others. */
function restoreTraffic(
  traffic: NonNullable<Config["configFile"]>["traffic"],
  models: Models,
  log: Log,
): void {
  for (const [name, weights] of Object.entries(traffic ?? {})) {
    const served = new Set(
      models.list
        .filter((each) => each.name === name && each.state !== "failed")
        .map(({ version }) => version),
    );
    const kept = Object.entries(weights).filter(([version]) => served.has(version));
    const missing = Object.keys(weights).filter((version) => !served.has(version));
    if (missing.length > 0)
      log.warn(`Sharing out the requests of ${name} without version ${missing.join(", ")}`);
    if (kept.some(([, weight]) => weight > 0)) models.setTraffic(name, Object.fromEntries(kept));
  }
}
