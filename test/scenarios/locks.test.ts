/**
 * The locks of the real program: keys on each port, and nothing of them anywhere else; what a handler finds in its environment.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { connect, grpcTargetOf, refusal } from "../support/grpc.ts";
import { makeRepository } from "../support/handler-repository.ts";
import { runHubserve, startHubserve } from "../support/hubserve.ts";

const KEY = "the-key-in-the-variable-000001";
const FILED = "the-key-in-the-file-0000000002";
const TOKEN = "hf_theTokenOfTheHub000003";

const HANDLER = `
export class EndpointHandler {
  async call(data, context) {
    if (data.inputs === "fail") throw new Error("failed with " + Object.values(process.env).join(" "));
    return { env: process.env, headers: context?.headers ?? null, argv: [...process.argv, ...process.execArgv] };
  }
}`;

test("with API keys every port asks for one, and no key is seen again", async () => {
  await using repository = await makeRepository({
    "handler.mjs": HANDLER,
    keys: `# one\n${FILED}\n`,
  });
  await using server = await startHubserve({
    args: [
      repository.path,
      "--api-key-file",
      join(repository.path, "keys"),
      "--log-level",
      "debug",

      "--management-port",
      "0",
      "--metrics-port",
      "0",
      "--grpc-port",
      "0",
      "--disable-token-auth",
      "--handler-env",
      "WEATHER_API_KEY",
      "--handler-env",
      "NOT_SET",
    ],
    env: {
      HUBSERVE_API_KEY: KEY,
      HF_TOKEN: TOKEN,
      WEATHER_API_KEY: "for-the-handler",
      DB_PASSWORD: "not-for-the-handler",
      INNOCENT: `a copy of ${KEY}`,
      GREETING: "hello",
    },
  });
  await server.line(/Ready after/);
  const urlOf = async (pattern: RegExp): Promise<string> =>
    /http:\/\/[^\s,;]+/.exec(await server.line(pattern))?.[0] ?? "";
  const management = await urlOf(/Management on /);
  const metrics = await urlOf(/Metrics on /);
  for (const url of [
    `${server.url}/info`,
    `${server.url}/metrics`,
    `${management}/models`,
    metrics,
  ]) {
    const status = async (headers: Record<string, string>): Promise<number> => {
      const response = await fetch(url, { headers });
      await response.text();
      return response.status;
    };
    assert.equal(await status({}), 401, url);
    assert.equal(await status({ authorization: "Bearer nobody-s-key" }), 401, url);
    assert.equal(await status({ authorization: `Bearer ${KEY}` }), 200, url);
    assert.equal(await status({ "x-api-key": FILED }), 200, url);
  }
  assert.equal((await fetch(`${server.url}/health`)).status, 200);

  const target = await grpcTargetOf(server);
  await using rpc = connect(target);
  await assert.rejects(
    rpc.call("ModelMetadata", { name: "x" }),
    refusal("UNAUTHENTICATED", /no API key that is good/),
  );
  await rpc.call("ServerMetadata", {}, { metadata: { authorization: `Bearer ${FILED}` } });
  await rpc.call("ServerLive");

  const headers = { authorization: `Bearer ${KEY}`, "x-api-key": FILED };
  const answer = await (await server.post("x", { headers })).text();
  const { env } = JSON.parse(answer) as { env: Record<string, string> };
  assert.equal(env["GREETING"], "hello");
  assert.equal(env["WEATHER_API_KEY"], "for-the-handler");
  for (const name of [
    "HUBSERVE_API_KEY",
    "HUBSERVE_API_KEY_FILE",
    "HF_TOKEN",
    "DB_PASSWORD",
    "INNOCENT",
  ])
    assert.equal(env[name], undefined, name);
  const failure = await (await server.post("fail", { headers })).text();
  const info = await (await fetch(`${server.url}/info`, { headers })).text();
  const openings = await server.line(/look like secrets/);
  assert.match(openings, /DB_PASSWORD/);
  assert.match(openings, /INNOCENT/);
  assert.match(
    await server.line(/not set/),
    /--handler-env names variables that are not set: NOT_SET/,
  );

  await writeFile(join(repository.path, "keys"), "another-key-for-the-file-0004\n");
  const statusWith = async (key: string): Promise<number> =>
    (await fetch(`${server.url}/info`, { headers: { "x-api-key": key } })).status;
  while ((await statusWith(FILED)) === 200) await delay(50); // it is looked at once a second
  assert.equal(await statusWith("another-key-for-the-file-0004"), 200);
  await server.line(/Read the API keys anew/);

  const everything = [answer, failure, info, ...server.lines].join("\n");
  for (const secret of [KEY, FILED, TOKEN, "not-for-the-handler"])
    assert.ok(!everything.includes(secret), `${secret} was seen`);
});

test("hubserve config says that keys are set and where, not what they are", async () => {
  for (const args of [["config"], ["config", "--json"]]) {
    const { stdout, stderr, code } = await runHubserve({
      args,
      env: { HUBSERVE_API_KEYS: `${KEY},${FILED}` },
    });
    assert.equal(code, 0);
    assert.match(stdout, /api-key\b.*(?:\n.*)?\*\*\*(?:.*\n?.*)HUBSERVE_API_KEYS/);
    assert.ok(![KEY, FILED].some((key) => (stdout + stderr).includes(key)));
  }
});

test("a key as an argument is refused, as are a bad one and the server's own keys for handlers", async () => {
  for (const [args, env, said] of [
    [
      ["--api-key", KEY],
      {},
      /arguments can be read by every user of a machine; set the variable HUBSERVE_API_KEY/,
    ],
    [
      [],
      { HUBSERVE_API_KEY: `two words of ${KEY}` },
      /HUBSERVE_API_KEY: found a value that does not fit, wanted 1 to 1000 keys/,
    ],
    [
      ["--handler-env", "HUBSERVE_API_KEY"],
      {},
      /wanted names of variables other than those of this server's own keys/,
    ],
    [["--handler-env", "A=b"], {}, /wanted names of environment variables, without their values/],
    [
      ["--api-key-file", "/no/such/file"],
      {},
      /Cannot read the API keys in \/no\/such\/file: ENOENT/,
    ],
  ] as const) {
    const { code, stdout, stderr } = await runHubserve({
      args: ["serve", ...args, "--port", "0"],
      env,
    });
    assert.equal(code, 2, stderr);
    assert.match(stderr, said);
    assert.ok(!(stdout + stderr).includes(KEY), "not even in an error");
  }
});

test("hubserve describe sends the key, and says when it lacks one", async () => {
  await using repository = await makeRepository({ "handler.mjs": HANDLER });
  await using server = await startHubserve({
    args: [repository.path],
    env: { HUBSERVE_API_KEY: KEY },
  });
  await server.line(/Ready after/);
  const args = ["describe", server.url];
  const without = await runHubserve({ args });
  assert.notEqual(without.code, 0);
  assert.match(without.stderr, /it wants an API key; set HUBSERVE_API_KEY/);
  const withKey = await runHubserve({ args, env: { HUBSERVE_API_KEY: KEY } });
  assert.equal(withKey.code, 0, withKey.stderr);
});
