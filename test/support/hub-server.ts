/**
 * A Hub on 127.0.0.1 for tests: the API, the files, and the refusals as huggingface.co gives them.
 *
 * Large files are redirected to a second origin, as the Hub does to its CDN; that one refuses every `Authorization`,
 * as the store behind the real one does. `hub.requests` has what both were asked. To make it fail, `hub.misbehave`.
 *
 * ```ts
 * await using hub = await startHubServer({
 *   repositories: { "owner/name": { files: { "config.json": "{}", "onnx/model.onnx": { lfs: bytes } } } },
 * });
 * ```
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createUploads, type CommitMessage } from "./hub-uploads.ts";

/** A file kept in git, or one in the store of large files. */
export type HubFile = string | Uint8Array | { readonly lfs: string | Uint8Array };
export type HubFiles = Readonly<Record<string, HubFile>>;

export interface HubRepository {
  /** What `main` holds. */
  readonly files: HubFiles;
  /** Further branches, tags and references such as `refs/pr/1`. */
  readonly revisions?: Readonly<Record<string, HubFiles>>;
  readonly private?: boolean;
  readonly gated?: boolean;
  readonly disabled?: boolean;
  readonly task?: string;
  /** Changes what the tree lists: for names and hashes that a real Hub would not let in. */
  readonly listing?: (entries: readonly TreeEntry[]) => readonly unknown[];
}

export interface HubServerOptions {
  readonly repositories: Readonly<Record<string, HubRepository>>;
  /** The tokens that the Hub knows, each with the private and gated repositories that its account may read. */
  readonly tokens?: Readonly<Record<string, readonly string[]>>;
  /** Those of the tokens that may write what they may read, each with its account's name. */
  readonly writers?: Readonly<Record<string, string>>;
  /** Entries on one page of a listing; 1000. */
  readonly pageSize?: number;
  /** Where the link to the next page points; `"hub"`. */
  readonly nextPageOn?: "hub" | "cdn";
}

