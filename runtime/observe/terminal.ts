/**
 * What a command may know of the terminal: whether there is one, whether it wants colours, and how to ask a question.
 */
import { createInterface } from "node:readline/promises";

/** Functions that colour a text, or leave it as it is. */
export interface Paint {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly red: (text: string) => string;
  readonly green: (text: string) => string;
  readonly yellow: (text: string) => string;
}

export interface PaintOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether the text goes to a terminal; stdout by default. */
  readonly isTerminal?: boolean;
}

/**
 * Colours where a terminal is, unless told otherwise: `NO_COLOR` (no-color.org) turns them off, `FORCE_COLOR` on or, with
 * `0`, off. Where both are set `FORCE_COLOR` wins, as in Node itself.
 */
export function createPaint({ env, isTerminal = process.stdout.isTTY }: PaintOptions): Paint {
  const forced = env["FORCE_COLOR"];
  const isOn =
    forced !== undefined
      ? !["0", "false"].includes(forced)
      : !env["NO_COLOR"] && env["TERM"] !== "dumb" && isTerminal;
  const paint =
    (from: number, to: number) =>
    (text: string): string =>
      isOn && text !== "" ? `\u001b[${from}m${text}\u001b[${to}m` : text;
  return {
    bold: paint(1, 22),
    dim: paint(2, 22),
    red: paint(31, 39),
    green: paint(32, 39),
    yellow: paint(33, 39),
  };
}

export interface Asking {
  readonly input?: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly output?: NodeJS.WritableStream;
}

/**
 * Asks for a yes; everything else is a no.
 *
 * @returns `undefined` where nobody can be asked.
 */
export async function askForYes(
  question: string,
  { input = process.stdin, output = process.stderr }: Asking = {},
): Promise<boolean | undefined> {
  if (input.isTTY !== true) return undefined;
  const reader = createInterface({ input, output });
  // The reader takes Ctrl-C for itself; whoever watches for it should hear of it.
  reader.once("SIGINT", () => {
    process.emit("SIGINT", "SIGINT");
    reader.close();
  });
  try {
    // Ctrl-D ends the input without an answer.
    const closed = new Promise<string>((resolve) => reader.once("close", () => resolve("")));
    const answer = await Promise.race([reader.question(`${question} [y/N] `), closed]);
    return /^y(?:es)?$/i.test(answer.trim());
  } finally {
    reader.close();
  }
}
