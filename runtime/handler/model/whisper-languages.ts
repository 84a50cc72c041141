/**
 * The languages that a Whisper model knows, by the names that clients use: `de`, `german`, `<|de|>`.
 */

/** Names of OpenAI's list that are not those of the Unicode CLDR. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  castilian: "es",
  cantonese: "yue",
  flemish: "nl",
  haitian: "ht",
  "haitian creole": "ht",
  javanese: "jw",
  letzeburgesch: "lb",
  mandarin: "zh",
  maori: "mi",
  moldavian: "ro",
  moldovan: "ro",
  myanmar: "my",
  nynorsk: "nn",
  panjabi: "pa",
  pushto: "ps",
  sinhalese: "si",
  tagalog: "tl",
  valencian: "ca",
};

/** Those of them that Whisper's tokenizer writes. */
const WHISPERS_OWN = new Set([
  "cantonese",
  "haitian creole",
  "javanese",
  "maori",
  "myanmar",
  "nynorsk",
  "tagalog",
]);

/**
 * The code of a language.
 *
 * @param codes Those that the model knows.
 * @returns `undefined` for a language that it does not know.
 */
export function findLanguage(given: string, codes: readonly string[]): string | undefined {
  const wanted = given
    .trim()
    .toLowerCase()
    .replace(/^<\|(.*)\|>$/, "$1");
  if (codes.includes(wanted)) return wanted;
  const other = OTHER_NAMES[wanted];
  if (other !== undefined) return codes.includes(other) ? other : undefined;
  const names = new Intl.DisplayNames("en", { type: "language" });
  return codes.find((code) => names.of(code)?.toLowerCase() === wanted);
}

/** A language's name as Whisper's tokenizer writes it: `german`. */
export function languageName(code: string): string {
  const other = Object.entries(OTHER_NAMES).find(
    ([name, own]) => own === code && WHISPERS_OWN.has(name),
  );
  const names = new Intl.DisplayNames("en", { type: "language" });
  return other?.[0] ?? names.of(code)?.toLowerCase() ?? code;
}
