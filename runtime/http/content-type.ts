/**
 * Media types as headers name them.
 */

/** `"Application/JSON; charset=utf-8"` → `"application/json"`. */
export function essenceOf(contentType: string): string {
  return (contentType.split(";", 1)[0] ?? "").trim().toLowerCase();
}

export function isJsonType(essence: string): boolean {
  return (
    essence === "application/json" ||
    essence === "text/json" ||
    /^application\/[\w.-]+\+json$/.test(essence)
  );
}

/** Types under which clients send JSON, or anything at all, without saying so. */
const UNTOLD_TYPES: ReadonlySet<string> = new Set([
  "",
  "application/octet-stream",
  "application/x-www-form-urlencoded",
  "binary/octet-stream",
]);

export function isUntold(essence: string): boolean {
  return UNTOLD_TYPES.has(essence);
}

/** A header's value fit to be quoted in a sentence. */
export function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 100);
}
