/**
 * The writing half of the test's Hub: what `@huggingface/hub` and Python's huggingface_hub send to make a commit.
 *
 * `preupload` says which files are large, the Git LFS batch where they go, a PUT brings them, and `commit` takes lines of
 * JSON: a header, files in base64, pointers to large files (moon-landing's API, as `commit.ts` of `@huggingface/hub` 2
 * speaks it). A commit upon another parent than the branch's head is refused with 412, as the real Hub does.
 */
import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import type { HubFile, HubFiles } from "./hub-server.ts";

/** What of the Hub a write may see and change. */
export interface WritableHub {
  readonly cdnUrl: string;
  /** Who asks; `undefined` without a token that the Hub knows. */
  userOf(request: IncomingMessage): { readonly token: string; readonly name: string } | undefined;
  /** Whether the repository is there for that token. */
  shows(name: string, token: string | undefined): boolean;
  mayWrite(name: string, token: string): boolean;
  head(name: string, revision: string): string | undefined;
  filesOf(name: string, revision: string): HubFiles;
  commit(name: string, files: HubFiles, revision: string): string;
  create(name: string, token: string, isPrivate: boolean): boolean;
  refuse(response: ServerResponse, status: number, code: string | undefined, text: string): void;
  send(response: ServerResponse, status: number, body: unknown): void;
}

export interface Uploads {
  /** Answers a request that writes, or asks who one is. @returns Whether it was one. */
  answer(request: IncomingMessage, response: ServerResponse, asked: URL): boolean;
  /** Takes a large file. */
  take(request: IncomingMessage, response: ServerResponse, asked: URL): void;
  /** What commits said of themselves, oldest first. */
  readonly messages: readonly CommitMessage[];
}

export interface CommitMessage {
  readonly name: string;
  readonly revision: string;
  readonly summary: string;
  readonly parentCommit: string | undefined;
  readonly isPullRequest: boolean;
  readonly paths: readonly string[];
}

interface CommitLine {
  readonly key: "header" | "file" | "lfsFile" | "deletedFile";
  readonly value: Readonly<Record<string, unknown>>;
}

