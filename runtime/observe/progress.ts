/**
 * One line on a terminal that is drawn over again: how far a download has come.
 *
 * Log lines clear it first (`observe/log.ts`); where there is no terminal nothing is drawn, and the log has plain
 * lines instead.
 */

export interface Progress {
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly filesDone: number;
  readonly filesTotal: number;
}

/** What a progress line is drawn on: `process.stderr`, or a test's stand-in. */
export interface Terminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Back to the line's beginning, and clear it. */
export const CLEAR_LINE = "\r\u001b[2K";

const BAR_WIDTH = 24;

/** @returns A function that draws, or `undefined` where `terminal` is none. */
export function createProgressLine(
  terminal: Terminal = process.stderr,
): ((progress: Progress) => void) | undefined {
  if (terminal.isTTY !== true) return undefined;
  return (progress) => {
    const isDone = progress.filesDone === progress.filesTotal;
    terminal.write(
      CLEAR_LINE + (isDone ? "" : toLine(progress).slice(0, (terminal.columns ?? 80) - 1)),
    );
  };
}

/** `[████████░░░░] 12.3 of 45.6 MB, 3 of 7 files` */
function toLine({ bytesDone, bytesTotal, filesDone, filesTotal }: Progress): string {
  const share = bytesTotal === 0 ? 1 : Math.min(1, bytesDone / bytesTotal);
  const filled = Math.round(share * BAR_WIDTH);
  const bar = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
  return `[${bar}] ${toMegabytes(bytesDone)} of ${toMegabytes(bytesTotal)} MB, ${filesDone} of ${filesTotal} files`;
}

function toMegabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
