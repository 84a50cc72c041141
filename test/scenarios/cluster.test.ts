/**
 * The program as a cluster runs it: KServe's arguments, a volume that is not its own, no home, files that come late, a pod
 * that has to go.
 */
import assert from "node:assert/strict";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { Agent, get, request, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { silentLog } from "../../runtime/observe/log.ts";
import { writeTerminationLog } from "../../runtime/termination-log.ts";
import { ROOT, runHubserve, startHubserve, type Hubserve } from "../support/hubserve.ts";

const MODEL = join(ROOT, "test/fixtures/models/seqcls-bert-2way");
const ODD_JOBS = join(ROOT, "test/fixtures/repositories/odd-jobs");

const root = mkdtempSync(join(tmpdir(), "hubserve-cluster-"));
chmodSync(root, 0o755); // others look into it below
after(() => rmSync(root, { recursive: true, force: true }));

/** A folder of files that nobody may change, as `/mnt/models` is. */
function mount(name: string, files: Readonly<Record<string, string>> = {}): string {
  const folder = join(root, name);
  mkdirSync(folder, { recursive: true });
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(join(folder, file, ".."), { recursive: true });
    writeFileSync(join(folder, file), content);
  }
  return folder;
}

function handlerOf(body: string, more = ""): string {
  return `export class EndpointHandler {\n${more}\n  call(data, context) {\n    ${body}\n  }\n}\n`;
}

const MOUNTED = "/mnt/models is read-only, the user any number";

test("as any user, with no home and nothing to write but the temporary folder, it serves as KServe starts it", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("only root may start a program as another user");
  const uid = 54_321;
  const scratch = mount("tmp");
  chmodSync(scratch, 0o1777);
  const folder = mount("models", { "handler.ts": handlerOf("return data.inputs;") });
  await using server = await startHubserve({
    args: ["--model_name=mine", `--model_dir=${folder}`, "--http_port=0", "--management-port=0"],
    env: { HOME: "/nonexistent", TMPDIR: scratch },
    cwd: "/",
    uid,
  });
  await server.line(/Ready after/);
  const answer = await server.post("hello", { path: "/predictions/mine" });
  assert.deepEqual([answer.status, await answer.text()], [200, "hello"], MOUNTED);
  const keys = join(scratch, `hubserve-${uid}`, "key_file.json");
  assert.match(await server.line(/^.*Management on/), new RegExp(`keys in ${keys}`));
  assert.ok(existsSync(keys));
  server.kill("SIGTERM");
  assert.equal(await server.exited, 0);
});

test("as any user, the default handler serves a model, and an archive is unpacked in the temporary folder", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("only root may start a program as another user");
  const uid = 54_322;
  const scratch = mount("tmp2");
  chmodSync(scratch, 0o1777);
  const source = mount("packed", { "handler.ts": handlerOf("return 'packed';") });
  const made = await runHubserve({
    args: [
      "archive",
      "--model-name=packed",
      "--version=1.0",
      `--handler=${join(source, "handler.ts")}`,
      `--export-path=${mount("volume/model-store")}`,
    ],
  });
  assert.equal(made.code, 0, made.stderr);
  const env = { HOME: "/", TMPDIR: scratch };
  {
    await using server = await startHubserve({
      args: ["--model_name", "ignored", "--model_dir", join(root, "volume")],
      env,
      cwd: "/",
      uid,
    });
    await server.line(/Ready after/);
    await server.line(/Found TorchServe's volume: .*all of it/);
    await server.line(
      /Cannot write to \/\.cache\/hubserve\/archives: using .*hubserve-54322\/archives/,
    );
    const answer = await server.post("x", { path: "/predictions/packed" });
    assert.equal(await answer.text(), "packed");
  }
  await using server = await startHubserve({
    args: ["--model_name=bert", `--model_dir=${MODEL}`],
    env,
    cwd: "/",
    uid,
  });
  await server.line(/Ready after/);
  assert.equal((await server.post("I love you", { path: "/predictions/bert" })).status, 200);
});

