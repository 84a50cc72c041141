/**
 * `scripts/deploy-inference-endpoint.ts` against a server that behaves like Hugging Face's API.
 */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { at } from "../support/manifests.ts";
import { ROOT, runHubserve } from "../support/hubserve.ts";

const entry = join(ROOT, "scripts/deploy-inference-endpoint.ts");
const IMAGE = ["--image", "registry.example.com/hubserve:0.1.0"];

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly token: string;
  readonly body: unknown;
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const part of request) text += String(part);
  return text === "" ? undefined : JSON.parse(text);
}

/** @param states What a look at the endpoint finds, one after the other; the last one stays. */
async function startApi(
  states: readonly string[],
  { existing = [], refuse }: { existing?: readonly string[]; refuse?: string } = {},
) {
  const asked: Asked[] = [];
  const endpoints = new Set(existing);
  const left = [...states];
  const server = createServer((request, response) => {
    void (async () => {
      const { method = "", url: path = "" } = request;
      const token = request.headers.authorization ?? "";
      const body = await readBody(request);
      asked.push({ method, path, token, body });
      const answer = (status: number, value: unknown): void => {
        response.writeHead(status, { "content-type": "application/json" });
        response.end(JSON.stringify(value));
      };
      if (token !== "Bearer hf_right") return answer(401, { error: "Invalid token" });
      if (path === "/api/whoami-v2") return answer(200, { type: "user", name: "ada" });
      if (method === "POST" && path === "/v2/endpoint/ada") {
        if (refuse !== undefined) return answer(400, { error: refuse });
        endpoints.add(String(at(body, "name")));
        return answer(202, { name: at(body, "name"), status: { state: "pending" } });
      }
      const name = /^\/v2\/endpoint\/ada\/([\w-]+)$/.exec(path)?.[1];
      if (name === undefined || !endpoints.has(name)) return answer(404, { error: "Not Found" });
      if (method === "PUT") return answer(200, { name, status: { state: "updating" } });
      const state = (left.length > 1 ? left.shift() : left[0]) ?? "running";
      const url = state === "running" ? "https://x.endpoints.huggingface.cloud" : undefined;
      const message = state === "failed" ? "no such image" : "";
      return answer(200, { name, status: { state, message, ...(url && { url }) } });
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    asked,
    env: {
      HF_ENDPOINTS_API: `${origin}/v2`,
      HF_ENDPOINT: origin,
      HF_TOKEN: "hf_right",
      LOOK_EVERY_MS: "10",
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test("an endpoint that is not there is created with the image, and waited for", async () => {
  await using api = await startApi(["pending", "initializing", "initializing", "running"]);
  const { code, stdout, stderr } = await runHubserve({
    entry,
    args: ["ada/Emotion_Model", ...IMAGE, "--env", "HUBSERVE_DTYPE=fp32", "--secret", "MY_KEY"],
    env: { ...api.env, MY_KEY: "s3cret" },
  });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^Created ada\/emotion-model: pending\n/);
  assert.match(
    stdout,
    /\npending\ninitializing\nemotion-model is running: https:\/\/x\.endpoints\./,
  );
  const created = api.asked.find(({ method }) => method === "POST");
  assert.deepEqual(created?.body, {
    name: "emotion-model",
    type: "protected",
    provider: { vendor: "aws", region: "us-east-1" },
    compute: {
      accelerator: "cpu",
      instanceType: "intel-spr",
      instanceSize: "x2",
      scaling: { minReplica: 1, maxReplica: 1 },
    },
    model: {
      repository: "ada/Emotion_Model",
      task: "custom",
      framework: "custom",
      image: {
        custom: { url: "registry.example.com/hubserve:0.1.0", port: 8080, healthRoute: "/health" },
      },
      env: { HF_MODEL_DIR: "/repository", HUBSERVE_DTYPE: "fp32" },
      secrets: { MY_KEY: "s3cret" },
    },
  });
  assert.doesNotMatch(stdout + stderr, /s3cret|hf_right/);
});

test("one that is there is updated, less what cannot be changed", async () => {
  await using api = await startApi(["running"], { existing: ["mine"] });
  const { code, stdout } = await runHubserve({
    entry,
    args: ["ada/model", ...IMAGE, "--name=mine", "--namespace=ada", "--no-wait"],
    env: api.env,
  });
  assert.equal(code, 0);
  assert.equal(stdout, "Updated ada/mine: updating\n");
  const calls = api.asked.map(({ method, path }) => `${method} ${path}`);
  assert.deepEqual(calls, ["GET /v2/endpoint/ada/mine", "PUT /v2/endpoint/ada/mine"]);
  assert.deepEqual(Object.keys(api.asked[1]?.body as object), ["compute", "model"]);
});

const FAILURES: readonly (readonly [
  what: string,
  states: readonly string[],
  more: { refuse?: string; token?: string },
  message: RegExp,
])[] = [
  [
    "an endpoint that does not start",
    ["pending", "failed"],
    {},
    /^Cannot start "model": no such image$/m,
  ],
  [
    "a request that is refused",
    [],
    { refuse: "instance type is unknown" },
    /^Cannot create "model": the API answered 400 \(instance type is unknown\)$/m,
  ],
  [
    "a wrong token",
    [],
    { token: "hf_wrong" },
    /^Cannot ask whose token it is: the API answered 401 \(Invalid token\); the token needs the right/m,
  ],
];
for (const [what, states, { refuse, token }, message] of FAILURES) {
  test(`${what} is said so, with exit code 1`, async () => {
    await using api = await startApi(states, refuse === undefined ? {} : { refuse });
    const env = { ...api.env, ...(token !== undefined && { HF_TOKEN: token }) };
    const { code, stderr } = await runHubserve({ entry, args: ["ada/model", ...IMAGE], env });
    assert.equal(code, 1);
    assert.match(stderr, message);
  });
}

test("--dry-run prints the request without secrets, and needs neither a token nor a network", async () => {
  const { code, stdout } = await runHubserve({
    entry,
    args: [
      "ada/model",
      ...IMAGE,
      "--dry-run",
      "--secret=KEY",
      "--min-replica=0",
      "--scale-to-zero=15",
    ],
    env: { KEY: "s3cret", REGISTRY_USERNAME: "me", REGISTRY_PASSWORD: "pa55" },
  });
  assert.equal(code, 0);
  assert.match(
    stdout,
    /^POST https:\/\/api\.endpoints\.huggingface\.cloud\/v2\/endpoint\/<namespace>\n/,
  );
  const body: unknown = JSON.parse(stdout.slice(stdout.indexOf("{"), stdout.lastIndexOf("}") + 1));
  assert.equal(at(body, "compute", "scaling", "scaleToZeroTimeout"), 15);
  assert.deepEqual(at(body, "model", "secrets"), { KEY: "…" });
  assert.doesNotMatch(stdout, /s3cret|pa55/);
});

test("a command line that does not fit is said so, with exit code 2", async () => {
  const lines: readonly (readonly [args: readonly string[], message: RegExp])[] = [
    [["ada/model"], /wanted --image/],
    [["model", ...IMAGE], /wanted one Hub repository/],
    [["ada/model", ...IMAGE, "--scale-to-zero", "15"], /needs --min-replica 0/],
    [["ada/model", ...IMAGE, "--min-replica", "2"], /more than --max-replica, 1/],
    [["ada/model", ...IMAGE, "--secret", "ABSENT_HERE"], /there is no such variable/],
    [["ada/model", ...IMAGE, "--type", "secret"], /wanted one of protected, public, private/],
    [["ada/model", ...IMAGE], /wanted HF_TOKEN/],
  ];
  for (const [args, message] of lines) {
    const { code, stderr } = await runHubserve({ entry, args });
    assert.equal(code, 2, args.join(" "));
    assert.match(stderr, message);
  }
});