/** One request as it arrived. */
export interface HubRequest {
  readonly server: "hub" | "cdn";
  readonly method: string;
  /** Path and query, decoded. */
  readonly url: string;
  readonly hasAuthorization: boolean;
  readonly range: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

export interface TreeEntry {
  readonly type: "file" | "directory";
  readonly path: string;
  readonly size: number;
  readonly oid: string;
  readonly lfs?: { readonly oid: string; readonly size: number; readonly pointerSize: number };
}

/** What happens instead of the right answer. */
export interface Misbehaviour {
  /** Refuses with this status. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Closes the connection before any answer. */
  readonly hangUp?: boolean;
  /** Never answers, until the client leaves. */
  readonly silent?: boolean;
  /** Sends this many bytes of the body, then closes the connection. */
  readonly cutAfterBytes?: number;
  /** Sends this many bytes of the body, then no more. */
  readonly stallAfterBytes?: number;
  /** Answers 200 with everything. */
  readonly ignoresRange?: boolean;
  /** Sends this content instead. */
  readonly content?: string | Uint8Array;
}

export interface HubServer extends AsyncDisposable {
  readonly url: string;
  readonly cdnUrl: string;
  readonly requests: readonly HubRequest[];
  /** The requests as `"GET /path"`, those to the CDN as `"CDN GET /path"`, without queries. */
  readonly asked: readonly string[];
  /** What was pushed over the API, oldest first. */
  readonly commits: readonly CommitMessage[];
  /** The content of a file; `undefined` where there is none. */
  contentOf(name: string, path: string, revision?: string): Buffer | undefined;
  /** The commit that a revision is; `main` by default. */
  commitOf(name: string, revision?: string): string;
  /** Replaces what a revision holds, as a push would. Returns the new commit; the old one stays. */
  push(name: string, files: HubFiles, revision?: string): string;
  /** Fails the next `times` requests (1) whose `"GET /path?query"`, or `"CDN GET …"`, matches. */
  misbehave(match: RegExp, how: Misbehaviour, times?: number): void;
  close(): Promise<void>;
}

interface Stored {
  readonly bytes: Buffer;
  readonly entry: TreeEntry;
}

interface State {
  readonly options: HubRepository;
  /** The token that made it, where that was while the server ran. */
  readonly owner?: string;
  readonly commits: Map<string, ReadonlyMap<string, Stored>>;
  readonly revisions: Map<string, string>;
}

/** Starts the Hub and its CDN on ports of their own. */
export async function startHubServer(options: HubServerOptions): Promise<HubServer> {
  const { tokens = {}, writers = {}, pageSize = 1000, nextPageOn = "hub" } = options;
  const states = new Map(Object.entries(options.repositories).map(([name, r]) => [name, store(r)]));
  const requests: HubRequest[] = [];
  const failures: { readonly match: RegExp; readonly how: Misbehaviour; times: number }[] = [];

  const hub = createServer((request, response) => answer("hub", request, response));
  const cdn = createServer((request, response) => answer("cdn", request, response));
  const url = await listen(hub);
  const cdnUrl = await listen(cdn);
  const tokenOf = (request: IncomingMessage): string | undefined =>
    request.headers.authorization?.replace(/^Bearer /, "");
  const mayRead = (name: string, token: string | undefined): boolean =>
    token !== undefined &&
    (tokens[token]?.includes(name) === true || states.get(name)?.owner === token);
  const uploads = createUploads({
    cdnUrl,
    userOf(request) {
      const token = tokenOf(request);
      if (token === undefined || !Object.hasOwn(tokens, token)) return undefined;
      return { token, name: writers[token] ?? "reader" };
    },
    shows(name, token) {
      const state = states.get(name);
      return state !== undefined && (state.options.private !== true || mayRead(name, token));
    },
    mayWrite: (name, token) => Object.hasOwn(writers, token) && mayRead(name, token),
    head: (name, revision) => states.get(name)?.revisions.get(revision),
    filesOf(name, revision) {
      const { commits, revisions } = stateOf(name);
      const stored = commits.get(revisions.get(revision) ?? "") ?? new Map<string, Stored>();
      return Object.fromEntries(
        [...stored].map(([path, { bytes, entry }]) => [path, entry.lfs ? { lfs: bytes } : bytes]),
      );
    },
    commit: (name, files, revision) => commitTo(stateOf(name), files, revision),
    create(name, token, isPrivate) {
      if (states.has(name)) return false;
      const files = { ".gitattributes": "*.onnx filter=lfs diff=lfs merge=lfs -text\n" };
      states.set(name, { ...store({ files, private: isPrivate }), owner: token });
      return true;
    },
    refuse,
    send: sendJson,
  });

  function answer(server: "hub" | "cdn", request: IncomingMessage, response: ServerResponse): void {
    const { method = "GET", headers } = request;
    const asked = new URL(request.url ?? "/", url);
    const line = {
      server,
      method,
      url: decodeURIComponent(asked.pathname) + asked.search,
      hasAuthorization: headers.authorization !== undefined,
      range: headers.range,
      headers,
    };
    requests.push(line);

    const how = takeFailure(toLine(line)) ?? {};
    if (how.silent) return;
    if (how.hangUp) return void request.socket.destroy();
    if (how.status !== undefined) {
      return void response.writeHead(how.status, how.headers).end(how.body ?? "");
    }
    if (server === "cdn" && asked.pathname.startsWith("/store/")) {
      if (line.hasAuthorization) return void response.writeHead(400).end();
      const sha256 = asked.pathname.slice("/store/".length);
      const stored = [...states.values()]
        .flatMap(({ commits }) => [...commits.values()].flatMap((files) => [...files.values()]))
        .find(({ entry }) => entry.lfs?.oid === sha256);
      if (stored === undefined) return void response.writeHead(404).end();
      return sendContent(request, response, stored.bytes, how);
    }
    if (server === "cdn" && method === "PUT") return uploads.take(request, response, asked);
    if (uploads.answer(request, response, asked)) return;
    answerAsHub(request, response, asked, how);
  }

  function answerAsHub(
    request: IncomingMessage,
    response: ServerResponse,
    asked: URL,
    how: Misbehaviour,
  ): void {
    const token = tokenOf(request);
    if (token !== undefined && !(token in tokens)) {
      const message = "Invalid credentials in Authorization header";
      return refuse(response, 401, "RepoNotFound", message);
    }
    const parts =
      /^\/api\/models\/(?<name>.+?)\/(?<what>revision|tree)\/(?<revision>.+)$/.exec(
        asked.pathname,
      ) ??
      /^\/api\/models\/(?<name>[^/]+(?:\/[^/]+)?)$/.exec(asked.pathname) ??
      /^\/(?<name>[^/]+(?:\/[^/]+)?)\/(?<what>resolve)\/(?<revision>[^/]+)\/(?<path>.+)$/.exec(
        asked.pathname,
      );
    const { name = "", what = "revision", revision = "main", path = "" } = parts?.groups ?? {};
    const state = states.get(name);
    const isReader = mayRead(name, token);
    if (state === undefined || (state.options.private && !isReader)) {
      return token === undefined
        ? refuse(response, 401, "RepoNotFound", "Repository not found")
        : refuse(response, 404, "RepoNotFound", "Repository not found");
    }
    if (state.options.disabled) {
      return refuse(response, 403, undefined, "Access to this resource is disabled.");
    }
    const asNamed = decodeURIComponent(revision);
    const named = asNamed === "HEAD" ? "main" : asNamed;
    const commit = state.revisions.get(named) ?? named;
    const files = state.commits.get(commit);
    if (files === undefined) {
      return refuse(response, 404, "RevisionNotFound", `Invalid rev id: ${named}`);
    }
    if (what === "revision") return sendModelInfo(response, name, state, commit);
    if (what === "tree") {
      const next = (cursor: number): string =>
        `${nextPageOn === "cdn" ? cdnUrl : url}${asked.pathname}?recursive=true&cursor=${cursor}`;
      const entries = [...files.values()].map(({ entry }) => entry);
      const listed = state.options.listing?.(entries) ?? [...directoriesOf(entries), ...entries];
      const start = Number(asked.searchParams.get("cursor") ?? 0);
      const end = start + pageSize;
      if (end < listed.length) response.setHeader("link", `<${next(end)}>; rel="next"`);
      return sendJson(response, 200, listed.slice(start, end));
    }
    if (state.options.gated && !isReader) {
      const status = token === undefined ? 401 : 403;
      return refuse(response, status, "GatedRepo", `Access to model ${name} is restricted.`);
    }
    const stored = files.get(decodeURIComponent(path));
    if (stored === undefined) return refuse(response, 404, "EntryNotFound", "Entry not found");
    response.setHeader("x-repo-commit", commit);
    response.setHeader("etag", `"${stored.entry.oid}"`);
    if (stored.entry.lfs === undefined) return sendContent(request, response, stored.bytes, how);
    response.setHeader("x-linked-etag", `"${stored.entry.lfs.oid}"`);
    response.setHeader("x-linked-size", stored.entry.lfs.size);
    const location = `${cdnUrl}/store/${stored.entry.lfs.oid}?X-Signature=secret`;
    return void response.writeHead(302, { location }).end();
  }

  function takeFailure(line: string): Misbehaviour | undefined {
    const failure = failures.find(({ match, times }) => times > 0 && match.test(line));
    if (failure === undefined) return undefined;
    failure.times -= 1;
    return failure.how;
  }

  function stateOf(name: string): State {
    const state = states.get(name);
    if (state === undefined) throw new RangeError(`The test's Hub has no "${name}"`);
    return state;
  }

  const close = async (): Promise<void> => {
    for (const server of [hub, cdn]) {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    }
  };
  return {
    url,
    cdnUrl,
    requests,
    get asked() {
      return requests.map((request) => toLine(request).replace(/\?.*/, ""));
    },
    commits: uploads.messages,
    contentOf(name, path, revision = "main") {
      const { commits, revisions } = stateOf(name);
      return commits.get(revisions.get(revision) ?? "")?.get(path)?.bytes;
    },
    commitOf: (name, revision = "main") => stateOf(name).revisions.get(revision) ?? "",
    push: (name, files, revision = "main") => commitTo(stateOf(name), files, revision),
    misbehave: (match, how, times = 1) => void failures.push({ match, how, times }),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A repository made of the files below a folder; weights are large files, as `.gitattributes` has it on the Hub. */
export async function filesFromFolder(folder: string): Promise<HubFiles> {
  const files: Record<string, HubFile> = {};
  for (const item of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!item.isFile()) continue;
    const path = join(item.parentPath, item.name);
    const bytes = await readFile(path);
    const isLarge = /\.(?:onnx|onnx_data\w*|bin|safetensors|h5|msgpack|gz|zip)$/.test(item.name);
    const name = path.slice(join(folder, "/").length).replaceAll("\\", "/");
    files[name] = isLarge ? { lfs: bytes } : bytes;
  }
  return files;
}

/** The sha256 of an LFS file, the git object id of any other: what its blob is called in the cache. */
export function etagOf(file: HubFile): string {
  const { entry } = toStored("", file);
  return entry.lfs?.oid ?? entry.oid;
}

function store(options: HubRepository): State {
  const state: State = { options, commits: new Map(), revisions: new Map() };
  for (const [revision, files] of Object.entries({ main: options.files, ...options.revisions })) {
    commitTo(state, files, revision);
  }
  return state;
}

function commitTo(state: State, files: HubFiles, revision: string): string {
  const stored = new Map(
    Object.entries(files).map(([path, file]) => [path, toStored(path, file)] as const),
  );
  const entries = [...stored.values()].map(({ entry }) => entry);
  const commit = createHash("sha1").update(JSON.stringify(entries)).digest("hex");
  state.commits.set(commit, stored);
  state.revisions.set(revision, commit);
  return commit;
}

function toStored(path: string, file: HubFile): Stored {
  const isLarge = typeof file === "object" && "lfs" in file;
  const bytes = Buffer.from(isLarge ? file.lfs : file);
  const size = bytes.length;
  if (!isLarge) return { bytes, entry: { type: "file", path, size, oid: gitHash(bytes) } };
  const oid = createHash("sha256").update(bytes).digest("hex");
  const pointer = Buffer.from(
    `version https://git-lfs.github.com/spec/v1\noid sha256:${oid}\nsize ${size}\n`,
  );
  const lfs = { oid, size, pointerSize: pointer.length };
  return { bytes, entry: { type: "file", path, size, oid: gitHash(pointer), lfs } };
}

function gitHash(bytes: Buffer): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

function directoriesOf(entries: readonly TreeEntry[]): readonly TreeEntry[] {
  const folders = entries.flatMap(({ path }) => {
    const parts = path.split("/").slice(0, -1);
    return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
  });
  return [...new Set(folders)].map((path) => {
    return { type: "directory", path, size: 0, oid: gitHash(Buffer.from(path)) };
  });
}

function sendModelInfo(response: ServerResponse, name: string, state: State, sha: string): void {
  const { options, commits } = state;
  const siblings = [...(commits.get(sha)?.keys() ?? [])].map((rfilename) => ({ rfilename }));
  sendJson(response, 200, {
    _id: "621ffdc036468d709f174364",
    id: name,
    sha,
    siblings,
    private: options.private ?? false,
    gated: options.gated ? "manual" : false,
    pipeline_tag: options.task,
    lastModified: "2026-01-01T00:00:00.000Z",
    downloads: 0,
    likes: 0,
    tags: [],
  });
}

function sendContent(
  request: IncomingMessage,
  response: ServerResponse,
  stored: Buffer,
  how: Misbehaviour,
): void {
  const whole = how.content === undefined ? stored : Buffer.from(how.content);
  const range = how.ignoresRange ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const start = Number(range?.[1] ?? 0);
  const end = Math.min(Number(range?.[2] || whole.length - 1) + 1, whole.length);
  if (range !== null && start >= whole.length) {
    return void response.writeHead(416, { "content-range": `bytes */${whole.length}` }).end();
  }
  const body = whole.subarray(start, end);
  response.writeHead(range === null ? 200 : 206, {
    "accept-ranges": "bytes",
    "content-length": body.length,
    ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${whole.length}` }),
  });
  if (request.method === "HEAD") return void response.end();
  if (how.stallAfterBytes !== undefined) {
    return void response.write(body.subarray(0, how.stallAfterBytes));
  }
  if (how.cutAfterBytes === undefined) return void response.end(body);
  response.write(body.subarray(0, how.cutAfterBytes), () => response.socket?.end());
}

function refuse(
  response: ServerResponse,
  status: number,
  code: string | undefined,
  message: string,
): void {
  if (code !== undefined) response.setHeader("x-error-code", code);
  response.setHeader("x-error-message", message);
  sendJson(response, status, { error: message });
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" });
  response.end(JSON.stringify(body));
}

function toLine({ server, method, url }: Pick<HubRequest, "server" | "method" | "url">): string {
  return `${server === "cdn" ? "CDN " : ""}${method} ${url}`;
}

async function listen(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
