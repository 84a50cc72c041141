import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { describe, test } from "node:test";
import type { HubOptions } from "../../runtime/repository/hub.ts";
import { startHubServer, type TreeEntry } from "../support/hub-server.ts";
import { createDownloader, NAME, NOBODY } from "./hub-fixture.ts";

const files = { "config.json": "{}", "onnx/model.onnx": { lfs: "weights" } };
const TOKEN = "hf_goodToken123";
const STRANGER = "hf_strangerToken456";
/** Not of the form that the log knows to redact. */
const ODD_TOKEN = "s3cr3t-of-a-mirror";

const HUB = {
  repositories: {
    "owner/name": { files },
    "owner/private": { files, private: true },
    "owner/gated": { files, gated: true },
    "owner/disabled": { files, disabled: true },
  },
  tokens: {
    [TOKEN]: ["owner/private", "owner/gated"],
    [STRANGER]: [],
    [ODD_TOKEN]: ["owner/private"],
  },
};

interface Refusal {
  readonly when: string;
  readonly name?: string;
  readonly revision?: string;
  readonly token?: string;
  readonly code: string;
  /** `{url}` stands for the Hub's. */
  readonly message: string;
}

const REFUSALS: readonly Refusal[] = [
  {
    when: "a model is gated and there is no token",
    name: "owner/gated",
    code: "REPOSITORY_FORBIDDEN",
    message:
      'Cannot download "owner/gated": it is gated; accept its licence at {url}/owner/gated and set HF_TOKEN to a token of that account',
  },
  {
    when: "a model is gated and the account has not been granted access",
    name: "owner/gated",
    token: STRANGER,
    code: "REPOSITORY_FORBIDDEN",
    message:
      'Cannot download "owner/gated": it is gated and the account of HF_TOKEN has not been granted access; ask for it at {url}/owner/gated',
  },
  {
    when: "a model is private and there is no token",
    name: "owner/private",
    code: "REPOSITORY_NOT_FOUND",
    message:
      'Cannot download "owner/private": the Hub shows no such model; check the spelling, or set HF_TOKEN if it is private',
  },
  {
    when: "a model does not exist and there is no token",
    name: "owner/nobody",
    code: "REPOSITORY_NOT_FOUND",
    message:
      'Cannot download "owner/nobody": the Hub shows no such model; check the spelling, or set HF_TOKEN if it is private',
  },
  {
    when: "a model is private and the account may not read it",
    name: "owner/private",
    token: STRANGER,
    code: "REPOSITORY_NOT_FOUND",
    message:
      'Cannot download "owner/private": the Hub shows no such model to the account of HF_TOKEN; check the spelling, or use a token that may read it',
  },
  {
    when: "the token is not one",
    token: "hf_wrongToken789",
    code: "REPOSITORY_FORBIDDEN",
    message:
      'Cannot download "owner/name": the Hub refuses HF_TOKEN; make a new one at {url}/settings/tokens, or unset it if the model is public',
  },
  {
    when: "the token could not be one",
    token: "hf_good\nToken",
    code: "INVALID_OPTION",
    message:
      "Cannot use HF_TOKEN: found characters that no token has, wanted letters, digits and signs on one line",
  },
  {
    when: "there is no such branch",
    revision: "v9",
    code: "REPOSITORY_NOT_FOUND",
    message:
      'Cannot download "owner/name": it has no revision "v9", wanted a branch, a tag, "refs/pr/N" or a commit',
  },
  {
    when: "there is no such commit",
    revision: "f".repeat(40),
    code: "REPOSITORY_NOT_FOUND",
    message: `Cannot download "owner/name": it has no revision "${"f".repeat(40)}", wanted a branch, a tag, "refs/pr/N" or a commit`,
  },
  {
    when: "the Hub has disabled a model",
    name: "owner/disabled",
    code: "REPOSITORY_FORBIDDEN",
    message: 'Cannot download "owner/disabled": the Hub has disabled it',
  },
];

