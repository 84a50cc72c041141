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
  /** No workers for now: the repository is fetched and prepared, and `scale` loads it. */
  readonly isLazy?: boolean;
}

export interface LaunchedModel {
  readonly entry: ModelEntry;
  /** Whether it was there when the server started. */
  readonly isFromStart: boolean;
  /** Settles when it answers requests, or, launched lazily, could. Rejects when it cannot be served. */
  readonly ready: Promise<void>;
  /** Settles when as many workers are ready as were asked for. */
  scale(minWorkers: number, maxWorkers: number): Promise<void>;
}

export interface Launcher {
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
