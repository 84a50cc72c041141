/**
 * Writes `docs/options.md` from the rows of `options.ts`: `npm run docs`.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describeOptions } from "../runtime/config.ts";
import { defaultTextOf, otherNamesOf, spellingOf, type OptionRow } from "../runtime/options.ts";

const INTRODUCTION = `# Options

Every option can also be set as \`HUBSERVE_<OPTION>\`, as in \`HUBSERVE_MAX_BODY_SIZE\`; the last column has the other variables that are read. A flag wins over
a variable, that over the files of the repository (\`model-config.yaml\`), these over \`config.properties\` (\`--ts-config\`), that over the default.
\`hubserve config\` prints each value with its origin. This page is written by \`npm run docs\`.`;

/** The page in Markdown. */
export function optionsPage(): string {
  const rows = describeOptions().map(({ row }) => row);
  const groups = [...new Set(rows.map(({ group }) => group))].map((group) => {
    const lines = rows.filter((row) => row.group === group).map(toLine);
    const head = ["| option | meaning | default | also |", "|---|---|---|---|"];
    return [`## ${group}`, "", ...head, ...lines].join("\n");
  });
  return `${[INTRODUCTION, ...groups].join("\n\n")}\n`;
}

function toLine(row: OptionRow): string {
  const also = otherNamesOf(row).map((variable) => `\`${variable}\``);
  return `| \`${spellingOf(row)}\` | ${row.meaning} | ${defaultTextOf(row)} | ${also.join(", ")} |`;
}

export const OPTIONS_PAGE = fileURLToPath(new URL("../docs/options.md", import.meta.url));
if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(OPTIONS_PAGE, optionsPage());
