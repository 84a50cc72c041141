/**
 * Writes TASKS.md, a page on every task of the shelf: `npm run docs`.
 *
 * Each task is asked its example through the HTTP face, with a small model of the tests, so that what the page shows
 * was really answered. `test/tasks-page.test.ts` asks again.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadDefaultHandler } from "../runtime/handler/default.ts";
import {
  BEAM_PARAMETERS,
  GENERATION_PARAMETERS,
  STOP_PARAMETERS,
} from "../runtime/handler/model/generation-parameters.ts";
import { toOutput } from "../runtime/handler/output/output.ts";
import { TASKS, type TaskEntry } from "../runtime/handler/tasks/registry.ts";
import { silentLog } from "../runtime/observe/log.ts";
import { createTestApp } from "../test/support/app-matrix.ts";
import { EMBEDDED, modelPath } from "../test/support/goldens.ts";
import { EXAMPLES, FILES, type Ask, type Example } from "../test/support/task-examples.ts";

/** The page in Markdown. */
export async function tasksPage(): Promise<string> {
  const parts = [INTRODUCTION];
  for (const entry of [...TASKS].sort((a, b) => a.name.localeCompare(b.name)))
    parts.push(await section(entry));
  parts.push(sharedParameters());
  return `${parts.join("\n\n")}\n`;
}

const INTRODUCTION = `# Tasks

What the default handler serves. Written by \`npm run docs\`, which asks each example of one of the tests' small models (the answers are real, the models know
little), and checked by \`test/tasks-page.test.ts\`.

An image or a sound may be the body itself, base64 or a data URL in \`inputs\`, a file of a form, or a URL of a host that \`--allow-url-inputs\` names. Parameters
go into \`parameters\`, beside a binary body into the query, in a form into fields of their own. Answers are shown in the toolkit's shape; Hugging Face's
clients get the one they parse.`;

async function section(entry: TaskEntry): Promise<string> {
  const { name, aliases } = entry;
  const task = await entry.load();
  const also =
    aliases.length === 0 ? "" : ` Also ${aliases.map((alias) => `\`${alias}\``).join(", ")}.`;
  const example = EXAMPLES[name];
  if (example === undefined) throw new Error(`TASKS.md has no example for the task ${name}`);
  const { about, ask } = example;
  const answer = await answerOf(name, example);
  const shown = answer === undefined ? [] : [`# ${answer}`];
  return [
    `## ${name}`,
    "",
    `${about}${also}`,
    "",
    "```sh",
    toCommand(ask),
    ...shown,
    "```",
    "",
    `Parameters: ${describeParameters(Object.keys(task.parameters.shape))}.`,
  ].join("\n");
}

/** Parameters that many tasks share, each group under a name. */
const GROUPS: readonly (readonly [name: string, keys: readonly string[]])[] = [
  ["generation", Object.keys(GENERATION_PARAMETERS)],
  ["beam search", Object.keys(BEAM_PARAMETERS)],
  ["stop texts", Object.keys(STOP_PARAMETERS)],
];

function describeParameters(keys: readonly string[]): string {
  const whole = GROUPS.filter(([, members]) => members.every((key) => keys.includes(key)));
  const grouped = new Set(whole.flatMap(([, members]) => members));
  const own = keys.filter((key) => !grouped.has(key)).map((key) => `\`${key}\``);
  const names = whole.map(([name]) => name).join(", ");
  const link = names === "" ? [] : [`those of [${names}](#parameters-that-tasks-share)`];
  return [...own, ...link].join(", ") || "none";
}

function sharedParameters(): string {
  const lines = GROUPS.map(
    ([name, keys]) => `- **${name}:** ${keys.map((key) => `\`${key}\``).join(", ")}`,
  );
  return ["## Parameters that tasks share", "", ...lines].join("\n");
}

/** What the command prints, on one line. */
async function answerOf(
  name: string,
  { model, isMute = false, ask }: Example,
): Promise<string | undefined> {
  if (model === undefined) return undefined;
  const repository = model.startsWith("/") ? model : modelPath(model);
  const handler = await loadDefaultHandler({ repository, task: name, dtype: "fp32" }, silentLog());
  try {
    const app = createTestApp({
      description: handler.description,
      maxBodyBytes: 10_000_000,
      async answer(request, { signal }) {
        const context = { signal, requestId: request.id, headers: {}, log: silentLog() };
        return toOutput(await handler.call(request, context));
      },
    });
    const query = "query" in ask ? `?${ask.query}` : "";
    const response = await app.request(`/${query}`, { method: "POST", ...toBody(ask) });
    const type = response.headers.get("content-type") ?? "";
    if (response.status === 200 && type !== "application/json") return `a file: ${type}`;
    const answer: unknown = await response.json();
    if (response.status !== 200) throw new Error(`${name}: ${JSON.stringify(answer)}`);
    return JSON.stringify(shorten(answer, isMute)).replaceAll('"…"', "…");
  } finally {
    await handler.dispose();
  }
}

function toBody(ask: Ask): RequestInit {
  if ("json" in ask) {
    return { body: JSON.stringify(ask.json), headers: { "content-type": "application/json" } };
  }
  const bytes = readFileSync(FILES[ask.file].path);
  if (!("form" in ask)) return { body: bytes };
  const form = new FormData();
  form.append("file", new Blob([bytes]), FILES[ask.file].name);
  for (const [key, value] of Object.entries(ask.form)) form.append(key, value);
  return { body: form };
}

function toCommand(ask: Ask): string {
  const url = "http://localhost:8080";
  if ("json" in ask) {
    const body = JSON.stringify(ask.json).replaceAll("'", "'\\''"); // as a shell reads it
    return `curl ${url} -H 'Content-Type: application/json' -d '${body}'`;
  }
  const { name } = FILES[ask.file];
  if ("form" in ask) {
    const fields = Object.entries(ask.form).map(([key, value]) => `-F '${key}=${value}'`);
    return [`curl ${url}`, `-F file=@${name}`, ...fields].join(" ");
  }
  return `curl ${ask.query === undefined ? url : `'${url}?${ask.query}'`} --data-binary @${name}`;
}

/** Long lists and texts by their beginning, numbers by their first digits, and what is not worth showing not at all. */
function shorten(value: unknown, isMute: boolean): unknown {
  if (typeof value === "number")
    return Number.isInteger(value) ? value : Number(value.toPrecision(4));
  if (typeof value === "string")
    return isMute ? "…" : value.length <= 100 ? value : `${value.slice(0, 12)}…`;
  if (Array.isArray(value)) {
    const shown = value.slice(0, 3).map((element) => shorten(element, isMute));
    return value.length > 3 ? [...shown, "…"] : shown;
  }
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, shorten(inner, isMute)]);
  return Object.fromEntries(entries);
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(join(EMBEDDED, "TASKS.md"), await tasksPage());
