/**
 * What a push would change, and what it would give away.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../../runtime/observe/log.ts";
import { compareFiles, findLocalFiles } from "../../runtime/repository/push-plan.ts";
import { findSecret } from "../../runtime/repository/push-secrets.ts";
import { makePush, planPush } from "../../runtime/repository/push.ts";
import { makeRepository } from "../support/handler-repository.ts";
import { startHubServer } from "../support/hub-server.ts";

const TOKEN = "hf_writer000";

test("findLocalFiles() takes files below the folder once, and refuses all else", async () => {
  await using repository = await makeRepository({ "a.ts": "12345", "b/c.json": "{}" });
  const files = await findLocalFiles(repository.path, ["a.ts", "./a.ts", "b/c.json"]);
  assert.deepEqual(
    files.map(({ path, size }) => [path, size]),
    [
      ["a.ts", 5],
      ["b/c.json", 2],
    ],
  );
  for (const [path, reason] of [
    ["../a.ts", /holds "\.\."/],
    ["/etc/passwd", /is not relative/],
    ["b", /it is no file/],
    ["missing.ts", /there is no such file/],
  ] as const) {
    await assert.rejects(findLocalFiles(repository.path, [path]), {
      code: "INVALID_OPTION",
      message: reason,
    });
  }
});

test("compareFiles() goes by the content's hash, of either kind, and not by the size alone", async () => {
  await using repository = await makeRepository({
    "same.txt": "hello",
    "other.txt": "world",
    "large.onnx": "weights",
    "new.txt": "new",
  });
  const files = await findLocalFiles(repository.path, [
    "same.txt",
    "other.txt",
    "large.onnx",
    "new.txt",
  ]);
  const changes = await compareFiles(files, [
    // `printf hello | git hash-object --stdin`
    { path: "same.txt", size: 5, oid: "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0" },
    { path: "other.txt", size: 5, oid: "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0" },
    {
      path: "large.onnx",
      size: 7,
      oid: "0".repeat(40),
      // `printf weights | sha256sum`
      sha256: "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c",
    },
  ]);
  assert.deepEqual(
    changes.map(({ path, state }) => `${path} ${state}`),
    ["same.txt unchanged", "other.txt changed", "large.onnx unchanged", "new.txt added"],
  );
});

test("findSecret() knows names and contents of the usual kinds, and lets ordinary code pass", async () => {
  const secrets: readonly (readonly [name: string, text: string])[] = [
    [".env", ""],
    ["config/.env.production", ""],
    ["server.pem", ""],
    ["id_ed25519", ""],
    [".npmrc", ""],
    ["a.ts", `const t = "hf_${"aB3".repeat(11)}";`],
    ["b.ts", "-----BEGIN OPENSSH PRIVATE KEY-----"],
    ["c.json", '{"key": "AKIAABCDEFGHIJKLMNOP"}'],
    ["d.ts", `"ghp_${"a1".repeat(18)}"`],
    ["e.ts", `"sk-proj-${"a1B2".repeat(10)}"`],
  ];
  const harmless: readonly (readonly [name: string, text: string])[] = [
    [".env.example", "HF_TOKEN=\n"],
    ["handler.ts", 'const token = process.env["HF_TOKEN"]; // hf_… from the environment\n'],
    ["risk-assessment.md", "ask-me-anything about disk-space and task-lists\n"],
    ["tokenizer.json", '{"hf_token_like": "hf_short"}'],
    ["weights.bin", `\u0000hf_${"aB3".repeat(11)}`],
  ];
  await using repository = await makeRepository(Object.fromEntries([...secrets, ...harmless]));
  for (const [name] of secrets)
    assert.ok(await findSecret(`${repository.path}/${name}`, name), `${name} is a secret`);
  for (const [name] of harmless)
    assert.equal(await findSecret(`${repository.path}/${name}`, name), undefined, name);
});

test("a commit whose answer is lost is not sent a second time", async () => {
  await using hub = await startHubServer({
    repositories: { "owner/name": { files: { "config.json": "{}" } } },
    tokens: { [TOKEN]: ["owner/name"] },
    writers: { [TOKEN]: "owner" },
  });
  await using repository = await makeRepository({ "handler.ts": "new" });
  const files = await findLocalFiles(repository.path, ["handler.ts"]);
  const options = {
    endpoint: hub.url,
    token: TOKEN,
    signal: new AbortController().signal,
    log: silentLog(),
  };
  const plan = await planPush({ name: "owner/name", revision: "main" }, files, false, options);
  hub.misbehave(/POST .*\/commit\//, { hangUp: true });
  const making = { ...options, message: "m", isPullRequest: false, visibility: "private" } as const;
  await assert.rejects(makePush(plan, making), {
    code: "HUB_UNREACHABLE",
    message: /Cannot push to "owner\/name"/,
  });
  assert.equal(hub.asked.filter((line) => line.includes("/commit/")).length, 1);

  hub.push("owner/name", { "config.json": "[]" });
  await assert.rejects(makePush(plan, making), { code: "CONFLICT", message: /run it again/ });
});
