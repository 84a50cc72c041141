/**
 * From what a person asked for to a folder that is ready to load: found or downloaded, its requirements installed.
 *
 * `serve.ts` and `harness.ts` both begin here.
 * To add a source of models: a file beside this one, reference → local folder with a signal, and a case in `fetch`.
 */
import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { RuntimeError } from "../errors.ts";
import type { LoadOptions } from "../inference.ts";
import type { Log } from "../observe/log.ts";
import type { Progress } from "../observe/progress.ts";
import type { Envelope } from "../torchserve-modes.ts";
import type { Device, Dtype } from "../weights.ts";
import { writableFolder } from "../writable-folder.ts";
import { MANIFEST_FILE } from "./archive-manifest.ts";
import { isArchiveName, nameOfArchive } from "./archive-name.ts";
import { readModelConfig, type ModelConfigFile } from "./model-config.ts";
import { parseReference, type Reference } from "./reference.ts";
import { sizeOfWeights } from "./weights-size.ts";

/** A repository that a handler can be loaded from. */
export interface PreparedRepository {
  /** What to call the model: what an archive's manifest says, the Hub name, or the folder's. */
  readonly name: string;
  /** What an archive's manifest says. */
  readonly version: string | undefined;
  /** The commit, for a Hub repository. */
  readonly revision: string | undefined;
  readonly load: LoadOptions;
  /** What `model-config.yaml` says, where there is one. */
  readonly modelConfig: ModelConfigFile | undefined;
  /** What an archive's manifest says of TorchServe's envelopes. */
  readonly envelope: Envelope | undefined;
  /** The size of the weights that will be loaded, in bytes; `undefined` where a handler brings its own. */
  readonly weightsBytes: number | undefined;
}

/** What decides which repository is served, and with what; a `Config` fits. */
export interface RepositorySettings {
  /** What the user named on the command line. */
  readonly reference: string | undefined;
  readonly modelDir: string | undefined;
  readonly modelId: string | undefined;
  /** Whether the files of `modelDir` may come after the start, and how long they are waited for. */
  readonly waitForFiles?: boolean;
  readonly startupTimeoutMs?: number;
  readonly revision: string | undefined;
  /** The handler that a registration names: a file of the repository, perhaps without its extension. */
  readonly handler?: string | undefined;
  readonly task: string | undefined;
  readonly dtype: Dtype | undefined;
  /** Where the default handler computes; on the CPU when absent. */
  readonly device?: Device;
  readonly threads: number | undefined;
  /** Hosts from which inputs given as URLs may be fetched. */
  readonly allowUrlInputs?: readonly string[];
  /** The Hub, without a slash at the end. */
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly offline: boolean;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  /** The Hub's cache, shared with Python's tools. */
  readonly hubCache: string;
  /** hubserve's own cache. */
  readonly cache: string;
  readonly cwd: string;
  /** The environment for the programs that are started. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface PrepareOptions {
  readonly settings: RepositorySettings;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Called with a few words as each part begins. */
  readonly onProgress?: (detail: string) => void;
  /** Draws how far a download is; without it the log says so in lines. */
  readonly drawDownload?: ((progress: Progress) => void) | undefined;
}

/** Ten minutes, as `--startup-timeout` has it. */
const WAIT_MS = 600_000;

/** Where Inference Endpoints mounts the repository. */
const MOUNTED_REPOSITORY = "/repository";

/**
 * Finds or downloads the repository that `settings` name, reads its `model-config.yaml`, and installs what its
 * `requirements.json` asks for.
 */