test("somebody else's folder in the temporary one is not used", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("only root may start a program as another user");
  const uid = 54_323;
  const scratch = mount("tmp3");
  chmodSync(scratch, 0o1777);
  mkdirSync(join(scratch, `hubserve-${uid}`));
  const options = {
    args: [ODD_JOBS, "--management-port=0"],
    env: { HOME: "/nonexistent", TMPDIR: scratch },
    cwd: "/",
    uid,
  };
  await assert.rejects(startHubserve(options), /hubserve-54323: it belongs to somebody else/);
});

test("files that come late are waited for, and an empty folder without that is an error at once", async () => {
  const folder = join(root, "late");
  await using server = await startHubserve({
    args: ["--model_name=late", `--model_dir=${folder}`],
    env: { MODEL_INIT_MODE: "async" },
  });
  await server.line(/Waiting for the files of .*: it is not there/);
  assert.equal((await fetch(`${server.url}/health/ready`)).status, 503);
  cpSync(MODEL, `${folder}.part`, { recursive: true });
  renameSync(`${folder}.part`, folder);
  await server.line(/Ready after/);
  assert.equal((await server.post("I love you", { path: "/predictions/late" })).status, 200);

  const empty = mount("empty");
  const { code, stderr, stdout } = await runHubserve({
    args: [`--model_dir=${empty}`, "--port=0"],
  });
  assert.equal(code, 1);
  assert.match(stderr + stdout, /Cannot serve the folder .*empty: it has no handler\.ts/);
});

test("files that never come are waited for as long as --startup-timeout says", async () => {
  const empty = mount("never");
  const { code, stderr, stdout } = await runHubserve({
    args: [`--model_dir=${empty}`, "--port=0", "--startup-timeout=1s"],
    env: { MODEL_INIT_MODE: "async" },
  });
  assert.equal(code, 1);
  assert.match(
    stderr + stdout,
    /never: after 1 s of waiting it is empty; is what fills it running/,
  );
});

test("why nothing can be served is written to the termination log, which is never created", async () => {
  const words = join(root, "termination-log");
  const broken = mount("broken", { "handler.ts": "throw new Error('no weights here');" });
  const run = (args: readonly string[]) =>
    runHubserve({ args: [...args, "--port=0"], env: { HUBSERVE_TERMINATION_LOG: words } });
  assert.equal((await run([broken])).code, 1);
  assert.ok(!existsSync(words));

  writeFileSync(words, "what was there before ".repeat(500));
  assert.equal((await run([broken])).code, 1);
  assert.match(readFileSync(words, "utf8"), /^Cannot load the handler: .*no weights here.*$/s);
});

test("the termination log takes 4096 bytes and no half characters, and nothing but a file is written to", () => {
  const words = mount("words");
  const path = join(words, "log");
  const warnings: string[] = [];
  const log = { ...silentLog(), warn: (text: string) => void warnings.push(text) };
  writeFileSync(path, "");
  writeTerminationLog(path, "é".repeat(3000), log);
  const written = readFileSync(path);
  assert.ok(written.byteLength <= 4096 && written.byteLength > 4090, String(written.byteLength));
  assert.match(written.toString(), /^é+…$/);
  writeTerminationLog(path, "short", log);
  assert.equal(readFileSync(path, "utf8"), "short");
  writeTerminationLog("/dev/null", "x", log); // a device: it is left alone
  assert.deepEqual(warnings, []);
  writeTerminationLog(words, "x", log);
  assert.match(warnings.join(), /^Cannot write why the program ends to .*words: .*EISDIR/);
});

test("the model answers its own example before it is ready, an author's handler where it gives one", async () => {
  const counting = handlerOf(
    "this.calls = (this.calls ?? 0) + 1; return { calls: this.calls, inputs: data.inputs, id: context.requestId };",
    "  static example = { inputs: 'hello' };",
  );
  const folder = mount("counting", { "handler.ts": counting });
  {
    await using server = await startHubserve({ args: [folder, "--workers=1"] });
    assert.match(await server.line(/Loaded in/), /warm-up \d+ ms/);
    await server.line(/Ready after/);
    assert.match(await server.line(/Try it/), /"inputs":"hello"/);
    const { calls } = (await (await server.post("x")).json()) as { calls: number };
    assert.equal(calls, 2);
  }
  {
    await using server = await startHubserve({ args: [folder, "--workers=1", "--no-warm-up"] });
    await server.line(/Ready after/);
    assert.doesNotMatch(await server.line(/Loaded in/), /warm-up/);
    const { calls } = (await (await server.post("x")).json()) as { calls: number };
    assert.equal(calls, 1);
  }
  await using server = await startHubserve({ args: [MODEL, "--workers=1"] });
  assert.match(await server.line(/Loaded in/), /warm-up \d+ ms/);
});

