/**
 * Scores as bars. Those between 0 and 1 are shares of the whole; others, which may be below 0, are drawn against the largest.
 */
import { h } from "./dom.ts";

export interface Bar {
  readonly label: string;
  readonly score: number;
  /** A sentence beside it. */
  readonly detail?: string | undefined;
}

/** More would be a wall; the JSON has them all. */
const MOST = 30;

export function bars(all: readonly Bar[]): HTMLElement {
  const shown = all.slice(0, MOST);
  const isShare = shown.every(({ score }) => score >= -1 && score <= 1.0001);
  const whole = isShare ? 1 : Math.max(...shown.map(({ score }) => Math.abs(score)), 1e-9);
  const rows = shown.map(({ label, score, detail }) => {
    const bar = h("span", { class: score < 0 ? "bar below" : "bar" });
    bar.style.width = `${Math.min(1, Math.abs(score) / whole) * 100}%`;
    return h(
      "li",
      {},
      h("span", { class: "what" }, label),
      h("span", { class: "much" }, isShare ? percent(score) : score.toFixed(3)),
      h("span", { class: "track", "aria-hidden": "true" }, bar),
      detail !== undefined && h("span", { class: "quiet detail" }, detail),
    );
  });
  return h(
    "div",
    {},
    h("ol", { class: "bars" }, ...rows),
    all.length > shown.length &&
      h("p", { class: "quiet" }, `and ${all.length - shown.length} more`),
  );
}

/** `0.9712` → `97.1 %`. */
export function percent(share: number): string {
  return `${(share * 100).toFixed(Math.abs(share) < 0.001 && share !== 0 ? 3 : 1)} %`;
}
