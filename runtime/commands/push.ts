/**
 * `hubserve push`: a handler as one commit on the Hub, after it was shown what would change.
 */
import { readdirSync, realpathSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { Config, Surroundings } from "../config.ts";
import { RuntimeError } from "../errors.ts";
import { createLog, printResult } from "../observe/log.ts";
import { createProgressLine } from "../observe/progress.ts";
import { askForYes, createPaint, type Paint } from "../observe/terminal.ts";
import { formatBytes } from "../repository/hub-progress.ts";
import { findLocalFiles, type LocalFile } from "../repository/push-plan.ts";
import { findSecret, type Secret } from "../repository/push-secrets.ts";
import { makePush, planPush, type Pushed, type PushPlan } from "../repository/push.ts";
import { parseReference } from "../repository/reference.ts";
import { readArguments, refuse, type Arguments } from "./arguments.ts";
import { interruptibly } from "./interruption.ts";
import { PUSH } from "./manual.ts";

/** @returns The exit code. */
export async function runPush(surroundings: Surroundings): Promise<number> {
  return interruptibly((signal) => push(surroundings, signal));
}

async function push(surroundings: Surroundings, signal: AbortSignal): Promise<number> {
  const given = readArguments("push", PUSH, surroundings, 2);
  const { config, has } = given;
  if (has("public") && !has("create")) throw refuse("push", '"--public" goes with --create');
  const { folder, name, revision } = readTarget(given, surroundings.cwd);
  const files = await findFiles(folder, given.list("include"));
  await assertNoSecrets(files, has("force"));

  const log = createLog({
    level: config.logLevel,
    format: config.logFormat,
    secrets: config.token === undefined ? [] : [config.token],
  });
  const { endpoint, token } = config;
  const options = { endpoint, token, log, signal };
  const plan = await planPush({ name, revision }, files, has("create"), options);
  const isForScript = has("json");
  const paint = createPaint({ env: surroundings.env });
  if (!isForScript) printResult(describePlan(plan, endpoint, has("public"), paint));
  const count = plan.changes.filter(({ state }) => state !== "unchanged").length;
  if (has("dry-run") || count === 0) {
    if (isForScript) printResult(toJson(plan, undefined));
    else printResult(count === 0 ? "Nothing to push." : "Nothing was pushed: --dry-run.");
    return 0;
  }

  if (!has("yes")) {
    const where = has("pull-request") ? `a pull request to ${name}` : `${name}@${revision}`;
    const answer = isForScript ? undefined : await askForYes(`Push to ${where}?`);
    if (answer === undefined) {
      const text = `Cannot push to "${name}": there is no terminal to ask on; --yes pushes without asking, --dry-run only looks`;
      throw new RuntimeError("INVALID_OPTION", text);
    }
    if (!answer) {
      printResult("Nothing was pushed.");
      return 1;
    }
  }
  const pushed = await makePush(plan, {
    ...options,
    message: given.value("message") ?? "Update the handler with hubserve",
    isPullRequest: has("pull-request"),
    visibility: has("public") ? "public" : "private",
    onProgress: createProgressLine(),
  });
  if (isForScript) printResult(toJson(plan, pushed));
  else printResult(describePushed(pushed, config, name));
  return 0;
}

interface Target {
  /** Absolute, without links. */
  readonly folder: string;
  readonly name: string;
  readonly revision: string;
}

/** `push owner/name` publishes the current folder, `push folder owner/name` the named one. */
function readTarget({ words, config }: Arguments, cwd: string): Target {
  const [place = ".", address] = words.length === 1 ? [".", words[0]] : words;
  if (address === undefined) throw refuse("push", "wanted the repository's name, owner/name");
  const reference = parseReference(address, {
    cwd,
    isFolder: () => false, // what lies here under that name is not where it goes
    isFile: () => false,
    revision: config.revision,
  });
  if (reference.kind !== "hub" || !reference.name.includes("/"))
    throw refuse("push", `found "${address}", wanted the repository's name, owner/name`);
  const folder = resolve(cwd, place);
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    throw refuse("push", `there is no folder ${folder}`);
  return { folder: realpathSync(folder), name: reference.name, revision: reference.revision };
}

/** The handler with what it imports, its requirements, and what was named. */
async function findFiles(
  folder: string,
  included: readonly string[],
): Promise<readonly LocalFile[]> {
  const [{ HANDLER_FILES }, { listOwnFiles }] = await Promise.all([
    import("../handler/load.ts"),
    import("../handler/custom/own-files.ts"),
  ]);
  const names = readdirSync(folder);
  const handler = HANDLER_FILES.find((name) => names.includes(name));
  if (handler === undefined && included.length === 0) {
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot push ${folder}: it has no handler.ts; \`hubserve init\` writes one, --include <file> names other files`,
    );
  }
  return findLocalFiles(folder, [
    ...(handler === undefined ? [] : await listOwnFiles(folder, handler)),
    ...names.filter((name) => name === "requirements.json"),
    ...included,
  ]);
}

async function assertNoSecrets(files: readonly LocalFile[], isForced: boolean): Promise<void> {
  if (isForced) return;
  const found: Secret[] = [];
  for (const { file, path } of files) {
    const secret = await findSecret(file, path);
    if (secret !== undefined) found.push(secret);
  }
  if (found.length === 0) return;
  const places = found.map(
    ({ path, line, kind }) => `${path}${line === undefined ? "" : `:${line}`} (${kind})`,
  );
  throw new RuntimeError(
    "FORBIDDEN",
    `Cannot push: what looks like a secret would be published: ${places.join(", ")}; take it out, or say --force`,
  );
}

const MARKS = { added: "+", changed: "~", unchanged: "=" } as const;

function describePlan(plan: PushPlan, endpoint: string, isPublic: boolean, paint: Paint): string {
  const { name, revision, parent, changes } = plan;
  const width = Math.max(...changes.map(({ path }) => path.length));
  const colours = { added: paint.green, changed: paint.yellow, unchanged: paint.dim };
  const lines = changes.map(({ path, state, size, sizeBefore }) => {
    const sizes =
      state === "changed"
        ? `${formatBytes(sizeBefore ?? 0)} → ${formatBytes(size)}`
        : formatBytes(size);
    return colours[state](`  ${MARKS[state]} ${path.padEnd(width)}  ${state.padEnd(9)}  ${sizes}`);
  });
  const kind = isPublic ? "public" : "private";
  const what =
    parent === undefined
      ? `${endpoint}/${name}, which will be made, ${kind}`
      : `${endpoint}/${name} at ${revision}, commit ${parent.slice(0, 12)}`;
  return [what, ...lines].join("\n");
}

function describePushed(pushed: Pushed, { endpoint }: Config, name: string): string {
  if (pushed.pullRequestUrl !== undefined) return `Opened ${pushed.pullRequestUrl}`;
  const commit = pushed.commit.slice(0, 12);
  return `Pushed commit ${commit}: ${endpoint}/${name}\nServe it:  hubserve ${name}`;
}

function toJson(plan: PushPlan, pushed: Pushed | undefined): string {
  const { name, revision, parent = null } = plan;
  const files = plan.changes.map(({ path, state, size, sizeBefore = null }) => ({
    path,
    state,
    size,
    sizeBefore,
  }));
  return JSON.stringify({ repository: name, revision, parent, files, pushed: pushed ?? null });
}
