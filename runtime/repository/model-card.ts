/**
 * The beginning of a repository's model card, for people who want to know what is served.
 *
 * It is somebody else's text: whoever shows it shows it as text.
 */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";

/** What cards are called on the Hub; the first that is there counts. */
const FILES = ["README.md", "readme.md"] as const;

/** 64 KiB: front matter with hundreds of results of evaluations has been seen to take 30. */
const MOST_READ_BYTES = 64 * 1024;

/** Some screens: what a model is stands at the beginning. */
const MOST_CHARACTERS = 6_000;

/**
 * @param folder The repository, absolute.
 * @returns Markdown without its front matter; `undefined` where there is no card, or one that cannot be read or says nothing.
 */
export function readModelCard(folder: string): string | undefined {
  for (const file of FILES) {
    const text = readBeginning(join(folder, file));
    if (text !== undefined) return toCard(text);
  }
  return undefined;
}

function readBeginning(path: string): string | undefined {
  try {
    if (!statSync(path).isFile()) return undefined; // a named pipe would be waited for
    const file = openSync(path, "r");
    try {
      const bytes = Buffer.alloc(MOST_READ_BYTES);
      const read = readSync(file, bytes, 0, MOST_READ_BYTES, 0);
      return new TextDecoder().decode(bytes.subarray(0, read), { stream: true }); // half a character is left out
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined; // a card is nice to have: no model stays away for want of it
  }
}

function toCard(text: string): string | undefined {
  const plain = text.replaceAll("\r\n", "\n");
  const isFronted = /^---\s*\n/.test(plain);
  const front = isFronted ? /^---\s*\n[\s\S]*?\n---\s*(?:\n|$)/.exec(plain) : null;
  if (isFronted && front === null) return undefined; // nothing but front matter, as far as it was read
  const body = plain.slice(front?.[0].length ?? 0).trim();
  if (body === "") return undefined;
  if (body.length <= MOST_CHARACTERS) return body;
  const cut = body.slice(0, MOST_CHARACTERS).replace(/[\uD800-\uDBFF]$/, ""); // no half characters
  const end = cut.lastIndexOf("\n");
  return `${(end > MOST_CHARACTERS / 2 ? cut.slice(0, end) : cut).trim()}\n…`;
}
