/**
 * A launcher whose models start as the test says, in no time and in no process. Its register is the real one.
 */
import type {
  FoundModel,
  LaunchedModel,
  LaunchedSettings,
  Launcher,
  LaunchRequest,
} from "../../runtime/engine/launcher.ts";
import type { Engine } from "../../runtime/engine/engine.ts";
import type { Model, Models } from "../../runtime/engine/models.ts";
import { RuntimeError } from "../../runtime/errors.ts";
import { readyModels } from "./app-matrix.ts";

export interface FakeLauncher extends Launcher {
  readonly requests: readonly LaunchRequest[];
  readonly discarded: readonly string[];
}

export interface FakeLauncherOptions {
  readonly models: Models;
  /** What can be located: source → name, version. */
  readonly store: Readonly<Record<string, Partial<FoundModel>>>;
  /** Sources that cannot be located, and why. */
  readonly refusals?: Readonly<Record<string, RuntimeError>>;
  /** What the start of a model, or its scaling, fails with. */
  readonly failures?: Readonly<Record<string, RuntimeError>>;
  /** Settles when a removal may be done. */
  readonly mayEnd?: () => Promise<void>;
}

export function createFakeLauncher({
  models,
  store,
  refusals = {},
  failures = {},
  mayEnd = () => Promise.resolve(),
}: FakeLauncherOptions): FakeLauncher {
  const launched = new Map<Model, LaunchedModel & Pick<LaunchRequest, "onRemoved">>();
  const requests: LaunchRequest[] = [];
  const discarded: string[] = [];

  const find = (name?: string, version?: string): LaunchedModel =>
    launched.get(models.find(name, version))!;

  return {
    requests,
    discarded,
    async locate(source) {
      const refusal = refusals[source];
      if (refusal !== undefined) throw refusal;
      const found = store[source];
      if (found === undefined) throw new RuntimeError("MODEL_NOT_FOUND", `Cannot find "${source}"`);
      return {
        reference: source,
        name: source,
        version: undefined,
        isOnHub: false,
        discard: async () => void discarded.push(source),
        ...found,
      };
    },
    launch(request) {
      requests.push(request);
      const { name = "m", version, settings = {}, origin = name, isLazy, onRemoved } = request;
      const entry = models.register(name, { origin, ...(version !== undefined && { version }) });
      const { engine, description } = readyModels().ready();
      let bounds = { minWorkers: settings.minWorkers ?? 1, maxWorkers: settings.maxWorkers ?? 1 };
      const isIdle = isLazy === true || isLazy === "unless-told";
      if (isIdle) bounds = { minWorkers: 0, maxWorkers: 0 };
      const load = async (): Promise<void> => {
        const failure = failures[name];
        if (failure !== undefined) throw failure;
        const workers = Array.from({ length: bounds.minWorkers }, (_, index) => ({
          id: 9000 + index,
          pid: 100 + index,
          state: "ready" as const,
          startedAt: new Date(0),
          rssBytes: 5,
        }));
        const own: Engine = { ...engine, workerList: workers };
        entry.started({ engine: own, description: { ...description, task: "fill-mask" } });
      };
      const model: LaunchedModel & Pick<LaunchRequest, "onRemoved"> = {
        entry,
        isFromStart: request.isFromStart ?? true,
        ready: isIdle ? Promise.resolve(entry.unloaded("no workers")) : load(),
        prepared: Promise.resolve({ willLoad: !isIdle }),
        get isIdle() {
          return bounds.maxWorkers === 0;
        },
        get settings(): LaunchedSettings {
          return {
            batchSize: undefined,
            maxBatchDelayMs: 0,
            requestTimeoutMs: 120_000,
            startupTimeoutMs: 600_000,
            jobQueueSize: 10,
            ...settings,
            ...bounds,
          };
        },
        async scale(minWorkers, maxWorkers) {
          bounds = { minWorkers, maxWorkers };
          if (maxWorkers === 0) entry.unloaded("no workers");
          else await load();
        },
        async load() {
          if (bounds.maxWorkers === 0) bounds = { minWorkers: 1, maxWorkers: 1 };
          await load();
        },
        ...(onRemoved && { onRemoved }),
      };
      model.ready.catch(() => undefined);
      launched.set(entry, model);
      return model;
    },
    find,
    async remove(name, version) {
      const model = launched.get(models.find(name, version));
      models.remove(name, version);
      await mayEnd();
      await model?.onRemoved?.();
    },
    closeGate: () => undefined,
    close: () => Promise.resolve(),
  };
}
