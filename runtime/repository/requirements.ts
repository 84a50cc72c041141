/**
 * Installs what a repository's `requirements.json` asks for, with npm, into hubserve's own cache.
 *
 * Nothing is written into the repository. The folder's name is a hash of what is asked for and of what it is built
 * for, so it is made once and never changed: npm works in a temporary folder beside it, which is renamed when all is
 * there. A killed install leaves only that, and a later one sweeps it away; of two at once, one wins and both use it.
 * No package's install script runs.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isRuntimeError, RuntimeError, systemCodeOf, toRuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { temporaryFolder, writableFolder } from "../writable-folder.ts";
import { readRequirements, REQUIREMENTS_FILE, type Requirement } from "./requirements-file.ts";
import {
  explainNpmFailure,
  findNpm,
  hideCredentials,
  npmEnvironment,
  type Environment,
  type NpmCommand,
} from "./requirements-npm.ts";

export interface InstallOptions {
  /** The repository's folder, absolute. */
  readonly repository: string;
  /** hubserve's own cache, `~/.cache/hubserve`. */
  readonly cacheDir: string;
  readonly env: Environment;
  readonly signal: AbortSignal;
  readonly log: Log;
  /** How npm is started; found by itself when absent. */
  readonly npm?: NpmCommand;
  readonly timeoutMs?: number;
}

/** Ten minutes: many large packages over a slow line, but not a line that is dead. */
const INSTALL_TIMEOUT_MS = 10 * 60_000;

/** How long npm may take to end after SIGTERM; SIGKILL follows. */
const NPM_GRACE_MS = 2_000;

/** Temporary folders older than this belong to installs that were killed: six times the longest install. */
const STALE_AFTER_MS = 6 * INSTALL_TIMEOUT_MS;

/** How much of npm's output is kept, from its end. */
const MAX_OUTPUT_CHARS = 64 * 1024;

/** Packages that every handler shares with the runtime (see `SHARED_PACKAGES` of the handler's side): never installed. */
export const BROUGHT_ALONG: readonly string[] = [
  "@huggingface/transformers",
  "hubserve",
  "onnxruntime-common",
  "onnxruntime-node",
];

/**
 * Makes sure that the packages are there.
 *
 * @returns The folder whose `node_modules` holds them; `undefined` when nothing is asked for.
 * @throws {RuntimeError} `REQUIREMENTS_FAILED` with what npm said, in a sentence; `CANCELLED` when `signal` fires.
 */
export async function installRequirements(options: InstallOptions): Promise<string | undefined> {
  const { repository, cacheDir, signal, log } = options;
  if (existsSync(join(repository, "requirements.txt"))) {
    log.info(
      `Found requirements.txt, which is Python's: a handler.ts has its packages in ${REQUIREMENTS_FILE}`,
    );
  }
  const listed = await readRequirements(repository);
  const wanted = listed?.filter(({ name }) => !BROUGHT_ALONG.includes(name)) ?? [];
  const brought = listed?.filter(({ name }) => BROUGHT_ALONG.includes(name)) ?? [];
  if (brought.length > 0) {
    log.info(`Not installing what hubserve brings along: ${toList(brought)}`);
  }
  if (wanted.length === 0) return undefined;

  const key = keyOf(wanted);
  const usual = join(cacheDir, "requirements", key);
  if (existsSync(usual)) return use(usual, log);
  // A cache that may not be written still serves what it has.
  const shelf = writableFolder(join(cacheDir, "requirements"), "requirements", log);
  const folder = join(shelf, key);
  if (folder !== usual && existsSync(folder)) return use(folder, log);
  const count = wanted.length === 1 ? "1 package" : `${wanted.length} packages`;
  log.info(`Installing ${count} that ${REQUIREMENTS_FILE} asks for: ${toList(wanted)}`);
  const startedAtMs = performance.now();
  try {
    signal.throwIfAborted();
    await mkdir(shelf, { recursive: true });
    await removeStale(shelf);
    const added = await installInto(folder, join(shelf, `.${key}-`), wanted, options);
    const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(1);
    log.info(
      `Installed ${added === 1 ? "1 package" : `${added ?? "the"} packages`} in ${seconds} s`,
    );
    return folder;
  } catch (error) {
    throw toFailure(error, signal);
  }
}

/** What a repository asks for beyond what is brought along, and the folder of it where it is installed already. */
export async function findInstalled(
  repository: string,
  cacheDir: string,
): Promise<{ readonly wanted: readonly Requirement[]; readonly folder?: string }> {
  const listed = await readRequirements(repository);
  const wanted = listed?.filter(({ name }) => !BROUGHT_ALONG.includes(name)) ?? [];
  const folder = join(cacheDir, "requirements", keyOf(wanted));
  return { wanted, ...(wanted.length > 0 && existsSync(folder) && { folder }) };
}

function use(folder: string, log: Log): string {
  log.debug(`Using the packages that ${REQUIREMENTS_FILE} asks for`, { folder });
  return folder;
}

/** Names a set of packages by all that decides what npm makes of it. */
function keyOf(wanted: readonly Requirement[]): string {
  const { versions, platform, arch } = process;
  const node = versions.node.split(".")[0];
  const packages = wanted.map(({ name, spec }) => [name, spec]);
  const content = JSON.stringify({ packages, node, abi: versions.modules, platform, arch });
  return createHash("sha256").update(content).digest("hex").slice(0, 24);
}