export function createUploads(hub: WritableHub): Uploads {
  const large = new Map<string, Buffer>();
  const messages: CommitMessage[] = [];
  let pullRequests = 0;

  function guard(
    request: IncomingMessage,
    response: ServerResponse,
    name: string,
  ): { readonly token: string } | undefined {
    const user = hub.userOf(request);
    if (!hub.shows(name, user?.token)) {
      const status = user === undefined ? 401 : 404;
      hub.refuse(response, status, "RepoNotFound", "Repository not found");
    } else if (user === undefined || !hub.mayWrite(name, user.token)) {
      const text = `You don't have the rights to write to ${name}`;
      hub.refuse(response, user === undefined ? 401 : 403, undefined, text);
    } else return user;
    return undefined;
  }

  async function preupload(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { files } = (await readJson(request)) as { files: { path: string; size: number }[] };
    const isLarge = ({ path, size }: { path: string; size: number }): boolean =>
      size > 10_000_000 || /\.(?:onnx|bin|safetensors|gz|zip)$/.test(path);
    hub.send(response, 200, {
      files: files.map((file) => ({
        path: file.path,
        uploadMode: isLarge(file) ? "lfs" : "regular",
        shouldIgnore: false,
      })),
    });
  }

  async function batch(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { objects } = (await readJson(request)) as { objects: { oid: string; size: number }[] };
    hub.send(response, 200, {
      transfer: "basic",
      objects: objects.map(({ oid, size }) => ({
        oid,
        size,
        ...(!large.has(oid) && {
          actions: { upload: { href: `${hub.cdnUrl}/upload/${oid}?X-Signature=secret` } },
        }),
      })),
    });
  }

  async function commit(
    request: IncomingMessage,
    response: ServerResponse,
    { name, revision, isPullRequest }: { name: string; revision: string; isPullRequest: boolean },
  ): Promise<void> {
    const lines = (await buffer(request)).toString("utf8").trim().split("\n");
    const parsed = lines.map((line) => JSON.parse(line) as CommitLine);
    const head = hub.head(name, revision);
    if (head === undefined)
      return hub.refuse(response, 404, "RevisionNotFound", `Invalid rev id: ${revision}`);
    const header = parsed.find(({ key }) => key === "header")?.value ?? {};
    const parent = header["parentCommit"] as string | undefined;
    if (parent !== undefined && parent !== head && !isPullRequest) {
      const text = "A commit has happened since. Please refresh and try again.";
      return hub.refuse(response, 412, undefined, text);
    }
    const files: Record<string, HubFile> = { ...hub.filesOf(name, revision) };
    const paths: string[] = [];
    for (const { key, value } of parsed) {
      if (key === "header") continue;
      const path = String(value["path"]);
      paths.push(path);
      if (key === "deletedFile") delete files[path];
      if (key === "file") files[path] = Buffer.from(String(value["content"]), "base64");
      if (key !== "lfsFile") continue;
      const bytes = large.get(String(value["oid"]));
      if (bytes === undefined || bytes.length !== value["size"])
        return hub.refuse(response, 422, undefined, `No such LFS object: ${path}`);
      files[path] = { lfs: bytes };
    }
    messages.push({
      name,
      revision,
      summary: String(header["summary"]),
      parentCommit: parent,
      isPullRequest,
      paths,
    });
    const branch = isPullRequest ? `refs/pr/${++pullRequests}` : revision;
    const oid = hub.commit(name, files, branch);
    const root = `http://${request.headers.host}/${name}`;
    hub.send(response, 200, {
      success: true,
      commitOid: oid,
      commitUrl: `${root}/commit/${oid}`,
      hookOutput: "",
      ...(isPullRequest && { pullRequestUrl: `${root}/discussions/${pullRequests}` }),
    });
  }

  async function create(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const user = hub.userOf(request);
    if (user === undefined) return hub.refuse(response, 401, undefined, "Invalid credentials");
    const body = (await readJson(request)) as Record<string, string | undefined>;
    const name = `${body["organization"] ?? user.name}/${body["name"]}`;
    if (body["organization"] !== user.name)
      return hub.refuse(response, 403, undefined, `You don't have the rights to create ${name}`);
    if (!hub.create(name, user.token, body["visibility"] === "private"))
      return hub.refuse(response, 409, undefined, "You already created this model repo");
    hub.send(response, 200, { url: `http://${request.headers.host}/${name}`, name });
  }

  return {
    messages,
    answer(request, response, asked) {
      const { pathname } = asked;
      if (pathname === "/api/whoami-v2") {
        const user = hub.userOf(request);
        if (user === undefined)
          hub.refuse(response, 401, undefined, "Invalid credentials in Authorization header");
        else {
          const auth = { type: "access_token", accessToken: { displayName: "t", role: "write" } };
          hub.send(response, 200, { type: "user", name: user.name, auth });
        }
        return true;
      }
      if (request.method !== "POST") return false;
      if (pathname === "/api/repos/create") {
        void create(request, response);
        return true;
      }
      const parts =
        /^\/api\/models\/(?<name>.+?)\/(?<what>preupload|commit)\/(?<revision>.+)$/.exec(
          pathname,
        ) ?? /^\/(?<name>.+)\.git\/info\/lfs\/objects\/(?<what>batch)$/.exec(pathname);
      const { name = "", what, revision = "main" } = parts?.groups ?? {};
      if (what === undefined) return false;
      if (guard(request, response, name) === undefined) return true;
      if (what === "preupload") void preupload(request, response);
      else if (what === "batch") void batch(request, response);
      else {
        const target = { name, revision: decodeURIComponent(revision) };
        const isPullRequest = asked.searchParams.get("create_pr") === "1";
        void commit(request, response, { ...target, isPullRequest });
      }
      return true;
    },
    take(request, response, asked) {
      void buffer(request).then((bytes) => {
        const oid = asked.pathname.slice("/upload/".length);
        const isWhole = createHash("sha256").update(bytes).digest("hex") === oid;
        if (isWhole) large.set(oid, bytes);
        response.writeHead(isWhole ? 200 : 400).end();
      });
    },
  };
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  return JSON.parse((await buffer(request)).toString("utf8"));
}
