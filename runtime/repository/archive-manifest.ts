/**
 * `MAR-INF/MANIFEST.json`: what an archive says of itself.
 *
 * The keys and the sentences are those of TorchServe 0.12 (`Manifest.java`, `ModelArchive.validate`); the runtime
 * `node` is hubserve's own. An archive without a manifest has the defaults: it is called as its file is.
 */
import { z } from "zod";
import { messageOf } from "../errors.ts";
import { ENVELOPES, type Envelope } from "../torchserve-modes.ts";
import { refused } from "./archive-entries.ts";

/** A folder that has it is an archive that was never packed. */
export const MANIFEST_FILE = "MAR-INF/MANIFEST.json";

/** 1 MiB: real ones have ten lines. */
export const LONGEST_MANIFEST_BYTES = 1024 * 1024;

/** `node` is served; the others are recognized. `LSP` is TorchServe's C++ backend. */
export const RUNTIMES = ["node", "python", "python3", "LSP"] as const;
export type ArchiveRuntime = (typeof RUNTIMES)[number];

const text = z.string().nullish();

const ManifestFile = z.looseObject({
  createdOn: text,
  runtime: z.unknown().optional(),
  model: z
    .looseObject({
      modelName: z.unknown().optional(),
      modelVersion: z.unknown().optional(),
      serializedFile: text,
      handler: text,
      modelFile: text,
      requirementsFile: text,
      configFile: text,
      envelope: text,
    })
    .nullish(),
  archiverVersion: text,
});

/** A manifest that was checked. File names are bare: they lie at the archive's root. */
export interface Manifest {
  readonly runtime: ArchiveRuntime;
  readonly modelName: string;
  readonly modelVersion: string;
  readonly serializedFile?: string;
  readonly handler?: string;
  readonly modelFile?: string;
  readonly requirementsFile?: string;
  readonly configFile?: string;
  /** What its requests and answers are wrapped in. */
  readonly envelope?: Envelope;
}

/**
 * @param archive The archive's file name, for messages.
 * @throws RuntimeError `REPOSITORY_INVALID` with TorchServe's sentence.
 */
export function parseManifest(archive: string, json: string): Manifest {
  let content: unknown;
  try {
    content = JSON.parse(json);
  } catch (error) {
    throw refused(archive, `${MANIFEST_FILE} is no JSON (${messageOf(error)})`, error);
  }
  const { success, data, error } = ManifestFile.safeParse(content);
  if (!success) {
    const where = error.issues[0]?.path.join(".") || "it";
    throw refused(archive, `${MANIFEST_FILE} is no manifest: ${where} is of the wrong type`);
  }
  const { model } = data;
  if (!model) throw refused(archive, "Missing Model entry in manifest file.");
  const modelName = toText(model.modelName);
  if (modelName === undefined) throw refused(archive, "Model name is not defined.");
  const modelVersion = toText(model.modelVersion);
  if (modelVersion === undefined) throw refused(archive, "Model version is not defined.");
  const envelope = ENVELOPES.find((known) => known === model.envelope);
  if (model.envelope && envelope === undefined) {
    const wanted = ENVELOPES.join(", ");
    const found = model.envelope.slice(0, 80);
    throw refused(archive, `its envelope is "${found}", wanted one of ${wanted}`);
  }
  const runtime = RUNTIMES.find((known) => known === data.runtime);
  if (runtime === undefined) throw refused(archive, "Runtime is not defined or invalid.");
  return {
    runtime,
    modelName,
    modelVersion,
    ...pick(model, "serializedFile"),
    ...pick(model, "handler"),
    ...pick(model, "modelFile"),
    ...pick(model, "requirementsFile"),
    ...pick(model, "configFile"),
    ...(envelope !== undefined && { envelope }),
  };
}

/** Old archivers wrote versions as numbers. */
function toText(value: unknown): string | undefined {
  if (typeof value === "number") return String(value);
  return typeof value === "string" && value.trim() !== "" ? value.trim() : undefined;
}

/** The key alone, its folders cut off, where there is something under it. */
function pick<K extends string>(
  model: Readonly<Record<string, unknown>>,
  key: K,
): { readonly [Key in K]?: string } {
  const value = model[key];
  if (typeof value !== "string" || value.trim() === "") return {};
  // Proof of the cast: the one key is K, its value a string.
  return { [key]: value.split(/[\\/]/).at(-1) } as { readonly [Key in K]?: string };
}
