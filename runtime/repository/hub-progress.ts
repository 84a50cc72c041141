/**
 * How far a download is: numbers for a caller that draws, or now and then a line in the log.
 */
import type { Log } from "../observe/log.ts";
import type { Progress } from "../observe/progress.ts";
import { quote } from "./hub-errors.ts";

/** Counts the files that were not here yet; bytes that an earlier start left count as done. */
export type HubProgress = Progress;

export interface ProgressOptions {
  readonly name: string;
  readonly bytesTotal: number;
  readonly filesTotal: number;
  readonly log: Log;
  readonly now: () => number;
  /** Draws; without it the log says the same in lines. */
  readonly onProgress?: ((progress: HubProgress) => void) | undefined;
}

export interface ProgressMeter {
  /** Negative when bytes must come again. */
  addBytes(bytes: number): void;
  addFiles(files: number): void;
  /** Says that all is done. */
  finish(): void;
}

/** A person does not see more. */
const DRAW_INTERVAL_MS = 100;
/** A line takes both, so that neither a fast nor a slow download fills the log … */
const LINE_INTERVAL_MS = 10_000;
const LINE_SHARE = 0.1;
/** … but nobody should wonder for longer whether anything happens. */
const MAX_SILENCE_MS = 60_000;

export function createProgressMeter({
  name,
  bytesTotal,
  filesTotal,
  log,
  now,
  onProgress,
}: ProgressOptions): ProgressMeter {
  const startedAtMs = now();
  const progress = { bytesDone: 0, bytesTotal, filesDone: 0, filesTotal };
  let shown = { atMs: startedAtMs, bytes: 0 };
  const what = `${filesTotal} ${filesTotal === 1 ? "file" : "files"} of ${quote(name)}`;

  const draw = onProgress && ((): void => onProgress({ ...progress }));
  const sayShare = (): void => {
    const share = bytesTotal === 0 ? 1 : progress.bytesDone / bytesTotal;
    const numbers = `${formatBytes(progress.bytesDone)} of ${formatBytes(bytesTotal)}`;
    log.info(`Downloaded ${Math.floor(share * 100)} % of ${what}: ${numbers}`);
  };
  const show = draw ?? sayShare;
  if (draw) draw();
  else log.info(`Downloading ${what}: ${formatBytes(bytesTotal)}`);

  const isDue = (): boolean => {
    const silentMs = now() - shown.atMs;
    if (draw) return silentMs >= DRAW_INTERVAL_MS;
    const share = (progress.bytesDone - shown.bytes) / bytesTotal;
    return (silentMs >= LINE_INTERVAL_MS && share >= LINE_SHARE) || silentMs >= MAX_SILENCE_MS;
  };

  return {
    addBytes: (bytes) => {
      progress.bytesDone += bytes;
      if (!isDue()) return;
      shown = { atMs: now(), bytes: progress.bytesDone };
      show();
    },
    addFiles: (files) => {
      progress.filesDone += files;
    },
    finish: () => {
      const seconds = ((now() - startedAtMs) / 1000).toFixed(1);
      if (draw) draw();
      else log.info(`Downloaded ${what}: ${formatBytes(bytesTotal)} in ${seconds} s`);
    },
  };
}

/** Decimal units, as the Hub shows them. */
export function formatBytes(bytes: number): string {
  const units = ["kB", "MB", "GB", "TB"];
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes / 1000;
  let unit = 0;
  // From 999.95 on one decimal would show "1000.0".
  for (; value >= 999.95 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${value.toFixed(1)} ${units[unit]}`;
}