test("a warm-up that an author's handler fails is a warning", async () => {
  const failing = handlerOf(
    "if (data.inputs === 'cold') throw new Error('not yet'); return data.inputs;",
    "  static example = { inputs: 'cold' };",
  );
  await using server = await startHubserve({ args: [mount("failing", { "handler.ts": failing })] });
  await server.line(/WARN The warm-up failed, the first requests may be slow: .*not yet/);
  await server.line(/Ready after/);
  assert.equal(await (await server.post("warm")).json(), "warm");
});

test("an example that no client could send is refused at the start", async () => {
  const folder = mount("no-body", {
    "handler.ts": handlerOf("return 1;", "  static example = 'just a text';"),
  });
  const { code, stderr, stdout } = await runHubserve({ args: [folder, "--port=0"] });
  assert.equal(code, 1);
  assert.match(
    stderr + stdout,
    /static example in handler\.ts is no JSON object; wanted a request's body/,
  );
});

/** One request on a connection that is to be kept. */
function send(server: Hubserve, agent: Agent, inputs: unknown): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(`${server.url}/`, { method: "POST", agent }, resolve);
    sent.once("error", reject);
    sent.setHeader("content-type", "application/json");
    sent.end(JSON.stringify({ inputs }));
  });
}

function probe(url: string, agent: Agent): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => get(url, { agent }, resolve).once("error", reject));
}

test("SIGTERM: health says 503, requests are answered during the drain delay, each tells its client to go", async () => {
  await using server = await startHubserve({
    args: [ODD_JOBS, "--workers=1", "--drain-delay=1500ms"],
  });
  await server.line(/Ready after/);
  using agent = Object.assign(new Agent({ keepAlive: true }), {
    [Symbol.dispose](this: Agent) {
      this.destroy();
    },
  });
  const kept = await send(server, agent, { do: "echo" });
  kept.resume();
  assert.equal(kept.headers.connection, "keep-alive");
  const [, seconds] = /timeout=(\d+)/.exec(String(kept.headers["keep-alive"])) ?? [];
  assert.ok(Number(seconds) > 65, "longer than the balancers' own");

  const running = send(server, agent, { do: "sleep", ms: 800 });
  const isRunning = async (): Promise<boolean> =>
    (await (await fetch(`${server.url}/metrics`)).text()).includes("inf_batch_current_size 1");
  while (!(await isRunning()));
  server.kill("SIGTERM");
  await server.line(/Shutting down: 1 requests run/);
  const health = await probe(`${server.url}/health/ready`, agent);
  health.resume();
  assert.equal(health.statusCode, 503);
  assert.equal(health.headers.connection, "close");
  const late = await send(server, agent, { do: "sleep", ms: 1 });
  late.resume();
  assert.deepEqual([late.statusCode, late.headers.connection], [200, "close"]);
  const finished = await running;
  finished.resume();
  assert.deepEqual([finished.statusCode, finished.headers.connection], [200, "close"]);
  assert.equal(await server.exited, 0);
});

test("a trace that fits reaches the handler and the client, one that does not is as if it had not come", async () => {
  const folder = mount("tracing", {
    "handler.ts": handlerOf(
      "const { traceparent, tracestate } = context.headers; return { traceparent, tracestate };",
    ),
  });
  await using server = await startHubserve({ args: [folder, "--workers=1"] });
  await server.line(/Ready after/);
  const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  const fits = { traceparent, tracestate: "rojo=00f067aa0ba902b7, congo=t61rcWkgMzE" };
  const answer = await server.post("x", { headers: fits });
  const seen = { traceparent, tracestate: "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE" };
  assert.deepEqual(await answer.json(), seen);
  assert.equal(answer.headers.get("traceparent"), traceparent);
  assert.equal(answer.headers.get("tracestate"), seen.tracestate);
  const other = await server.post("x", {
    headers: { traceparent: "00-0-0-01", tracestate: "a=b" },
  });
  assert.deepEqual(await other.json(), {});
  assert.equal(other.headers.get("traceparent"), null);
});
