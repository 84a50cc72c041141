/**
 * Who brings models up and takes them away, as the protocols that manage models see it. `../launch.ts` is the real one: it
 * knows where models come from, which nobody here or in `http` does.
 */
import type { Dtype } from "../weights.ts";
import type { ModelEntry } from "./models.ts";

/** What a launch may say of its model; as strong as flags, so stronger than the model's own files. */
export interface LaunchSettings {
  /** A folder, an archive, or a Hub repository, as on the command line. */
  readonly reference?: string;
  readonly revision?: string;
  /** A file of the repository that answers in place of its own handler, perhaps without its extension. */
  readonly handler?: string;
  readonly task?: string;
  readonly dtype?: Dtype;
  readonly batchSize?: number;
  readonly maxBatchDelayMs?: number;
  readonly minWorkers?: number;
  readonly maxWorkers?: number;
  readonly requestTimeoutMs?: number;
  readonly startupTimeoutMs?: number;
  readonly jobQueueSize?: number;
}

export interface LaunchRequest {
  /** What to call it; by default as the repository is called. */
  readonly name?: string;
  readonly version?: string;
  readonly settings?: LaunchSettings;
  /** What it is registered from, as that was named; by default as the reference is. */
  readonly origin?: string;
  /**
   * No workers for now: the repository is fetched and prepared, and `scale` loads it. With `"unless-told"` that is so
   * where neither the configuration nor the model's own files say how many workers it has.
   */
  readonly isLazy?: boolean | "unless-told";
  /** Whether it is one of those that the server starts with; true when absent. */
  readonly isFromStart?: boolean;
  /** Called when it was removed: what was fetched for it goes too. */
  readonly onRemoved?: () => Promise<void>;
}

/** What a model keeps to: what was asked for, over what its files say, over what the server says. */
export interface LaunchedSettings {
  readonly minWorkers: number;
  readonly maxWorkers: number;
  /** `undefined`: learned from the model's own timings. */
  readonly batchSize: number | undefined;
  readonly maxBatchDelayMs: number;
  readonly requestTimeoutMs: number;
  readonly startupTimeoutMs: number;
  readonly jobQueueSize: number;
}

/** A model that is there to be launched. */
export interface FoundModel {
  /** What `LaunchSettings.reference` takes. */
  readonly reference: string;
  /** What to call it where nobody says. */
  readonly name: string;
  /** What its archive says, where it is one. */
  readonly version: string | undefined;
  /** Whether it has yet to be downloaded, which may take minutes. */
  readonly isOnHub: boolean;
  /** Removes what was fetched for it; nothing where nothing was. */
  discard(): Promise<void>;
}

export interface LaunchedModel {
  readonly entry: ModelEntry;
  /** Whether it was there when the server started. */
  readonly isFromStart: boolean;
  /** Settles when it answers requests, or, launched lazily, could. Rejects when it cannot be served. */
  readonly ready: Promise<void>;
  /** Settles when its repository is here. Rejects when it cannot be had. */
  readonly prepared: Promise<{ readonly willLoad: boolean }>;
  readonly settings: LaunchedSettings;
  /** Whether it has no workers, and was not told to have some. */
  readonly isIdle: boolean;
  /**
   * Settles when as many workers are ready as were asked for; those that are too many finish what they hold.
   *
   * @param maxWorkers 0 unloads the model.
   * @throws RuntimeError when they cannot be started.
   */
  scale(minWorkers: number, maxWorkers: number): Promise<void>;
  /**
   * Settles when it has as many workers as it was launched with, where it had none or has failed; else when those that start are ready.
   *
   * @throws RuntimeError when its repository cannot be had, or its workers cannot be started.
   */
  load(): Promise<void>;
}

export interface Launcher {
  /**
   * Finds a file or a folder of the model store, a Hub repository, or an allowed URL, which is fetched into the store.
   *
   * @throws RuntimeError `MODEL_NOT_FOUND`, `FORBIDDEN` for a URL that is not allowed, `CONFLICT` when the store has a
   * file of that name, `DOWNLOAD_FAILED`, `REPOSITORY_INVALID`.
   */
  locate(source: string): Promise<FoundModel>;
  /** @throws RuntimeError `CONFLICT` when that version is there already. */
  launch(request: LaunchRequest): LaunchedModel;
  /** @throws RuntimeError `MODEL_NOT_FOUND` or `VERSION_NOT_FOUND`. */
  find(name?: string, version?: string): LaunchedModel;
  /**
   * Takes a version away: no new request finds it, what runs and waits is finished.
   *
   * @throws RuntimeError as `find`; `CONFLICT` for the default version while there are others.
   */
  remove(name: string, version?: string): Promise<void>;
  /** Nobody will come any more. */
  closeGate(): void;
  /** Ends all workers; what still waits or runs fails. */
  close(): Promise<void>;
}
