/**
 * `hubserve config`: every option's value and where it came from, for a person or, with `--json`, for a script.
 */
import { describeOptions, readConfig, type Surroundings } from "./config.ts";
import { printResult } from "./observe/log.ts";

/** @returns The exit code. */
export function showConfig(surroundings: Surroundings): Promise<number> {
  const args = surroundings.args.filter((arg) => arg !== "--json");
  const config = readConfig({ ...surroundings, args });
  const rows = describeOptions().map(({ name, row }) => {
    const value = config[name];
    // Whether there is one may be said, what it is may not.
    const shown = row.isSecret && value !== undefined ? "***" : value;
    return { flag: row.flag, value: shown, origin: config.origins[name] };
  });
  if (args.length < surroundings.args.length) {
    const entries = rows.map(({ flag, value, origin }) => [flag, { value: value ?? null, origin }]);
    printResult(JSON.stringify(Object.fromEntries(entries), null, 2));
    return Promise.resolve(0);
  }
  const texts = rows.map(({ flag, value, origin }) => ({ flag, origin, text: toText(value) }));
  const widths = [
    Math.max(...texts.map(({ flag }) => flag.length)),
    Math.max(...texts.map(({ text }) => text.length)),
  ] as const;
  for (const { flag, text, origin } of texts)
    printResult(`${flag.padEnd(widths[0])}  ${text.padEnd(widths[1])}  ${origin}`);
  for (const warning of config.configFile?.warnings ?? []) printResult(`\n${warning}`);
  return Promise.resolve(0);
}

function toText(value: string | number | boolean | readonly string[] | undefined): string {
  if (value === undefined) return "-";
  if (typeof value === "object") return value.length === 0 ? "-" : value.join(",");
  return String(value);
}