export async function prepareRepository({
  settings,
  signal,
  log,
  onProgress = () => undefined,
  drawDownload,
}: PrepareOptions): Promise<PreparedRepository> {
  const reference = chooseReference(settings);
  const { path, name, version, revision, envelope } = await locate(reference, {
    settings,
    signal,
    log,
    onProgress,
    drawDownload,
  });
  const modelConfig = readModelConfig(path, log);
  const handlerFile = findNamedHandler(path, settings.handler, log);
  onProgress("Installing what requirements.json asks for");
  const { installRequirements } = await import("./requirements.ts");
  const dependencies = await installRequirements({
    repository: path,
    cacheDir: settings.cache,
    env: settings.env,
    signal,
    log,
  });
  return {
    name,
    version,
    revision,
    load: {
      repository: path,
      ...(handlerFile !== undefined && { handlerFile }),
      ...(settings.task !== undefined && { task: settings.task }),
      ...(settings.dtype !== undefined && { dtype: settings.dtype }),
      ...(settings.device !== undefined &&
        settings.device !== "cpu" && { device: settings.device }),
      ...(settings.threads !== undefined && { intraOpThreads: settings.threads }),
      ...(settings.allowUrlInputs?.length && { urlHosts: settings.allowUrlInputs }),
      ...(dependencies !== undefined && { dependencies }),
      ...(modelConfig?.handler !== undefined && {
        handlerSettings: { file: modelConfig.file, keys: modelConfig.handler },
      }),
    },
    modelConfig,
    envelope,
    // A handler of one's own may hold anything, and its author expects one instance unless told otherwise.
    weightsBytes:
      handlerFile !== undefined || hasOwnHandler(path)
        ? undefined
        : sizeOfWeights(path, settings.dtype),
  };
}

/** TorchServe's `handler`: `my.ts`, `my` or `my:function`; its own handlers, and those in Python, are none here. */
function findNamedHandler(path: string, handler: string | undefined, log: Log): string | undefined {
  const name = handler?.split(":")[0] ?? "";
  if (name === "") return undefined;
  const found = [name, `${name}.ts`, `${name}.js`, `${name}.mjs`].find(
    (file) => /^[\w][\w.-]*\.(?:ts|js|mjs)$/.test(file) && isFile(join(path, file)),
  );
  if (found === undefined) {
    const shown = name.slice(0, 100);
    log.warn(
      `Ignoring the handler "${shown}": it is no TypeScript or JavaScript file of the model`,
    );
  }
  return found;
}

/** What to call a reference before anything is known of it. */
export function nameOf(reference: Reference): string {
  switch (reference.kind) {
    case "hub":
      return reference.name;
    case "archive":
      return nameOfArchive(reference.path);
    case "folder":
      return basename(reference.path);
  }
}

/**
 * What a reference says of itself before it is fetched: the name and the version in an archive's manifest.
 *
 * @throws RuntimeError as `parseReference` does, and for an archive that is damaged.
 */
export async function identify(
  settings: RepositorySettings,
  { signal, log }: Pick<PrepareOptions, "signal" | "log">,
): Promise<{ readonly name: string; readonly version?: string }> {
  const reference = chooseReference(settings);
  if (reference.kind === "hub") return { name: nameOf(reference) };
  const { identifyArchive } = await import("./archive.ts");
  const manifest = await identifyArchive(reference.path, {
    cacheDir: settings.cache,
    signal,
    log,
  });
  if (manifest === undefined) return { name: nameOf(reference) };
  return { name: manifest.modelName, version: manifest.modelVersion };
}

/**
 * The reference that wins: the one after the command, a folder from the environment that holds something, a Hub
 * repository from the environment, the folder that Inference Endpoints mounts, the current folder.
 */
export function chooseReference(settings: RepositorySettings): Reference {
  const options = { cwd: settings.cwd, isFolder, isFile, revision: settings.revision };
  if (settings.reference !== undefined) return parseReference(settings.reference, options);
  const { modelDir, modelId } = settings;
  if (modelDir !== undefined && settings.waitForFiles === true && !isArchiveName(modelDir))
    return { kind: "folder", path: resolve(settings.cwd, modelDir) };
  if (modelDir !== undefined && (modelId === undefined || holdsFiles(modelDir))) {
    return parseReference(/^[./~]/.test(modelDir) ? modelDir : `./${modelDir}`, options);
  }
  if (modelId !== undefined)
    return parseReference(modelId.includes("/") ? modelId : `hf://${modelId}`, options);
  if (holdsFiles(MOUNTED_REPOSITORY)) return { kind: "folder", path: MOUNTED_REPOSITORY };
  return { kind: "folder", path: settings.cwd };
}

type Located = Pick<PreparedRepository, "name" | "version" | "revision"> & {
  readonly path: string;
  readonly envelope?: Envelope | undefined;
};