describe("downloadRepository() says why, when", () => {
  for (const { when, name = NAME, revision = "main", token, code, message } of REFUSALS) {
    test(when, async () => {
      await using hub = await startHubServer(HUB);
      await using here = await createDownloader(hub);
      const download = here.download(token === undefined ? {} : { token }, revision, name);
      await assert.rejects(download, { code, message: message.replaceAll("{url}", hub.url) });
      assert.deepEqual(here.waits, [], "no attempt more would have helped");
    });
  }

  test("the Hub forbids it for another reason", async () => {
    await using hub = await startHubServer(HUB);
    await using here = await createDownloader(hub);
    const said = "This token lacks the right to read.\u001b[31m";
    hub.misbehave(/revision/, { status: 403, headers: {}, body: JSON.stringify({ error: said }) });
    await assert.rejects(here.download({ token: TOKEN }), {
      code: "REPOSITORY_FORBIDDEN",
      message: `Cannot download "owner/name": the Hub forbids it and says "This token lacks the right to read.\\u001b[31m"; check what HF_TOKEN may read at ${hub.url}/settings/tokens`,
    });
  });

  test("a name cannot be one, before anything is asked", async () => {
    await using hub = await startHubServer(HUB);
    await using here = await createDownloader(hub);
    await assert.rejects(here.download({}, "main", "a/b/c"), { code: "INVALID_OPTION" });
    await assert.rejects(here.download({}, "../main"), { code: "INVALID_OPTION" });
    assert.equal(hub.requests.length, 0);
  });

  test("a listed file is not there", async () => {
    await using hub = await startHubServer(HUB);
    await using here = await createDownloader(hub);
    hub.misbehave(/config\.json/, { status: 404, headers: { "x-error-code": "EntryNotFound" } });
    await assert.rejects(here.download(), {
      code: "DOWNLOAD_FAILED",
      message: 'Cannot download "owner/name": the Hub lists "config.json" but does not have it',
    });
  });

  test("the CDN keeps refusing, without showing its signed link", async () => {
    await using hub = await startHubServer(HUB);
    await using here = await createDownloader(hub);
    hub.misbehave(/^CDN/, { status: 403 }, Infinity);
    await assert.rejects(here.download(), {
      code: "DOWNLOAD_FAILED",
      message: `Cannot download "onnx/model.onnx" of "owner/name": "${hub.cdnUrl}", where the Hub keeps its files, answers 403`,
    });
  });

  test("the Hub cannot be reached and the cache has nothing", async () => {
    await using here = await createDownloader(NOBODY);
    await assert.rejects(here.download(), {
      code: "HUB_UNREACHABLE",
      message: `Cannot reach the Hub at "${NOBODY.url}": it refuses the connection (ECONNREFUSED); check the network and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 once a copy of "owner/name" is in "${here.cacheDir}"`,
    });
    assert.equal(here.waits.length, 3);
  });

  test("the Hub's name has no address", async () => {
    const cause = Object.assign(new Error("getaddrinfo"), { code: "ENOTFOUND" });
    await using here = await createDownloader(NOBODY);
    const fetch = (): Promise<never> => Promise.reject(new TypeError("fetch failed", { cause }));
    await assert.rejects(here.download({ fetch }), {
      code: "HUB_UNREACHABLE",
      message: /: its name has no address \(ENOTFOUND\); check/,
    });
  });

  test("the Hub has too many requests, also from those without a token", async () => {
    await using hub = await startHubServer(HUB);
    await using here = await createDownloader(hub);
    hub.misbehave(/./, { status: 429 }, Infinity);
    await assert.rejects(here.download(), {
      code: "HUB_UNREACHABLE",
      message: /: it answers 429, too many requests; with HF_TOKEN it allows more; check/,
    });
  });

  test("something else answers in the Hub's place", async () => {
    await using hub = await startHubServer(HUB);
    await using here = await createDownloader(hub);
    for (const body of ["<html></html>", '{"sha":"main/../.."}']) {
      hub.misbehave(/revision/, { status: 200, body });
      await assert.rejects(here.download(), { code: "HUB_UNREACHABLE" });
    }
    hub.misbehave(/tree/, { status: 200, body: '[{"path":"x"}]' });
    await assert.rejects(here.download(), {
      code: "HUB_UNREACHABLE",
      message: /: it does not answer as the Hub does: an entry lacks its type, path or size; /,
    });
  });

  test("the signal has fired before anything is asked", async () => {
    await using hub = await startHubServer(HUB);
    await using here = await createDownloader(hub);
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(here.download({ signal }), /enough/);
    assert.equal(hub.requests.length, 0);
  });
});

