/**
 * What the engine refuses it says by Hugging Face's names. Clients of other protocols sent other ones, and are told those.
 */
import { isRuntimeError, RuntimeError } from "../../errors.ts";

/** @param names Hugging Face's name → the protocol's. */
export function inWordsOf(
  error: unknown,
  names: Readonly<Record<string, string>>,
): { readonly message: string; readonly name: string | undefined } | undefined {
  if (!isRuntimeError(error) || error.code !== "INVALID_INPUT") return undefined;
  const found = /"([a-z_]+)"/.exec(error.message)?.[1];
  const name = found === undefined ? undefined : names[found];
  const message = error.message.replace(/"([a-z_]+)"/g, (quoted, word: string) => {
    const own = names[word];
    return own === undefined ? quoted : `"${own}"`;
  });
  return { message, name };
}

/** Waits for work, and tells its refusals by other names. */
export async function toldIn<T>(
  names: Readonly<Record<string, string>>,
  work: Promise<T>,
): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const told = inWordsOf(error, names);
    throw told === undefined ? error : new RuntimeError("INVALID_INPUT", told.message);
  }
}
