/**
 * Which model a V1 path means, and what is to be done: `/v1/models/{name}[/versions/{version}][:predict|:explain]`.
 *
 * Names may have slashes, as they are or encoded, and colons: what follows the last one is a verb only where it is a known one.
 * Versions are TensorFlow Serving's, from which the protocol comes.
 */
import type { Models } from "../../engine/models.ts";
import { RuntimeError, type ErrorCode } from "../../errors.ts";
import { lookUpName } from "../model-name.ts";

export interface V1Path {
  readonly name: string;
  /** `undefined`: the default version, or by weight. */
  readonly version: string | undefined;
  readonly verb: "predict" | "explain" | undefined;
}

const PREFIX = "/v1/models/";

/** @param path As it came, still encoded. */
export function readPath(path: string): V1Path {
  const rest = decode(path.slice(PREFIX.length)).replace(/\/$/, "");
  const [, target = rest, verb] = /^(.+):(predict|explain)$/s.exec(rest) ?? [];
  const [, name = target, version] = /^(.+)\/versions\/([^/]+)$/s.exec(target) ?? [];
  return { name, version, verb: verb === "predict" || verb === "explain" ? verb : undefined };
}

/** The registered name of the model. @throws RuntimeError with KServe's own sentence. */
export function resolveName({ name, version }: V1Path, models: Models): string {
  const known = lookUpName(name, models);
  if (known === undefined) throw missing("MODEL_NOT_FOUND", `Model with name ${clip(name)}`);
  if (version === undefined || models.versions(known).some((each) => each.version === version))
    return known;
  throw missing("VERSION_NOT_FOUND", `Version ${clip(version)} of the model with name ${known}`);
}

function missing(code: ErrorCode, what: string): RuntimeError {
  return new RuntimeError(code, `${what} does not exist.`);
}

function clip(text: string): string {
  return text.length <= 100 ? text : `${text.slice(0, 100)}…`;
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // a stray percent sign; it will name no model
  }
}
