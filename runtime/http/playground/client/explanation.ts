/**
 * An explanation as a heat map over the words: warm ones spoke for what is explained, cold ones against it.
 */
import type { JsonValue } from "../../../inference.ts";
import { h } from "./dom.ts";
import { isFields, isList, numberIn, textIn, type Fields } from "./json.ts";
import type { Values } from "./tasks.ts";

interface Heat {
  readonly start: number;
  readonly end: number;
  readonly importance: number;
  /** Which of two texts. */
  readonly of: string | undefined;
}

/** What an explanation's numbers are called; question answering has two. */
const NUMBERS: readonly (readonly [key: string, suffix: string])[] = [
  ["importance", ""],
  ["importance_answer_start", ", where the answer begins"],
  ["importance_answer_end", ", where it ends"],
];

export function showExplanation(explanation: Fields, values: Values): HTMLElement {
  const { target, delta } = explanation;
  const spans = isList(explanation["spans"]) ? explanation["spans"].filter(isFields) : [];
  const maps = NUMBERS.flatMap(([key, suffix]) => {
    const heats = spans.flatMap((span) => toHeat(span, key));
    if (heats.length === 0) return [];
    const texts = textsOf(values).flatMap(([name, text], _, all) => {
      const own = heats.filter(({ of }) => of === undefined || all.length === 1 || of === name);
      return own.length === 0 ? [] : [heatMap(text, own)];
    });
    return [h("h3", {}, `Why${suffix}?`), ...texts];
  });
  return h(
    "section",
    { class: "explanation", "aria-label": "Explanation" },
    ...(maps.length > 0 ? maps : [h("p", { class: "quiet" }, "There is nothing to explain")]),
    h(
      "p",
      { class: "quiet" },
      target === undefined ? "" : `Explained: ${say(target)}. `,
      h("span", { class: "for" }, "Warm"),
      " words spoke for it, ",
      h("span", { class: "against" }, "cold"),
      ` ones against it.${typeof delta === "number" ? ` Off by ${Math.abs(delta).toFixed(4)}.` : ""}`,
    ),
  );
}

function say(target: JsonValue): string {
  return typeof target === "string" ? `“${target}”` : JSON.stringify(target);
}

function toHeat(span: Fields, key: string): readonly Heat[] {
  const [start, end] = [numberIn(span, "start"), numberIn(span, "end")];
  const importance = numberIn(span, key);
  if (start === undefined || end === undefined || importance === undefined) return [];
  return [{ start, end, importance, of: textIn(span, "of") }];
}

/** The form's texts under the names that explanations give them. */
function textsOf({
  text,
  pair,
  question,
  context,
}: Values): readonly (readonly [string, string])[] {
  const named = { text, text_pair: pair, question, context };
  return Object.entries(named).flatMap(([name, value]) =>
    typeof value === "string" ? [[name, value] as const] : [],
  );
}

function heatMap(text: string, heats: readonly Heat[]): HTMLElement {
  const letters = Array.from(text);
  const parts: (Node | string)[] = [];
  let at = 0;
  for (const { start, end, importance } of [...heats].sort((a, b) => a.start - b.start)) {
    if (start < at || end <= start) continue;
    parts.push(letters.slice(at, start).join(""));
    const number = `${importance < 0 ? "−" : "+"}${Math.abs(importance).toFixed(2)}`;
    const word = h(
      "span",
      { class: importance < 0 ? "heat against" : "heat for", title: number },
      letters.slice(start, end).join(""),
      h("small", {}, number),
    );
    word.style.setProperty("--heat", Math.min(1, Math.abs(importance)).toFixed(3));
    parts.push(word);
    at = end;
  }
  parts.push(letters.slice(at).join(""));
  return h("p", { class: "prose heatmap" }, ...parts);
}
