/**
 * The register: name and version → model, from the moment somebody asked for it until it is gone.
 *
 * A model is entered before its files are here, so that health and protocols can tell "not yet" from "no such model".
 * A name may have several versions. Without a version a request goes to the name's default, the first that was entered
 * unless told otherwise, or is shared out by weights (`traffic.ts`).
 */
import { RuntimeError } from "../errors.ts";
import type { ModelDescription } from "../inference.ts";
import type { Envelope } from "../torchserve-modes.ts";
import type { Engine } from "./engine.ts";
import { chooseVersion, type Traffic } from "./traffic.ts";

/** What health says. Whether requests are answered is `Model.isReady`. */
export type ModelState =
  | "starting"
  | "ready"
  | "busy"
  | "degraded"
  | "unloaded"
  | "draining"
  | "failed";

export interface ReadyModel {
  readonly engine: Engine;
  readonly description: ModelDescription;
}

export interface Model {
  readonly name: string;
  readonly version: string;
  /** What it was registered from, as that was named. */
  readonly origin: string;
  /** The commit that is served, where the model came from the Hub. */
  readonly revision: string | undefined;
  readonly state: ModelState;
  /** Whether new requests should come here: some worker can answer, and the server is not about to end. */
  readonly isReady: boolean;
  /** What is going on, in a few words: `"Downloading owner/name"`. */
  readonly detail: string;
  /** The longest a request may take, waiting included; `undefined`: as the server says. */
  readonly requestTimeoutMs: number | undefined;
  /** What TorchServe's bodies and answers are wrapped in; nothing where absent. */
  readonly envelope: Envelope | undefined;
  readonly description: ModelDescription | undefined;
  /** The beginning of the repository's README, as plain text; once it has been ready. */
  readonly card: string | undefined;
  /** What answers it; once it has been ready. */
  readonly engine: Engine | undefined;
}

/** The hand of whoever brings a model up. */
export interface ModelEntry extends Model {
  /** Says how far the start has come. */
  progress(detail: string): void;
  started(model: ReadyModel, facts?: StartedFacts): void;
  /** It has no workers, by request. */
  unloaded(detail: string): void;
  failed(detail: string): void;
  draining(): void;
}

export interface StartedFacts {
  readonly revision?: string | undefined;
  readonly requestTimeoutMs?: number | undefined;
  readonly envelope?: Envelope | undefined;
  readonly card?: string | undefined;
}

export interface Models {
  /** Every version of every model, in the order in which they were registered. */
  readonly list: readonly Model[];
  /** @throws RuntimeError `CONFLICT` when that version is registered already. */
  register(
    name: string,
    more?: { readonly version?: string; readonly origin?: string },
  ): ModelEntry;
  /**
   * @param name Without it: the first that was registered.
   * @param version Without it: the default version.
   * @throws RuntimeError `MODEL_NOT_FOUND` or `VERSION_NOT_FOUND`.
   */
  find(name?: string, version?: string): Model;
  /**
   * The model that a request goes to.
   *
   * @param stickyKey Requests of the same key go to the same version, as long as the weights stay.
   * @throws RuntimeError as `find`, or `NOT_READY` with what the model is doing instead.
   */
  ready(
    name?: string,
    version?: string,
    stickyKey?: string,
  ): ReadyModel & { readonly model: Model };
  /** The versions of a model, oldest first. @throws RuntimeError `MODEL_NOT_FOUND`. */
  versions(name: string): readonly Model[];
  /** @throws RuntimeError as `find`. */
  defaultVersion(name: string): string;
  setDefault(name: string, version: string): void;
  traffic(name: string): Traffic | undefined;
  /** Shares requests that name no version out by weight; `undefined` ends it. @throws RuntimeError `VERSION_NOT_FOUND`. */
  setTraffic(name: string, traffic: Traffic | undefined): void;
  /**
   * Takes a version out: no request finds it any more. What runs is the engine's affair.
   *
   * @throws RuntimeError as `find`; `CONFLICT` for the default version while there are others.
   */
  remove(name: string, version?: string): Model;
}

/** The version of a model that was named without one. */
export const FIRST_VERSION = "1.0";

type Entry = ModelEntry & { readonly served: ReadyModel | undefined };

interface Family {
  readonly versions: Map<string, Entry>;
  defaultVersion: string;
  traffic: Traffic | undefined;
}

