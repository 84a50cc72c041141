/**
 * The model repository extension without its transport: what is registered, and loading and unloading it. REST and gRPC both
 * answer from here.
 *
 * Unlike Triton's, an unloaded model stays registered: it is `UNAVAILABLE` until it is loaded again. A name that is not
 * registered is looked for where the management port looks: the model store, then the Hub.
 *
 * Facts: Triton's model repository extension.
 */
import type { FoundModel, LaunchedModel, Launcher } from "../../engine/launcher.ts";
import type { Model, Models } from "../../engine/models.ts";
import { isRuntimeError, RuntimeError } from "../../errors.ts";

export interface RepositoryEntry {
  readonly name: string;
  readonly version: string;
  readonly state: "READY" | "LOADING" | "UNAVAILABLE";
  /** Why it is not ready; empty where it is. */
  readonly reason: string;
}

export interface Repository {
  readonly models: Models;
  readonly launcher: Launcher;
}

/** Every version of every model. @param onlyReady Whether those that answer are all that is wanted. */
export function listRepository(models: Models, onlyReady: boolean): readonly RepositoryEntry[] {
  return models.list.map(toEntry).filter(({ state }) => !onlyReady || state === "READY");
}

function toEntry({ name, version, state, isReady, detail }: Model): RepositoryEntry {
  if (isReady) return { name, version, state: "READY", reason: "" };
  const isComing = state === "starting" || state === "degraded";
  return { name, version, state: isComing ? "LOADING" : "UNAVAILABLE", reason: detail };
}

/**
 * Settles when every version of the model answers.
 *
 * @param source What to load where no model of that name is registered: a path in the model store, a Hub repository or an
 * allowed URL. By default the name.
 * @throws RuntimeError as `Launcher.locate` and `LaunchedModel.scale`; what was registered for this is gone again then.
 */
export async function loadModel(
  repository: Repository,
  name: string,
  source: string = name,
): Promise<void> {
  const versions = launchedOf(repository, name);
  if (versions.length > 0) await Promise.all(versions.map(async (model) => model.load()));
  else await loadNew(repository, name, source);
}

/** Settles when no version of the model has workers; what runs is finished. @throws RuntimeError `MODEL_NOT_FOUND`. */
export async function unloadModel(repository: Repository, name: string): Promise<void> {
  const versions = launchedOf(repository, name);
  if (versions.length === 0) repository.models.find(name); // says that there is none
  await Promise.all(versions.map(unload));
}

async function unload(model: LaunchedModel): Promise<void> {
  // One that is on its way would arrive afterwards.
  const isHere = await model.ready.then(
    () => true,
    () => false,
  );
  if (isHere && !model.isIdle) await model.scale(0, 0);
}

function launchedOf({ models, launcher }: Repository, name: string): readonly LaunchedModel[] {
  return models.list
    .filter((model) => model.name === name)
    .map(({ version }) => launcher.find(name, version));
}

async function loadNew({ launcher }: Repository, name: string, source: string): Promise<void> {
  const found = await locate(launcher, source);
  let launched: LaunchedModel;
  try {
    launched = launcher.launch({
      name,
      ...(found.version !== undefined && { version: found.version }),
      origin: source,
      isFromStart: false,
      onRemoved: () => found.discard(),
      settings: { reference: found.reference },
    });
  } catch (error) {
    await found.discard();
    throw error;
  }
  try {
    await launched.ready;
  } catch (error) {
    await forget(launcher, launched);
    throw error;
  }
}

/** An archive need not be called by the end of its name. */
async function locate(launcher: Launcher, source: string): Promise<FoundModel> {
  try {
    return await launcher.locate(source);
  } catch (error) {
    if (!isRuntimeError(error) || error.code !== "MODEL_NOT_FOUND") throw error;
    try {
      return await launcher.locate(`${source}.mar`);
    } catch (second) {
      if (isRuntimeError(second) && second.code === "MODEL_NOT_FOUND") throw error;
      throw second;
    }
  }
}

async function forget(launcher: Launcher, { entry }: LaunchedModel): Promise<void> {
  try {
    await launcher.remove(entry.name, entry.version);
  } catch (error) {
    // Somebody else was quicker, or has added versions since: it stays, as the one that failed.
    if (!isRuntimeError(error)) throw error;
  }
}

/** What is said where nobody may load and unload. */
export function notManaged(): RuntimeError {
  return new RuntimeError(
    "FORBIDDEN",
    "Cannot change what is loaded: clients of this port may not; that takes --enable-model-api and a management key, " +
      "or --disable-token-auth on a port that only this machine reaches",
  );
}
