/**
 * A command that Ctrl-C or SIGTERM ends in order: it lets go of what it holds, then the exit code says which it was.
 */

/** What a shell tells of a program that a signal ended: 128 and the signal's number. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Runs `work` with a signal that an interruption fires; a second one ends the process at once.
 *
 * @returns Its exit code, or the interruption's.
 */
export async function interruptibly(
  work: (signal: AbortSignal) => Promise<number>,
): Promise<number> {
  const ending = new AbortController();
  let code: number | undefined;
  const watched = (["SIGINT", "SIGTERM"] as const).map((name) => {
    const listener = (): void => {
      if (code !== undefined) process.exit(code);
      code = EXIT_CODES[name];
      ending.abort();
    };
    process.on(name, listener);
    return () => process.off(name, listener);
  });
  try {
    const done = await work(ending.signal);
    return code ?? done;
  } catch (error) {
    if (code === undefined) throw error;
    return code;
  } finally {
    for (const unwatch of watched) unwatch();
  }
}
