/**
 * Numbers as a strip of colours: one cell a number, one row a vector.
 */
import type { JsonValue } from "../../../inference.ts";
import { h } from "./dom.ts";
import { isList, isNumbers } from "./json.ts";

/** Cells; what is beyond is in the JSON. */
const MOST_COLUMNS = 1024;
const MOST_ROWS = 48;

/** The sizes of nested lists of numbers, by their first elements; `undefined` for anything else. */
export function shapeOf(value: JsonValue): readonly number[] | undefined {
  if (isNumbers(value)) return [value.length];
  if (!isList(value) || value.length === 0) return undefined;
  const inner = shapeOf(value[0] ?? null);
  return inner === undefined ? undefined : [value.length, ...inner];
}

export function heatStrip(value: JsonValue, shape: readonly number[]): HTMLElement {
  const rows = rowsOf(value).slice(0, MOST_ROWS);
  const columns = Math.min(MOST_COLUMNS, Math.max(...rows.map((row) => row.length)));
  const most = Math.max(1e-9, ...rows.flatMap((row) => row.slice(0, columns).map(Math.abs)));
  const canvas = h("canvas", { width: columns, height: rows.length, "aria-hidden": "true" });
  canvas.style.height = `${Math.min(320, Math.max(36, rows.length * 8))}px`;
  const pen = canvas.getContext("2d");
  const pixels = pen?.createImageData(columns, rows.length);
  rows.forEach((row, y) => {
    for (let x = 0; x < Math.min(columns, row.length); x++)
      pixels?.data.set(colourOf((row[x] ?? 0) / most), (y * columns + x) * 4);
  });
  if (pixels !== undefined) pen?.putImageData(pixels, 0, 0);
  const [first = []] = rows;
  const norm = Math.sqrt(first.reduce((sum, number) => sum + number * number, 0));
  return h(
    "div",
    { class: "strip" },
    canvas,
    h(
      "p",
      { class: "quiet" },
      `${shape.join(" × ")} numbers, from −${most.toFixed(2)} (blue) to ${most.toFixed(2)} (red)`,
      rows.length === 1 ? `, of length ${norm.toFixed(3)}` : "",
    ),
  );
}

function rowsOf(value: JsonValue): readonly (readonly number[])[] {
  if (isNumbers(value)) return [value];
  return isList(value) ? value.slice(0, MOST_ROWS).flatMap(rowsOf) : [];
}

/** Blue at −1, clear at 0, red at 1. */
function colourOf(share: number): readonly [number, number, number, number] {
  const strength = Math.round(255 * Math.min(1, Math.abs(share)));
  return share < 0 ? [46, 110, 200, strength] : [208, 72, 48, strength];
}
