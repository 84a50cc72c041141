/**
 * What is to be known about npm: where it is, what it may see of the environment, and what its complaints mean.
 */
import { existsSync } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { redact } from "../observe/log.ts";
import { isWritable } from "../writable-folder.ts";

/** A program and the arguments before the command's own. */
export type NpmCommand = readonly [file: string, ...args: string[]];

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Finds npm: the one that started this program, the one that came with this Node, or the one on `PATH`.
 *
 * Wherever it can be, it is its JavaScript for this very Node: `npm.cmd` on Windows cannot be started without a shell.
 */
export function findNpm(
  env: Environment,
  execPath = process.execPath,
  exists: (path: string) => boolean = existsSync,
): NpmCommand {
  const script = join("node_modules", "npm", "bin", "npm-cli.js");
  const binaries = dirname(execPath);
  const started = env["npm_execpath"];
  const folders = (env["PATH"] ?? env["Path"] ?? "").split(delimiter).filter(Boolean);
  const candidates = [
    // pnpm and yarn set it too, to themselves.
    ...(started !== undefined && basename(started) === "npm-cli.js" ? [started] : []),
    join(binaries, "..", "lib", script),
    join(binaries, script),
    ...folders.map((folder) => join(folder, script)),
  ];
  const found = candidates.find(exists);
  return found === undefined ? ["npm"] : [execPath, found];
}

/**
 * The part of the environment that npm needs. The Hub's token and whatever else the server was given stay behind.
 *
 * @param scratch Makes the folder for npm's own cache and logs, where the home cannot be written, as in a cluster.
 */
export function npmEnvironment(env: Environment, scratch?: () => string): Record<string, string> {
  const kept: Record<string, string> = { ONNXRUNTIME_NODE_INSTALL: "skip" };
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && KEPT.test(name) && !REDIRECTING.test(name)) kept[name] = value;
  }
  const isTold = Object.keys(kept).some((name) => name.toLowerCase() === "npm_config_cache");
  const home = env["HOME"] ?? env["USERPROFILE"] ?? "/";
  if (scratch !== undefined && !isTold && !isWritable(join(home, ".npm")))
    kept["npm_config_cache"] = join(scratch(), "npm");
  return kept;
}

// npm's own tokens are kept: an .npmrc that names one which is not there stops npm, and no package's code runs here.
const KEPT =
  /^(?:PATH|PATHEXT|HOME|USER|USERPROFILE|APPDATA|LOCALAPPDATA|PROGRAMDATA|SYSTEMROOT|COMSPEC|TMPDIR|TEMP|TMP|LANG|LC_.*|(?:HTTPS?|ALL|NO)_PROXY|SSL_CERT_FILE|SSL_CERT_DIR|NODE_EXTRA_CA_CERTS|SSH_AUTH_SOCK|GIT_SSH_COMMAND|NPM_TOKEN|NODE_AUTH_TOKEN|NPM_CONFIG_.*)$/i;

/** Settings that a surrounding `npm start` or `npx` hands down, and that would send the packages elsewhere. */
const REDIRECTING =
  /^npm_config_(?:workspaces?|include_workspace_root|global|location|prefix|local_prefix|global_prefix|dry_run|package_lock_only|omit|include|only|production)$/i;

/** Why npm failed, as the end of a sentence. */
export function explainNpmFailure(stdout: string, stderr: string): string {
  const { code, summary, detail } = readReport(stdout) ?? readLines(stderr);
  const address = /https?:\/\/[^\s'"]+/.exec(summary)?.[0];
  const host = address !== undefined && URL.canParse(address) ? new URL(address).host : undefined;
  switch (code) {
    case "E404": {
      const named = /'((?:@[^'/]+\/)?[^'@]+)@[^']*'/.exec(detail)?.[1];
      const name = named ?? decodeURIComponent(address?.split("/").slice(3).join("/") ?? "");
      return `npm knows no package "${name}"`;
    }
    case "ETARGET": {
      const [, name, spec] =
        /No matching version found for (@?[^@\s]+)@(.+?)\.?$/m.exec(summary) ?? [];
      return name === undefined ? clean(summary) : `no version of "${name}" matches "${spec}"`;
    }
    case "ERESOLVE": {
      const clash = /Could not resolve dependency:\n(.+)/.exec(detail)?.[1];
      return `the packages do not fit each other: ${clean(clash ?? summary)}`;
    }
    case "128": // git's exit status
      return clean(/^(?:fatal|error): .*$/m.exec(detail)?.[0] ?? summary);
    default:
      if (NETWORK_CODES.test(code))
        return `the registry ${host ?? ""} cannot be reached (${code})`.replace("  ", " ");
      return `${clean(summary) || "npm gave no reason"}${code === "" ? "" : ` (${code})`}`;
  }
}

const NETWORK_CODES =
  /^(?:ENOTFOUND|EAI_AGAIN|ECONN\w+|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|EPROTO|ERR_SOCKET_TIMEOUT|FETCH_ERROR|UND_ERR_\w+|\w*CERT\w*)$/;

interface Complaint {
  readonly code: string;
  readonly summary: string;
  readonly detail: string;
}

/** What `npm install --json` prints when it fails. */
function readReport(stdout: string): Complaint | undefined {
  try {
    const report: unknown = JSON.parse(stdout.slice(stdout.indexOf("{")));
    if (!hasError(report)) return undefined;
    const { code, summary, detail } = report.error;
    return { code: toText(code), summary: toText(summary), detail: toText(detail) };
  } catch {
    return undefined;
  }
}

function hasError(report: unknown): report is { error: Record<keyof Complaint, unknown> } {
  if (typeof report !== "object" || report === null || !("error" in report)) return false;
  return typeof report.error === "object" && report.error !== null;
}

function toText(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

/** npm's error lines, of which the first says the most; an npm that breaks early prints nothing else. */
function readLines(stderr: string): Complaint {
  const lines = stderr
    .split("\n")
    .map((line) => /^npm (?:error|ERR!) ?(.*)$/.exec(line)?.[1] ?? "")
    .filter((line) => line !== "" && !/^(?:code|errno|syscall|path) |^A complete log/.test(line));
  const code = /^npm (?:error|ERR!) code (\S+)$/m.exec(stderr)?.[1] ?? "";
  const summary = (lines[0] ?? stderr.trim().split("\n").at(-1) ?? "").replace(
    /^(?:404|notarget) /,
    "",
  );
  return { code, summary, detail: lines.join("\n") };
}

/** The first line without secrets and without paths of the cache, which help nobody. */
function clean(text: string): string {
  const line = text.split("\n", 1)[0] ?? "";
  const plain = hideCredentials(redact(line.slice(0, MAX_REASON_CHARS)));
  return plain.replace(/(?<![\w:/.])\/[^\s'"]*\/requirements\/[^\s'"]*/g, "…");
}

/** Enough for npm's longest sentences. */
const MAX_REASON_CHARS = 300;

/** `https://me:secret@host/x` → `https://[redacted]@host/x`. */
export function hideCredentials(text: string): string {
  return text.replace(/\/\/[^\s/@:]*:[^\s/@]*@/g, "//[redacted]@");
}
