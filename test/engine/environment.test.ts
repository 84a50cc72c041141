import assert from "node:assert/strict";
import { test } from "node:test";

import { workerEnvironment } from "../../runtime/engine/environment.ts";

const sieve = (
  env: Record<string, string | undefined>,
  more: Partial<Parameters<typeof workerEnvironment>[0]> = {},
): ReturnType<typeof workerEnvironment> =>
  workerEnvironment({ env, own: [], secrets: [], passed: [], ...more });

test("what a program needs to run is kept", () => {
  const env = {
    PATH: "/bin",
    HOME: "/root",
    PWD: "/srv",
    OLDPWD: "/",
    TMPDIR: "/tmp",
    LANG: "C.UTF-8",
    TZ: "Europe/Berlin",
    NODE_OPTIONS: "--max-old-space-size=4096",
    NODE_EXTRA_CA_CERTS: "/etc/ca.pem",
    SSL_CERT_FILE: "/etc/ca.pem",
    OMP_NUM_THREADS: "4",
    TOKENIZERS_PARALLELISM: "false",
    MAX_BATCH_TOTAL_TOKENS: "16000",
    HTTPS_PROXY: "http://proxy.internal:3128",
    MONKEY: "banana",
    KEYBOARD: "de",
    AUTHOR: "somebody",
    HUBSERVE_PORT: "8080",
    EMPTY_SECRET: "",
  };
  assert.deepEqual(sieve({ ...env, UNSET: undefined }), { env, withheld: [] });
});

test("what is called a secret stays behind, and is named", () => {
  const names = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "OPENAI_API_KEY",
    "APIKEY",
    "DB_PASSWORD",
    "MYSQL_PWD",
    "GH_TOKEN",
    "github_token",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "NPM_CONFIG__AUTH",
    "SESSION_COOKIE",
    "SIGNING_KEY",
    "SSH_PRIVATE_KEY_PATH",
    "SENTRY_DSN",
    "SLACK_WEBHOOK_URL",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_CONNECTIONSTRING",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "MY_TOKENS",
  ];
  const { env, withheld } = sieve(Object.fromEntries(names.map((name) => [name, "x1"])));
  assert.deepEqual(env, {});
  assert.deepEqual(withheld, names.sort());
});

test("what looks like a secret stays behind, whatever it is called", () => {
  const values = [
    "hf_abcdefghijklmnop",
    "sk-proj-abc",
    "ghp_0123456789",
    "github_pat_x",
    "xoxb-1-2",
    "AKIAIOSFODNN7EXAMPLE",
    "-----BEGIN RSA PRIVATE KEY-----\nabc",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x",
    "postgres://user:password@db.internal/x",
    "redis://:password@cache:6379",
    "http://user:p%40ss@proxy:3128",
  ];
  for (const value of values) assert.deepEqual(sieve({ PLAIN: value }).withheld, ["PLAIN"], value);
  for (const value of [
    "https://example.com/a:b@c",
    "http://user@host/",
    "sketch",
    "a://b",
    "://@:",
  ])
    assert.deepEqual(sieve({ PLAIN: value }).withheld, [], value);
});

test("the server's own secrets stay behind by name and by value, and are nobody's news by name", () => {
  const found = sieve(
    { HF_TOKEN: "t0ken-of-the-hub", COPY: "x t0ken-of-the-hub y", OTHER: "plain", SHORT: "abc" },
    { own: ["HF_TOKEN"], secrets: ["t0ken-of-the-hub", "abc"] },
  );
  assert.deepEqual(found, { env: { OTHER: "plain", SHORT: "abc" }, withheld: ["COPY"] });
});

test("a variable that was named is passed on", () => {
  const env = { WEATHER_API_KEY: "w", OTHER_API_KEY: "o", HF_TOKEN: "h" };
  const found = sieve(env, { own: ["HF_TOKEN"], passed: ["WEATHER_API_KEY", "HF_TOKEN", "UNSET"] });
  assert.deepEqual(found.env, { WEATHER_API_KEY: "w", HF_TOKEN: "h" });
  assert.deepEqual(found.withheld, ["OTHER_API_KEY"]);
});
