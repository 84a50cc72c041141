/**
 * Writes the README's table of options from the rows of `options.ts`: `npm run docs`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describeOptions } from "../runtime/config.ts";
import { defaultTextOf, otherNamesOf, spellingOf } from "../runtime/options.ts";

const BEGIN = /(<!-- options:[^>]*-->\n)[\s\S]*?(<!-- \/options -->)/;

/** The table in Markdown. */
export function optionsTable(): string {
  const lines = describeOptions().map(({ row }) => {
    const also = otherNamesOf(row).map((variable) => `\`${variable}\``);
    return `| \`${spellingOf(row)}\` | ${row.meaning} | ${defaultTextOf(row)} | ${also.join(", ")} |`;
  });
  return ["| option | meaning | default | also |", "|---|---|---|---|", ...lines].join("\n");
}

/** `readme` with its table written anew. */
export function withOptionsTable(readme: string): string {
  return readme.replace(
    BEGIN,
    (_match, begin: string, end: string) => `${begin}${optionsTable()}\n${end}`,
  );
}

const path = fileURLToPath(new URL("../README.md", import.meta.url));
if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(path, withOptionsTable(readFileSync(path, "utf8")));
