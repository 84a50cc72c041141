/**
 * Bytes as JSON, checked before they are parsed: the sentences for what is wrong with them never quote them.
 */
import { RuntimeError } from "../errors.ts";

/** @throws `INVALID_INPUT`, with the place where it breaks. */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes.byteLength === 0) {
    throw new RuntimeError(
      "INVALID_INPUT",
      'Cannot read the body: it is empty, wanted JSON such as {"inputs": "…"}',
    );
  }
  const text = decodeText(bytes);
  assertModest(bytes);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RuntimeError(
      "INVALID_INPUT",
      `Cannot read the body: it is not valid JSON${whereItBreaks(error)}`,
      { cause: error },
    );
  }
}

/** V8's own sentences quote the body; its position is what helps. */
function whereItBreaks(error: unknown): string {
  const message = error instanceof Error ? error.message : "";
  if (message.includes("end of JSON input")) return "; it ends too early";
  const position = /position (\d+)/.exec(message)?.[1];
  return position === undefined ? "" : `; it breaks off at character ${position}`;
}

/** Nesting beyond any real payload overflows the stack of whoever walks it. */
const MAX_JSON_DEPTH = 200;

/** Lists, objects and keys: two bytes of a body become an object of some hundred, so that 64 MiB could fill the memory. */
const MOST_JSON_PARTS = 2_000_000;

function assertModest(bytes: Uint8Array): void {
  let parts = 0;
  let depth = 0;
  let isInString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (isInString) {
      if (byte === 0x5c) i++; // a backslash takes the next byte with it
      else if (byte === 0x22) isInString = false;
    } else if (byte === 0x22) isInString = true;
    else if (byte === 0x3a) parts++;
    else if (byte === 0x5b || byte === 0x7b) {
      parts++;
      if (++depth > MAX_JSON_DEPTH) {
        throw new RuntimeError(
          "INVALID_INPUT",
          `Cannot read the body: its JSON is nested deeper than ${MAX_JSON_DEPTH} levels`,
        );
      }
    } else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  if (parts > MOST_JSON_PARTS) {
    throw new RuntimeError(
      "INVALID_INPUT",
      `Cannot read the body: its JSON has ${parts} lists, objects and keys, wanted at most ${MOST_JSON_PARTS}`,
    );
  }
}

/** @throws `INVALID_INPUT` for bytes that are no UTF-8. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch (error) {
    throw new RuntimeError("INVALID_INPUT", "Cannot read the body: it is not valid UTF-8", {
      cause: error,
    });
  }
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });
