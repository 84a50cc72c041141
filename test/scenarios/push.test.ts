/**
 * `hubserve push` against a Hub that speaks the real one's API.
 */
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { after, before, test } from "node:test";
import { askForYes } from "../../runtime/observe/terminal.ts";
import { makeRepository } from "../support/handler-repository.ts";
import { startHubServer, type HubServer } from "../support/hub-server.ts";
import { runHubserve } from "../support/hubserve.ts";

const WRITER = "hf_writer000";
const READER = "hf_reader000";
const HANDLER =
  'import { word } from "./parts/word.ts";\nimport labels from "./labels.json";\n' +
  'import holidays from "date-holidays";\n' +
  "export class EndpointHandler { call() { return [word, labels, typeof holidays]; } }\n";

const FILES = {
  "handler.ts": HANDLER,
  "parts/word.ts": 'export const word: string = "hello";\n',
  "labels.json": '["a", "b"]\n',
  "requirements.json": '{ "dependencies": { "date-holidays": "^3" } }\n',
  "notes.txt": "not pushed unless named\n",
  "weights.onnx": "\u0000 large enough",
};

let hub: HubServer;

before(async () => {
  hub = await startHubServer({
    repositories: {
      "owner/name": {
        files: { "config.json": "{}", "handler.ts": "old\n", "labels.json": '["a", "b"]\n' },
      },
    },
    tokens: { [WRITER]: ["owner/name"], [READER]: ["owner/name"] },
    writers: { [WRITER]: "owner" },
  });
});
after(async () => hub.close());

async function push(
  folder: string,
  args: readonly string[],
  token = WRITER,
): ReturnType<typeof runHubserve> {
  return runHubserve({
    args: ["push", folder, ...args],
    env: { HF_ENDPOINT: hub.url, HF_TOKEN: token, HF_HOME: folder },
  });
}

test("a dry run shows what would change and changes nothing, for people and for scripts", async () => {
  await using repository = await makeRepository(FILES);
  const seen = await push(repository.path, ["owner/name", "--dry-run"]);
  assert.equal(seen.code, 0, seen.stderr);
  assert.match(seen.stdout, /^ {2}~ handler\.ts +changed +4 B → \d+ B$/m);
  assert.match(seen.stdout, /^ {2}\+ parts\/word\.ts +added +\d+ B$/m);
  assert.match(seen.stdout, /^ {2}= labels\.json +unchanged +\d+ B$/m);
  for (const unwanted of ["notes.txt", "\u001b"]) assert.ok(!seen.stdout.includes(unwanted));

  const json = await push(repository.path, ["owner/name", "--dry-run", "--json"]);
  const plan = JSON.parse(json.stdout) as { parent: string; files: object[]; pushed: null };
  assert.equal(plan.parent, hub.commitOf("owner/name"));
  assert.equal(plan.pushed, null);
  assert.equal(plan.files.length, 4);
  assert.deepEqual(hub.commits, []);
});

test("without a terminal and without --yes nothing is pushed, and the exit code is 2", async () => {
  await using repository = await makeRepository(FILES);
  const { code, stderr } = await push(repository.path, ["owner/name"]);
  assert.equal(code, 2);
  assert.match(stderr, /there is no terminal to ask on; --yes pushes without asking/);
  assert.deepEqual(hub.commits, []);
});

test("the handler, what it imports, its requirements and named files go as one commit", async () => {
  await using repository = await makeRepository(FILES);
  const parent = hub.commitOf("owner/name");
  const args = ["owner/name", "--yes", "-m", "Say hello", "--include", "weights.onnx"];
  const { code, stdout, stderr } = await push(repository.path, args);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /Pushed commit [0-9a-f]{12}/);
  const [commit, ...more] = hub.commits;
  assert.deepEqual(more, []);
  assert.equal(commit?.summary, "Say hello");
  assert.equal(commit?.parentCommit, parent);
  assert.deepEqual(commit?.paths.toSorted(), [
    "handler.ts",
    "parts/word.ts",
    "requirements.json",
    "weights.onnx",
  ]);
  assert.equal(hub.contentOf("owner/name", "handler.ts")?.toString(), HANDLER);
  assert.equal(hub.contentOf("owner/name", "weights.onnx")?.toString(), FILES["weights.onnx"]);
  assert.equal(hub.contentOf("owner/name", "config.json")?.toString(), "{}");
  const cdn = hub.requests.filter(({ server }) => server === "cdn");
  assert.ok(cdn.length > 0 && cdn.every(({ hasAuthorization }) => !hasAuthorization));

  const again = await push(repository.path, args);
  assert.match(again.stdout, /Nothing to push/);
  assert.equal(hub.commits.length, 1);
});

