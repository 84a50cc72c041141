/**
 * Draws explanations: `npm run docs` writes `docs/explanation.svg` with it, from the answer of the embedded model.
 *
 * A word is red where it spoke for what is explained, blue where it spoke against, the stronger the more.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { loadDefaultHandler } from "../runtime/handler/default.ts";
import type { Explanation } from "../runtime/handler/explain/answer.ts";
import { silentLog } from "../runtime/observe/log.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const PICTURE = join(ROOT, "docs/explanation.svg");

/** What the picture explains: the texts that the embedded model's golden has explanations of. */
export const TEXTS: readonly string[] = [
  "I am quite excited how this will turn out",
  "I'm scared of the dark",
  "that really made me furious",
  "I love my little sister",
];

/** Pixels. A typewriter's letters are 0.6 of their size wide, so that no text has to be measured. */
const LETTER = { size: 16, width: 9.6 } as const;
const ROW = { height: 58, margin: 14, label: 82 } as const;

/** One line for each explanation. */
export function drawHeatMap(explanations: readonly Explanation[]): string {
  const lines = explanations.map(drawLine);
  const width = Math.max(...lines.map((line) => line.width)) + ROW.margin;
  const height = lines.length * ROW.height + ROW.margin;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="monospace" font-size="${LETTER.size}">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...lines.map(
      ({ content }, row) =>
        `<g transform="translate(${ROW.margin} ${row * ROW.height + ROW.margin})">${content}</g>`,
    ),
    "</svg>",
    "",
  ].join("\n");
}

function drawLine({ target, spans }: Explanation): {
  readonly content: string;
  readonly width: number;
} {
  let x: number = ROW.label;
  const parts = [
    `<text y="22" fill="#555555">${escape(typeof target === "string" ? target : JSON.stringify(target))}</text>`,
  ];
  for (const { word, importance } of spans) {
    const width = Math.max(Array.from(word).length, 4) * LETTER.width + 10;
    const middle = (x + width / 2).toFixed(1);
    parts.push(
      `<rect x="${x.toFixed(1)}" y="4" width="${width.toFixed(1)}" height="26" rx="4" fill="${colourOf(importance)}"/>`,
      `<text x="${middle}" y="22" text-anchor="middle" fill="#000000">${escape(word)}</text>`,
      `<text x="${middle}" y="44" text-anchor="middle" font-size="11" fill="#777777">${signed(importance)}</text>`,
    );
    x += width + 4;
  }
  return { content: parts.join("\n"), width: Math.ceil(x) + ROW.margin };
}

/** White at 0, red at 1, blue at −1. */
function colourOf(importance: number): string {
  const strength = Math.min(1, Math.abs(importance));
  const pale = Math.round(255 - 165 * strength);
  return importance >= 0 ? `rgb(255,${pale},${pale})` : `rgb(${pale},${pale},255)`;
}

function signed(importance: number): string {
  const text = Math.abs(importance).toFixed(2);
  return text === "0.00" ? text : `${importance < 0 ? "−" : "+"}${text}`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Asks the embedded model why it answers as it does. */
export async function explain(texts: readonly string[]): Promise<Explanation[]> {
  const handler = await loadDefaultHandler({ repository: ROOT, dtype: "fp32" }, silentLog());
  const context = {
    signal: new AbortController().signal,
    requestId: "docs",
    log: silentLog(),
    headers: {},
  };
  const answer = await handler.call(
    { id: "docs", kind: "explain", data: { inputs: texts }, headers: {} },
    context,
  );
  await handler.dispose();
  return answer as Explanation[]; // of a list of texts
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(PICTURE, drawHeatMap(await explain(TEXTS)));
}
