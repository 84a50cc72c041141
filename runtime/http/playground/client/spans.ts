/**
 * Places in a text, coloured by what they are. Places count code points, as the server's do.
 */
import { h } from "./dom.ts";
import { percent } from "./bars.ts";

export interface Span {
  readonly start: number;
  readonly end: number;
  /** What it is; nothing is written beside it where empty. */
  readonly label: string;
  readonly score?: number | undefined;
}

/** The text with its spans marked; of spans that overlap the first counts. */
export function markSpans(text: string, spans: readonly Span[]): HTMLElement {
  const letters = Array.from(text);
  const parts: (Node | string)[] = [];
  let at = 0;
  for (const { start, end, label, score } of [...spans].sort((a, b) => a.start - b.start)) {
    if (start < at || end <= start) continue;
    parts.push(letters.slice(at, start).join(""));
    const mark = h(
      "mark",
      { title: score === undefined ? undefined : percent(score) },
      letters.slice(start, end).join(""),
      label !== "" && h("small", {}, label),
    );
    mark.style.setProperty("--hue", String(hueOf(kindOf(label))));
    parts.push(mark);
    at = end;
  }
  parts.push(letters.slice(at).join(""));
  return h("p", { class: "prose spans" }, ...parts);
}

/** `B-PER` and `I-PER` are one kind. */
function kindOf(label: string): string {
  return label.replace(/^[BIES]-/, "");
}

/** Those that most taggers have, far from each other; others by their name. */
const HUES: Readonly<Record<string, number>> = { "": 165, PER: 270, LOC: 150, ORG: 45, MISC: 330 };

/** In degrees; always the same for the same word. */
export function hueOf(word: string): number {
  const known = Object.hasOwn(HUES, word) ? HUES[word] : undefined;
  if (known !== undefined) return known;
  let hash = 7;
  for (const letter of word) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) % 3600;
  return (hash * 47) % 360;
}
