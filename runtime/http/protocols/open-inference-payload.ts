/**
 * A `BYTES` element that is itself a request's body: `{"text": "…", "target": 1}`, as KServe's samples for TorchServe send it.
 */
import { isRuntimeError } from "../../errors.ts";
import { parseJson } from "../json-body.ts";

export type Payload = Readonly<Record<string, unknown>>;

const [BRACE, SPACES] = [0x7b, new Set([0x20, 0x09, 0x0a, 0x0d])];

/** @returns `undefined` for text that is no JSON object. */
export function readPayload(element: Uint8Array): Payload | undefined {
  let at = 0;
  while (SPACES.has(element[at] ?? 0)) at++;
  if (element[at] !== BRACE) return undefined;
  try {
    return parseJson(element) as Payload; // JSON that begins with a brace is an object
  } catch (error) {
    if (!isRuntimeError(error)) throw error;
    return undefined; // text that only looks like JSON is text
  }
}