function toList(packages: readonly Requirement[]): string {
  const names = packages.map(({ name, spec }) => (spec === "" ? name : `${name}@${spec}`));
  return hideCredentials(names.join(", "));
}

/** @returns How many packages npm added, if it told. */
async function installInto(
  folder: string,
  temporaryPrefix: string,
  wanted: readonly Requirement[],
  options: InstallOptions,
): Promise<number | undefined> {
  const temporary = await mkdtemp(temporaryPrefix);
  try {
    const dependencies = Object.fromEntries(wanted.map(({ name, spec }) => [name, spec]));
    const manifest = { private: true, description: "Installed by hubserve", dependencies };
    await writeFile(join(temporary, "package.json"), JSON.stringify(manifest));
    const stdout = await runNpm(temporary, options);
    await publish(temporary, folder);
    return addedBy(stdout);
  } finally {
    await rm(temporary, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Renames the finished folder; if another process was faster, its folder holds the same. */
async function publish(temporary: string, folder: string): Promise<void> {
  try {
    await chmod(temporary, 0o755); // mkdtemp closes it to other users, who may share the cache
    await rename(temporary, folder);
  } catch (error) {
    // ENOTEMPTY and EEXIST say so themselves; Windows says EPERM.
    if (!existsSync(folder)) throw error;
  }
}

/** @returns What npm printed. */
async function runNpm(
  cwd: string,
  { env, signal, log, npm = findNpm(env), timeoutMs = INSTALL_TIMEOUT_MS }: InstallOptions,
): Promise<string> {
  const [file, ...first] = npm;
  const timeout = AbortSignal.timeout(timeoutMs);
  const ended = AbortSignal.any([signal, timeout]);
  const child = spawn(file, [...first, ...NPM_ARGUMENTS, "--prefix", cwd], {
    cwd,
    env: npmEnvironment(env, temporaryFolder),
    stdio: ["ignore", "pipe", "pipe"],
    windowsHide: true,
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout = keepEnd(stdout + text)));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = keepEnd(stderr + text)));

  let killing: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill("SIGTERM");
    killing = setTimeout(() => child.kill("SIGKILL"), NPM_GRACE_MS);
  };
  if (ended.aborted) stop();
  ended.addEventListener("abort", stop, { once: true });
  try {
    const { code, by } = await new Promise<{ code: number | null; by: string | null }>(
      (resolve, reject) => {
        child.on("error", reject);
        child.on("close", (code, by) => resolve({ code, by }));
        // A git that npm started may hold the pipes open for longer.
        child.on("exit", (code, by) => ended.aborted && resolve({ code, by }));
      },
    );
    signal.throwIfAborted();
    if (timeout.aborted)
      throw new RuntimeError(
        "REQUIREMENTS_FAILED",
        `${FAILED}: npm took longer than ${timeoutMs / 1000} s`,
      );
    if (stderr !== "") log.debug("npm said", { stderr });
    if (code === 0) return stdout;
    const why = by === null ? explainNpmFailure(stdout, stderr) : `npm was ended by ${by}`;
    throw new RuntimeError("REQUIREMENTS_FAILED", `${FAILED}: ${why}`);
  } finally {
    clearTimeout(killing);
    ended.removeEventListener("abort", stop);
  }
}

const NPM_ARGUMENTS = [
  "install",
  "--json",
  "--ignore-scripts",
  "--omit=dev",
  "--no-audit",
  "--no-fund",
  "--no-package-lock",
  "--no-update-notifier",
  "--loglevel=error",
  // npm 12 refuses git and web addresses unless told; these allow the ones that requirements.json itself names.
  "--allow-git=root",
  "--allow-remote=root",
] as const;

const FAILED = `Cannot install the packages of ${REQUIREMENTS_FILE}`;

function keepEnd(text: string): string {
  return text.length > MAX_OUTPUT_CHARS ? text.slice(-MAX_OUTPUT_CHARS) : text;
}

function addedBy(stdout: string): number | undefined {
  const added = /"added":\s*(\d+)/.exec(stdout)?.[1];
  return added === undefined ? undefined : Number(added);
}

async function removeStale(shelf: string): Promise<void> {
  for (const name of await readdir(shelf)) {
    if (!name.startsWith(".")) continue;
    const path = join(shelf, name);
    try {
      const { mtimeMs } = await stat(path);
      if (Date.now() - mtimeMs > STALE_AFTER_MS) await rm(path, { recursive: true, force: true });
    } catch {
      // Somebody else removed it.
    }
  }
}

function toFailure(error: unknown, signal: AbortSignal): RuntimeError {
  if (signal.aborted) {
    if (isRuntimeError(signal.reason)) return signal.reason;
    return new RuntimeError("CANCELLED", `${FAILED}: it was cancelled`, { cause: error });
  }
  if (
    systemCodeOf(error) === "ENOENT" &&
    error instanceof Error &&
    "syscall" in error &&
    String(error.syscall).startsWith("spawn")
  ) {
    return new RuntimeError(
      "REQUIREMENTS_FAILED",
      `${FAILED}: npm was not found; it comes with Node`,
      { cause: error },
    );
  }
  const code = systemCodeOf(error);
  if (code === undefined || isRuntimeError(error))
    return toRuntimeError(error, "REQUIREMENTS_FAILED", FAILED);
  const text = `${FAILED}: the cache folder cannot be written (${code})`;
  return new RuntimeError("REQUIREMENTS_FAILED", text, { cause: error });
}
