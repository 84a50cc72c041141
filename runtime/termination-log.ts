/**
 * The file in which Kubernetes looks for a container's last words.
 *
 * The kubelet puts an empty file there and shows what a container that ended has written to it; KServe copies it into
 * `status.modelStatus.lastFailureInfo.message`. Where there is no such file nobody would read one, so none is created.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { messageOf, systemCodeOf } from "./errors.ts";
import type { Log } from "./observe/log.ts";

export const TERMINATION_LOG = "/dev/termination-log";

/** The kubelet reads no more of one container: `MaxPodTerminationMessageLogLength` shared out, 4 KiB. */
export const MOST_TERMINATION_BYTES = 4096;

/** Writes why the program ends, where somebody wants to know. Never throws: this is said on the way out. */
export function writeTerminationLog(path: string, reason: string, log: Log): void {
  try {
    // Without O_CREAT; a pipe with nobody behind it must not hold the end up.
    const file = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    try {
      if (!fstatSync(file).isFile()) return;
      ftruncateSync(file);
      writeSync(file, clip(reason, MOST_TERMINATION_BYTES));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (systemCodeOf(error) === "ENOENT") return; // not in a container
    log.warn(`Cannot write why the program ends to ${path}: ${messageOf(error)}`);
  }
}

const ELLIPSIS = "…";

/** As much of a text as fits into so many bytes of UTF-8, without half a character at its end. */
function clip(text: string, mostBytes: number): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.byteLength <= mostBytes) return bytes;
  let end = mostBytes - Buffer.byteLength(ELLIPSIS);
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--; // a byte in the middle of a character
  return Buffer.concat([bytes.subarray(0, end), Buffer.from(ELLIPSIS)]);
}
