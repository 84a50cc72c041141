/**
 * Tables for a terminal.
 */

export interface Column {
  readonly title: string;
  /** Text stands left, numbers stand right. */
  readonly align?: "left" | "right";
}

/** @returns Lines; each column as wide as its widest cell. */
export function drawTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const widths = columns.map(({ title }, i) =>
    Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ align = "right" }, i) => {
        const [cell, width] = [cells[i] ?? "", widths[i] ?? 0];
        return align === "left" ? cell.padEnd(width) : cell.padStart(width);
      })
      .join("  ")
      .trimEnd();
  return [line(columns.map(({ title }) => title)), line(widths.map((width) => "─".repeat(width)))]
    .concat(rows.map(line))
    .join("\n");
}

/** A number with three figures that matter: `0.0123`, `1.23`, `123`, `12345`; `n/a` for what is not known. */
export function figure(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return "n/a";
  if (value === 0) return "0";
  const digits = 2 - Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(4, Math.max(0, digits)));
}

export function mebibytes(bytes: number | undefined): string {
  return bytes === undefined ? "n/a" : (bytes / 2 ** 20).toFixed(0);
}

export function percent(share: number | undefined): string {
  return share === undefined ? "n/a" : `${(share * 100).toFixed(1)} %`;
}
