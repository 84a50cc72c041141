/**
 * The register: name → model, from the moment somebody asked for it until it is gone.
 *
 * A model is entered before its files are here, so that health and protocols can tell "not yet" from "no such model".
 */
import { RuntimeError } from "../errors.ts";
import type { ModelDescription } from "../inference.ts";
import type { Engine } from "./engine.ts";

/** What health says. Whether requests are answered is `Model.isReady`. */
export type ModelState = "starting" | "ready" | "busy" | "degraded" | "draining" | "failed";

export interface ReadyModel {
  readonly engine: Engine;
  readonly description: ModelDescription;
}

export interface Model {
  readonly name: string;
  /** The commit that is served, where the model came from the Hub. */
  readonly revision: string | undefined;
  readonly state: ModelState;
  /** Whether new requests should come here: some worker can answer, and the server is not about to end. */
  readonly isReady: boolean;
  /** What is going on, in a few words: `"Downloading owner/name"`. */
  readonly detail: string;
  readonly description: ModelDescription | undefined;
  /** What answers it; once it has been ready. */
  readonly engine: Engine | undefined;
}

/** The hand of whoever brings a model up. */
export interface ModelEntry extends Model {
  /** Says how far the start has come. */
  progress(detail: string): void;
  started(model: ReadyModel, revision: string | undefined): void;
  failed(detail: string): void;
  draining(): void;
}

export interface Models {
  readonly list: readonly Model[];
  register(name: string): ModelEntry;
  /** @throws RuntimeError `MODEL_NOT_FOUND`. Without a name: the first that was registered. */
  find(name?: string): Model;
  /** @throws RuntimeError `MODEL_NOT_FOUND`, or `NOT_READY` with what the model is doing instead. */
  ready(name?: string): ReadyModel;
}

export function createModels(): Models {
  const entries: (ModelEntry & { readonly served: ReadyModel | undefined })[] = [];

  function entryOf(name?: string): (typeof entries)[number] {
    const entry = name === undefined ? entries[0] : entries.find((entry) => entry.name === name);
    if (entry !== undefined) return entry;
    const known = entries.map((entry) => `"${entry.name}"`).join(", ") || "none";
    throw new RuntimeError(
      "MODEL_NOT_FOUND",
      `Cannot find the model "${name}": this server has ${known}`,
    );
  }

  return {
    list: entries,
    register(name) {
      const entry = createEntry(name);
      entries.push(entry);
      return entry;
    },
    find: entryOf,
    ready(name) {
      const entry = entryOf(name);
      // A draining model still answers: the gate closes in its own time. While dead workers are replaced requests wait.
      if (entry.served !== undefined && entry.state !== "failed") return entry.served;
      throw new RuntimeError(
        "NOT_READY",
        `Cannot answer yet: the model is ${entry.state} (${entry.detail})`,
        {
          retryAfterMs: 1000,
        },
      );
    },
  };
}

function createEntry(name: string): ModelEntry & { readonly served: ReadyModel | undefined } {
  let detail = "Starting";
  let served: ReadyModel | undefined;
  let revision: string | undefined;
  let hasFailed = false;
  let isDraining = false;

  function state(): ModelState {
    if (isDraining) return "draining";
    if (hasFailed) return "failed";
    const state = served?.engine.state ?? "starting";
    return state === "closed" ? "failed" : state;
  }

  return {
    name,
    get revision() {
      return revision;
    },
    get state() {
      return state();
    },
    get isReady() {
      const hasWorker = (served?.engine.workers.ready ?? 0) > 0;
      return hasWorker && state() !== "draining" && state() !== "failed";
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
          return hasFailed ? detail : "Its workers died again and again";
        case "starting":
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
    started(model, commit) {
      served = model;
      revision = commit;
    },
    failed(text) {
      hasFailed = true;
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