async function locate(
  reference: Reference,
  { settings, signal, log, onProgress, drawDownload }: PrepareOptions,
): Promise<Located> {
  const name = nameOf(reference);
  if (reference.kind === "folder" && settings.waitForFiles === true) {
    onProgress?.(`Waiting for the files of ${reference.path}`);
    const { waitForFiles } = await import("./late-files.ts");
    await waitForFiles(reference.path, {
      isComplete: holdsRepository,
      timeoutMs: settings.startupTimeoutMs ?? WAIT_MS,
      signal,
      log,
    });
  }
  if (reference.kind === "archive" || (reference.kind === "folder" && hasManifest(reference.path)))
    return locateArchive(reference, { settings, signal, log, onProgress });
  if (reference.kind === "folder") {
    const path = realpathSync(reference.path);
    assertRepository(path);
    log.info(`Serving the folder ${path}`);
    return { path, name, version: undefined, revision: undefined };
  }
  onProgress?.(`Downloading ${name}`);
  const { downloadRepository } = await import("./hub.ts");
  const { path, commit, origin } = await downloadRepository(reference, {
    endpoint: settings.endpoint,
    ...(settings.token !== undefined && { token: settings.token }),
    cacheDir: hubCacheFor(reference.name, settings.hubCache, log),
    offline: settings.offline,
    ...(settings.dtype !== undefined && { dtype: settings.dtype }),
    ...(settings.include.length > 0 && { include: settings.include }),
    ...(settings.exclude.length > 0 && { exclude: settings.exclude }),
    signal,
    log,
    onProgress: drawDownload,
  });
  const from = origin === "cache" ? "from the cache" : `from ${settings.endpoint}`;
  log.info(`Serving ${name} at commit ${commit.slice(0, 12)}, ${from}`);
  return { path, name, version: undefined, revision: commit };
}

/** A cache that may not be written still serves what it has. */
function hubCacheFor(name: string, cache: string, log: Log): string {
  const folder = join(cache, ["models", ...name.split("/")].join("--"));
  return existsSync(folder) ? cache : writableFolder(cache, "hub", log);
}

async function locateArchive(
  reference: Exclude<Reference, { kind: "hub" }>,
  {
    settings,
    signal,
    log,
    onProgress,
  }: Pick<PrepareOptions, "settings" | "signal" | "log"> & {
    readonly onProgress: ((detail: string) => void) | undefined;
  },
): Promise<Located> {
  onProgress?.(`Opening the archive ${basename(reference.path)}`);
  const { openArchive } = await import("./archive.ts");
  const archive = realpathSync(reference.path);
  const { path, manifest } = await openArchive(archive, {
    cacheDir: settings.cache,
    signal,
    log,
  });
  const name = manifest?.modelName ?? nameOf(reference);
  log.info(`Serving the archive ${archive}`);
  return {
    path,
    name,
    version: manifest?.modelVersion,
    revision: undefined,
    envelope: manifest?.envelope,
  };
}

/** Whether a folder is an archive that was never packed. */
function hasManifest(path: string): boolean {
  return existsSync(join(path, MANIFEST_FILE));
}

const REPOSITORY_FILES = /^(?:handler\.(?:ts|js|mjs|py)|settings\.json|onnx|model|.+\.onnx)$/;

function hasOwnHandler(path: string): boolean {
  return readdirSync(path).some((file) => /^handler\.(?:ts|js|mjs)$/.test(file));
}

/** @param names Relative to the folder. */
function holdsRepository(names: readonly string[]): boolean {
  return names.some((name) => REPOSITORY_FILES.test(name) || name === MANIFEST_FILE);
}

/** A folder that cannot be a repository is said so at once, before a child is started for it. */
function assertRepository(path: string): void {
  if (readdirSync(path).some((file) => REPOSITORY_FILES.test(file))) return;
  throw new RuntimeError(
    "REPOSITORY_NOT_FOUND",
    `Cannot serve the folder ${path}: it has no handler.ts, no config.json and no model/; ` +
      "name another folder or a Hub repository, as in `hubserve owner/name`",
  );
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function holdsFiles(path: string): boolean {
  return existsSync(path) && isFolder(path) && readdirSync(path).length > 0;
}
