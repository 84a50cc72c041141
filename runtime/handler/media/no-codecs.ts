/**
 * The smaller image of hubserve has no codecs: what stands in their places says so (`scripts/prune-runtime.mjs --text`).
 */
import { RuntimeError } from "../../errors.ts";

/** @returns What to tell the client; `undefined` where the codecs are there and something else went wrong. */
export function codecsMissing(error: unknown): RuntimeError | undefined {
  const isMissing = error instanceof Error && "code" in error && error.code === "NO_CODECS";
  return isMissing ? new RuntimeError("NOT_SUPPORTED", error.message, { cause: error }) : undefined;
}
