/**
 * Snapshots: what is served, written down at the start, after each change and at the end, to be served again.
 *
 * A snapshot is a `config.properties` of TorchServe's with a `model_snapshot` in it; `torchserve-config.ts` finds the
 * last one, and `startup-models.ts` restores it. Each is written beside its place and renamed, so that the last one is
 * always whole. What launches, scales or removes a model waits for it, so that whoever was told of a change finds it again
 * after a crash; a new default or new weights are on the disk soon after. What changes nothing writes nothing.
 */
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { Config } from "./config.ts";
import type { LaunchedModel, Launcher } from "./engine/launcher.ts";
import type { Models } from "./engine/models.ts";
import type { Traffic } from "./engine/traffic.ts";
import { messageOf } from "./errors.ts";
import type { Log } from "./observe/log.ts";
import { formatProperty } from "./properties.ts";
import type { ServedVersion } from "./torchserve-config.ts";

/** So many are kept: enough to find the one before a mistake. */
const MOST_SNAPSHOTS = 50;

export interface SnapshotOptions {
  readonly config: Config;
  readonly models: Models;
  readonly launcher: Launcher;
  readonly log: Log;
  readonly now?: () => Date;
}

export interface Snapshots {
  /**
   * Settles when it is on the disk; one that cannot be written is a warning, as what is served goes on. None is written
   * at the end of a server that could not restore all and was not changed: the next start may do better.
   */
  write(kind: "startup" | "snapshot" | "shutdown"): Promise<void>;
}

/** Whether this server writes and restores snapshots: one that was started for a single model has nothing to restore. */
export function hasSnapshots(config: Config): boolean {
  return (
    config.modelStore !== undefined && config.reference === undefined && !config.noConfigSnapshots
  );
}

export function createSnapshots(options: SnapshotOptions): Snapshots {
  const { config, log, now = () => new Date() } = options;
  const folder = resolve(config.cwd, config.snapshots);
  let last = 0;
  /** What the last one says is served. */
  let written = "";
  let queue = Promise.resolve();
  /** One that waits for its turn: it will hold whatever changes until then. */
  let waiting: Promise<void> | undefined;

  async function writeOne(kind: string): Promise<void> {
    waiting = undefined;
    try {
      const served = describeServed(options);
      const text = JSON.stringify(served);
      if (kind === "snapshot" && text === written) return;
      last = Math.max(last + 1, now().getTime()); // two of one millisecond would be one file
      const name = `${toTimestamp(new Date(last))}-${kind}.cfg`;
      await writeWhole(folder, name, describe(name, last, served, config));
      written = text;
      await prune(folder);
      log.debug(`Wrote the snapshot ${join(folder, name)}`);
    } catch (error) {
      log.warn(`Cannot write a snapshot into ${folder}: ${messageOf(error)}`);
    }
  }

  return {
    write(kind) {
      if (kind === "shutdown" && last === 0) return queue;
      if (kind === "snapshot" && waiting !== undefined) return waiting;
      queue = queue.then(async () => writeOne(kind)); // one after the other, so that the last is the newest
      if (kind === "snapshot") waiting = queue;
      return queue;
    },
  };
}

/**
 * The launcher and the register, telling of each change that a snapshot holds.
 *
 * @param changed Awaited before whoever launches, scales or removes hears that it is done.
 */
export function withChanges(
  { launcher, models }: { readonly launcher: Launcher; readonly models: Models },
  changed: () => Promise<void>,
): { readonly launcher: Launcher; readonly models: Models } {
  const tell = async (work: Promise<void>): Promise<void> => {
    await work;
    await changed();
  };
  // Inherits the rest: `settings` and the like are getters, which a copy would freeze.
  const watch = (model: LaunchedModel, ready = model.ready): LaunchedModel =>
    Object.assign(Object.create(model) as LaunchedModel, {
      ready,
      scale: (least: number, most: number) => tell(model.scale(least, most)),
      load: () => tell(model.load()),
    });
  return {
    launcher: {
      ...launcher,
      launch(request) {
        const launched = launcher.launch(request);
        const ready = tell(launched.ready);
        ready.catch(() => undefined); // who waits for it hears why it failed
        return watch(launched, ready);
      },
      find: (name, version) => watch(launcher.find(name, version)),
      remove: (name, version) => tell(launcher.remove(name, version)),
    },
    // Inherits the rest: `list` is a getter, which a copy would freeze.
    models: Object.assign(Object.create(models) as Models, {
      setDefault(name: string, version: string) {
        models.setDefault(name, version);
        void changed();
      },
      setTraffic(name: string, traffic: Traffic | undefined) {
        models.setTraffic(name, traffic);
        void changed();
      },
    }),
  };
}

/** What is served, and how requests are shared out among versions. */
interface Served {
  readonly models: Readonly<Record<string, Record<string, ServedVersion>>>;
  readonly traffic: Readonly<Record<string, Traffic>>;
}

function describeServed({ models, launcher }: SnapshotOptions): Served {
  const served: Record<string, Record<string, ServedVersion>> = {};
  const traffic: Record<string, Traffic> = {};
  for (const model of models.list) {
    if (model.state === "failed") continue;
    const { settings, isIdle } = launcher.find(model.name, model.version);
    (served[model.name] ??= {})[model.version] = {
      defaultVersion: models.defaultVersion(model.name) === model.version,
      marName: /^https?:/i.test(model.origin)
        ? basename(new URL(model.origin).pathname)
        : model.origin,
      minWorkers: isIdle ? 0 : settings.minWorkers,
      maxWorkers: isIdle ? 0 : settings.maxWorkers,
      ...(settings.batchSize !== undefined && { batchSize: settings.batchSize }),
      maxBatchDelay: settings.maxBatchDelayMs,
      responseTimeout: settings.requestTimeoutMs / 1000,
      startupTimeout: settings.startupTimeoutMs / 1000,
      runtimeType: "node",
    };
    const weights = models.traffic(model.name);
    if (weights !== undefined) traffic[model.name] = weights;
  }
  return { models: served, traffic };
}

/** The text of a snapshot. TorchServe reads it too: a key that it does not know, as `traffic`, it leaves aside. */
function describe(
  name: string,
  created: number,
  { models, traffic }: Served,
  config: Config,
): string {
  const snapshot = {
    name,
    modelCount: Object.keys(models).length,
    created,
    models,
    ...(Object.keys(traffic).length > 0 && { traffic }),
  };
  const properties = new Map(config.configFile?.properties);
  if (config.modelStore !== undefined)
    properties.set("model_store", resolve(config.cwd, config.modelStore));
  properties.set("model_snapshot", JSON.stringify(snapshot));
  const lines = [...properties].map(([key, value]) => formatProperty(key, value));
  return `# Written by hubserve; the last of these files is served again at the next start\n${lines.join("\n")}\n`;
}

async function writeWhole(folder: string, name: string, text: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `.${name}.part`);
  try {
    // Settings may hold what is nobody else's business.
    await using file = await open(temporary, "w", 0o600);
    await file.writeFile(text);
    await file.sync();
    await rename(temporary, join(folder, name));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function prune(folder: string): Promise<void> {
  const names = (await readdir(folder))
    .filter((name) => /^\d{17}-(?:startup|snapshot|shutdown)\.cfg$/.test(name))
    .sort();
  for (const name of names.slice(0, -MOST_SNAPSHOTS)) await rm(join(folder, name), { force: true });
}

/** `yyyyMMddHHmmssSSS`, in UTC: local time goes back once a year. */
function toTimestamp(date: Date): string {
  return date.toISOString().replaceAll(/\D/g, "");
}