describe("downloadRepository() refuses a listing", () => {
  const config: TreeEntry = { type: "file", path: "config.json", size: 2, oid: "a".repeat(40) };
  const hostile: Readonly<Record<string, { readonly entry: object; readonly names: RegExp }>> = {
    "with a name that climbs": {
      entry: { ...config, path: "../../../evil.json" },
      names: /the file name "\.\.\/\.\.\/\.\.\/evil\.json" is refused, as it holds "\.\."$/,
    },
    "with an absolute name": {
      entry: { ...config, path: "/etc/x" },
      names: /"\/etc\/x" is refused/,
    },
    "with a backslash": { entry: { ...config, path: "a\\..\\x" }, names: /holds a backslash$/ },
    "with a control character": {
      entry: { ...config, path: "a\0b" },
      names: /"a\\u0000b" is refused/,
    },
    "with a drive letter": { entry: { ...config, path: "C:x" }, names: /holds a drive letter$/ },
    "with an object id that climbs": {
      entry: { ...config, oid: "../../../evil" },
      names: /the hash of "config\.json" is refused: found "\.\.\/\.\.\/\.\.\/evil"/,
    },
    "with an LFS hash that climbs": {
      entry: { ...config, lfs: { oid: "/tmp/evil", size: 2, pointerSize: 1 } },
      names: /the hash of "config\.json" is refused: found "a{40}" and "\/tmp\/evil", wanted/,
    },
    "without a hash": {
      entry: { type: "file", path: "config.json", size: 2 },
      names: /the hash of "config\.json" is refused: found none, wanted/,
    },
  };
  for (const [what, { entry, names }] of Object.entries(hostile)) {
    test(`${what}, and writes nothing`, async () => {
      await using hub = await startHubServer({
        repositories: { [NAME]: { files, listing: (entries) => [...entries, entry] } },
      });
      await using here = await createDownloader(hub);
      await assert.rejects(here.download({ include: ["*"] }), {
        code: "DOWNLOAD_FAILED",
        message: names,
      });
      assert.deepEqual(await readdir(here.cacheDir), []);
    });
  }

  test("that does not end", async () => {
    await using hub = await startHubServer({
      repositories: {
        [NAME]: { files, listing: () => Array.from({ length: 1002 }, () => config) },
      },
      pageSize: 1,
    });
    await using here = await createDownloader(hub);
    await assert.rejects(here.download(), {
      code: "DOWNLOAD_FAILED",
      message: 'Cannot list the files of "owner/name": found more than 1000 pages',
    });
  });
});

describe("downloadRepository() keeps the token", () => {
  for (const token of [TOKEN, ODD_TOKEN]) {
    test(`${token.slice(0, 3)}… from the CDN, the log and the files`, async () => {
      await using hub = await startHubServer(HUB);
      await using here = await createDownloader(hub);
      await here.download({ token }, "main", "owner/private");
      for (const { server, hasAuthorization } of hub.requests) {
        assert.equal(hasAuthorization, server === "hub");
      }
      assert.ok(hub.requests.some(({ server }) => server === "cdn"));
      assert.ok(!here.lines.join("\n").includes(token));
    });
  }

  test("from another host that a page of the listing points to", async () => {
    await using hub = await startHubServer({ ...HUB, pageSize: 2, nextPageOn: "cdn" });
    await using here = await createDownloader(hub);
    await here.download({ token: TOKEN });
    const elsewhere = hub.requests.filter(({ url }) => url.includes("cursor=2"));
    assert.deepEqual(
      elsewhere.map(({ server, hasAuthorization }) => ({ server, hasAuthorization })),
      [{ server: "cdn", hasAuthorization: false }],
    );
  });

  const failures: Readonly<Record<string, Partial<HubOptions>>> = {
    "a refusal": { token: `${ODD_TOKEN}-wrong` },
    "a network failure": { token: ODD_TOKEN, endpoint: NOBODY.url },
    "a token with a line break": { token: `${ODD_TOKEN}\n${ODD_TOKEN}` },
  };
  for (const [what, options] of Object.entries(failures)) {
    test(`out of the error for ${what}`, async () => {
      await using hub = await startHubServer(HUB);
      await using here = await createDownloader(hub);
      await assert.rejects(here.download(options), (error: Error) => {
        const all = `${error.stack} ${String(error.cause)} ${here.lines.join("\n")}`;
        assert.ok(!all.includes(ODD_TOKEN));
        return true;
      });
    });
  }
});