/** @param random In [0, 1). */
export function createModels(random: () => number = Math.random): Models {
  const families = new Map<string, Family>();

  function familyOf(name?: string): readonly [string, Family] {
    const known = name ?? families.keys().next().value ?? "";
    const family = families.get(known);
    if (family !== undefined) return [known, family];
    const names = [...families.keys()].map((each) => `"${each}"`).join(", ") || "none";
    throw new RuntimeError(
      "MODEL_NOT_FOUND",
      `Cannot find the model "${known}": this server has ${names}`,
    );
  }

  function entryOf(name?: string, version?: string): Entry {
    const [known, family] = familyOf(name);
    const wanted = version ?? family.defaultVersion;
    const entry = family.versions.get(wanted);
    if (entry !== undefined) return entry;
    throw noVersion(known, wanted, family);
  }

  return {
    get list() {
      return [...families.values()].flatMap(({ versions }) => [...versions.values()]);
    },
    register(name, { version = FIRST_VERSION, origin = name } = {}) {
      const family = families.get(name);
      if (family?.versions.has(version) === true) {
        throw new RuntimeError(
          "CONFLICT",
          `Cannot register version ${version} of the model "${name}": it is registered already`,
        );
      }
      const entry = createEntry(name, version, origin);
      if (family !== undefined) family.versions.set(version, entry);
      else {
        const versions = new Map([[version, entry]]);
        families.set(name, { versions, defaultVersion: version, traffic: undefined });
      }
      return entry;
    },
    find: entryOf,
    ready(name, version, stickyKey) {
      const [known, family] = familyOf(name);
      const wanted =
        version ??
        (family.traffic === undefined
          ? undefined
          : chooseVersion(family.traffic, stickyKey ?? random()));
      const entry = entryOf(known, wanted);
      // A draining model still answers: the gate closes in its own time. While dead workers are replaced requests wait.
      if (entry.served !== undefined && !["failed", "unloaded"].includes(entry.state))
        return { ...entry.served, model: entry };
      throw new RuntimeError(
        "NOT_READY",
        `Cannot answer yet: the model is ${entry.state} (${entry.detail})`,
        { retryAfterMs: 1000 },
      );
    },
    versions: (name) => [...familyOf(name)[1].versions.values()],
    defaultVersion: (name) => familyOf(name)[1].defaultVersion,
    setDefault(name, version) {
      familyOf(name)[1].defaultVersion = entryOf(name, version).version;
    },
    traffic: (name) => familyOf(name)[1].traffic,
    setTraffic(name, traffic) {
      const [known, family] = familyOf(name);
      for (const version of Object.keys(traffic ?? {}))
        if (!family.versions.has(version)) throw noVersion(known, version, family);
      family.traffic = traffic;
    },
    remove(name, version) {
      const [known, family] = familyOf(name);
      const entry = entryOf(name, version);
      if (family.versions.size > 1 && entry.version === family.defaultVersion) {
        throw new RuntimeError(
          "CONFLICT",
          `Cannot remove version ${entry.version} of the model "${known}": it is the default, and there are others`,
        );
      }
      family.versions.delete(entry.version);
      if (family.traffic !== undefined && Object.hasOwn(family.traffic, entry.version))
        family.traffic = undefined;
      if (family.versions.size === 0) families.delete(known);
      return entry;
    },
  };
}

function noVersion(name: string, version: string, { versions }: Family): RuntimeError {
  return new RuntimeError(
    "VERSION_NOT_FOUND",
    `Cannot find version ${version} of the model "${name}": it has ${[...versions.keys()].join(", ")}`,
  );
}

function createEntry(name: string, version: string, origin: string): Entry {
  let detail = "Starting";
  let served: ReadyModel | undefined;
  let facts: StartedFacts = {};
  /** What it was last said to be, where that is not for the engine to say. */
  let said: "failed" | "unloaded" | undefined;
  let isDraining = false;

  function state(): ModelState {
    if (isDraining) return "draining";
    if (said !== undefined) return said;
    const engineState = served?.engine.state ?? "starting";
    return engineState === "closed" ? "failed" : engineState;
  }

  return {
    name,
    version,
    origin,
    get revision() {
      return facts.revision;
    },
    get requestTimeoutMs() {
      return facts.requestTimeoutMs;
    },
    get envelope() {
      return facts.envelope;
    },
    get card() {
      return facts.card;
    },
    get state() {
      return state();
    },
    get isReady() {
      const hasWorker = (served?.engine.workers.ready ?? 0) > 0;
      return hasWorker && ["ready", "busy", "degraded"].includes(state());
    },
    get detail() {
      switch (state()) {
        case "ready":
          return "Ready";
        case "busy":
          return "Ready; requests wait for a worker";
        case "degraded":
          return describeLoss(served);
        case "draining":
          return "Shutting down";
        case "failed":
          return said === "failed" ? detail : "Its workers died again and again";
        case "starting":
        case "unloaded":
          return detail;
      }
    },
    get description() {
      return served?.description;
    },
    get engine() {
      return served?.engine;
    },
    get served() {
      return served;
    },
    progress: (text) => void (detail = text),
    started(model, given = {}) {
      served = model;
      facts = given;
      said = undefined;
    },
    unloaded(text) {
      said = "unloaded";
      detail = text;
    },
    failed(text) {
      said = "failed";
      detail = text;
    },
    draining: () => void (isDraining = true),
  };
}

function describeLoss(served: ReadyModel | undefined): string {
  const { ready = 0, starting = 0 } = served?.engine.workers ?? {};
  if (ready === 0) return "Its worker died; another one is starting";
  return `A worker died: ${ready} answer, ${starting} start`;
}
