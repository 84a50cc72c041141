/**
 * Opens a decoder's graph that tells its new columns, and lets everyone else see it as it was exported.
 */
import { join } from "node:path";

import { InferenceSession } from "onnxruntime-node";

import { messageOf } from "../../errors.ts";
import type { TaskModel } from "../tasks/task.ts";
import type { AutoModelClass } from "./encoder.ts";
import { loadNetwork } from "./encoder.ts";
import type { LoadedNetwork } from "./decoder-files.ts";
import { attendsByDistance, readWithNewColumns, type ColumnsSource } from "./new-columns.ts";

/** The session behind a network's `sessions.model`. */
export interface ColumnsSession {
  readonly session: InferenceSession;
  /** An output `present…` → the output that has its new columns. */
  readonly columns: ReadonlyMap<string, string>;
}

/**
 * @returns `undefined` where the graph is of another kind, or anything goes wrong: loading it as it is says what.
 */
export async function loadWithNewColumns(
  { onSession, ...model }: TaskModel,
  autoModel: AutoModelClass,
  options: InferenceSession.SessionOptions,
): Promise<LoadedNetwork | undefined> {
  const source = await sourceOf(model);
  if (source === undefined) return undefined;
  // transformers.js opens files only. So it opens the file in the cheapest way, and its session is released before ours is
  // made: there are never two.
  const network = await loadNetwork(model, autoModel, {
    ...options,
    graphOptimizationLevel: "disabled",
    extra: { session: { disable_prepacking: "1" } },
  });
  const placeholder: InferenceSession & { readonly config?: unknown } = network.sessions["model"];
  await placeholder.release();
  const session = await open(source, model, options);
  if (session === undefined) return undefined;
  const { columns } = source;
  const exported = asExported(session, new Set(columns.values()));
  network.sessions["model"] = Object.assign(exported, { config: placeholder.config });
  onSession?.(exported);
  return Object.assign(network, { columns: { session, columns } });
}

async function sourceOf(model: TaskModel): Promise<ColumnsSource | undefined> {
  const { folder, weights, device = "cpu" } = model;
  const graphs = weights.files.filter((file) => file.endsWith(".onnx"));
  const [file] = graphs;
  const isOne = graphs.length === 1 && weights.components["model"] !== undefined;
  if (!isOne || file === undefined || device !== "cpu") return undefined;
  if (attendsByDistance(folder.config)) return undefined;
  try {
    return await readWithNewColumns(join(folder.repository, file));
  } catch {
    return undefined; // whoever loads the file as it is says what is wrong with it
  }
}

async function open(
  { bytes, options }: ColumnsSource,
  { intraOpThreads, note }: TaskModel,
  more: InferenceSession.SessionOptions,
): Promise<InferenceSession | undefined> {
  try {
    return await InferenceSession.create(bytes, {
      ...more,
      ...options,
      executionProviders: ["cpu"],
      logSeverityLevel: 3,
      ...(intraOpThreads !== undefined && { intraOpNumThreads: intraOpThreads }),
    });
  } catch (error) {
    note?.({
      level: "warn",
      text: `Copying the whole cache at every step: onnxruntime refuses the graph with its new columns as outputs: ${messageOf(error)}`,
    });
    return undefined;
  }
}

/** The session without some of its outputs: who does not say which are wanted does not get them. */
function asExported(session: InferenceSession, hidden: ReadonlySet<string>): InferenceSession {
  const outputNames = session.outputNames.filter((name) => !hidden.has(name));
  return {
    inputNames: session.inputNames,
    outputNames,
    inputMetadata: session.inputMetadata,
    outputMetadata: session.outputMetadata.filter(({ name }) => !hidden.has(name)),
    run(
      feeds: InferenceSession.FeedsType,
      fetches?: InferenceSession.FetchesType | InferenceSession.RunOptions,
      options?: InferenceSession.RunOptions,
    ) {
      // Nobody here gives options without outputs.
      return session.run(feeds, (fetches ?? outputNames) as InferenceSession.FetchesType, options);
    },
    release: () => session.release(),
    startProfiling: () => session.startProfiling(),
    endProfiling: () => session.endProfiling(),
  };
}