test("a pull request leaves the branch as it is", async () => {
  await using repository = await makeRepository({ ...FILES, "handler.ts": `${HANDLER}// more\n` });
  const before = hub.commitOf("owner/name");
  const args = ["owner/name", "--yes", "--pull-request", "--json"];
  const { stdout, stderr } = await push(repository.path, args);
  const { pushed } = JSON.parse(stdout) as { pushed: { pullRequestUrl: string } };
  assert.match(pushed.pullRequestUrl, /\/owner\/name\/discussions\/1$/, stderr);
  assert.equal(hub.commitOf("owner/name"), before);
  assert.match(String(hub.contentOf("owner/name", "handler.ts", "refs/pr/1")), /\/\/ more/);
});

test("--create makes a private repository, and without it a missing one is refused", async () => {
  await using repository = await makeRepository(FILES);
  const missing = await push(repository.path, ["owner/fresh", "--yes"]);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /Cannot push to "owner\/fresh": .*or make it with --create/);
  const seen = await push(repository.path, ["owner/fresh", "--create", "--dry-run"]);
  assert.match(seen.stdout, /which will be made, private/);
  const made = await push(repository.path, ["owner/fresh", "--create", "--yes"]);
  assert.equal(made.code, 0, made.stderr);
  assert.equal(hub.contentOf("owner/fresh", "handler.ts")?.toString(), HANDLER);
  const stranger = await fetch(`${hub.url}/api/models/owner/fresh`);
  assert.equal(stranger.status, 401);
});

test("what looks like a secret is not published, and is not shown", async () => {
  const token = `hf_${"AbCdEfGhIj".repeat(3)}`;
  await using repository = await makeRepository({
    ...FILES,
    "parts/word.ts": `export const word = "x";\nconst token = "${token}";\n`,
    ".env": "A=1\n",
  });
  const commits = hub.commits.length;
  const args = ["owner/name", "--yes", "--include", ".env"];
  const { code, stdout, stderr } = await push(repository.path, args);
  assert.equal(code, 1);
  assert.match(stderr, /parts\/word\.ts:2 \(a token of the Hugging Face Hub\)/);
  assert.match(stderr, /\.env \(a file of environment variables\)/);
  assert.ok(!`${stdout}${stderr}`.includes(token));
  assert.equal(hub.commits.length, commits);
  assert.equal((await push(repository.path, [...args, "--force"])).code, 0);
});

test("a token that may not write, or none, is told so in a sentence", async () => {
  await using repository = await makeRepository({ "handler.ts": "export default class {}\n" });
  const reader = await push(repository.path, ["owner/name", "--yes"], READER);
  assert.equal(reader.code, 1);
  assert.match(reader.stderr, /Cannot push to "owner\/name": the Hub forbids it.*may write/);
  const nobody = await push(repository.path, ["owner/name", "--yes"], "");
  assert.match(nobody.stderr, /there is no token; set HF_TOKEN to one that may write/);
});

test("what somebody else has pushed meanwhile is not lost", async () => {
  await using repository = await makeRepository({ "handler.ts": "export default class A {}\n" });
  hub.misbehave(/POST \/api\/models\/owner\/name\/commit/, {
    status: 412,
    headers: { "content-type": "application/json" },
    body: '{"error":"A commit has happened since. Please refresh and try again."}',
  });
  const { code, stderr } = await push(repository.path, ["owner/name", "--yes"]);
  assert.equal(code, 1);
  assert.match(stderr, /somebody else has pushed since the changes were looked at; run it again/);
});

test("a handler that does not compile is not pushed, nor one that leaves the repository", async () => {
  await using broken = await makeRepository({ "handler.ts": "export class {\n" });
  const { code, stderr } = await push(broken.path, ["owner/name", "--yes"]);
  assert.equal(code, 1);
  assert.match(stderr, /Cannot compile the handler: handler\.ts:1/);
  await using outside = await makeRepository({
    "inner/handler.ts": 'import "../secret.ts";\n',
    "secret.ts": "",
  });
  const refused = await push(`${outside.path}/inner`, ["owner/name", "--yes"]);
  assert.match(refused.stderr, /it imports .*secret\.ts, which lies outside of the repository/);
  await using whole = await makeRepository({ "handler.ts": "export default class {}\n" });
  const included = await push(whole.path, ["owner/name", "--include", "../x"]);
  assert.equal(included.code, 2);
});

test("a question is a yes only where somebody says so", async () => {
  const ask = async (typed: string | null, isTTY = true): Promise<boolean | undefined> => {
    const input = Object.assign(new PassThrough(), { isTTY });
    const answer = askForYes("Push?", { input, output: new PassThrough() });
    if (typed === null) input.end();
    else input.write(typed);
    return answer;
  };
  assert.equal(await ask("y\n"), true);
  assert.equal(await ask("Yes\n"), true);
  assert.equal(await ask("\n"), false);
  assert.equal(await ask("no\n"), false);
  assert.equal(await ask(null), false);
  assert.equal(await ask("y\n", false), undefined);
});
