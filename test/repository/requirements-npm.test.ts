import assert from "node:assert/strict";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import {
  explainNpmFailure,
  findNpm,
  npmEnvironment,
} from "../../runtime/repository/requirements-npm.ts";

const SCRIPT = join("node_modules", "npm", "bin", "npm-cli.js");
const NODE = join("/opt", "node", "bin", "node");

for (const [name, env, existing, expected] of [
  [
    "the npm that started this program",
    { npm_execpath: "/x/npm-cli.js" },
    ["/x/npm-cli.js"],
    [NODE, "/x/npm-cli.js"],
  ],
  ["not the pnpm that did", { npm_execpath: "/x/pnpm.cjs" }, ["/x/pnpm.cjs"], ["npm"]],
  ["not one that is gone", { npm_execpath: "/x/npm-cli.js" }, [], ["npm"]],
  [
    "the one that came with Node",
    {},
    [join("/opt/node/lib", SCRIPT)],
    [NODE, join("/opt/node/lib", SCRIPT)],
  ],
  [
    "the one that came with Node on Windows",
    {},
    [join("/opt/node/bin", SCRIPT)],
    [NODE, join("/opt/node/bin", SCRIPT)],
  ],
  [
    "one on PATH",
    { PATH: ["/a", "/b"].join(delimiter) },
    [join("/b", SCRIPT)],
    [NODE, join("/b", SCRIPT)],
  ],
] as const) {
  test(`findNpm() finds ${name}`, () => {
    const exists = (path: string): boolean => (existing as readonly string[]).includes(path);
    assert.deepEqual(findNpm(env, NODE, exists), expected);
  });
}

test("npmEnvironment() keeps what npm needs and nothing else", () => {
  const env = {
    Path: "/bin",
    HOME: "/home/me",
    HF_TOKEN: "x",
    HUGGING_FACE_HUB_TOKEN: "x",
    AWS_SECRET_ACCESS_KEY: "x",
    NODE_OPTIONS: "--inspect",
    NPM_TOKEN: "x",
    npm_config_registry: "https://registry.example",
    npm_config_global: "true",
    npm_package_name: "x",
    HTTPS_PROXY: "http://proxy",
    absent: undefined,
  };
  assert.deepEqual(Object.keys(npmEnvironment(env)), [
    "ONNXRUNTIME_NODE_INSTALL",
    "Path",
    "HOME",
    "NPM_TOKEN",
    "npm_config_registry",
    "HTTPS_PROXY",
  ]);
});

/** What npm 10 and 12 print, recorded. */
const report = (code: string | number, summary: string, detail = ""): string =>
  JSON.stringify({ error: { code, summary, detail } }, undefined, 2);

for (const [name, stdout, stderr, expected] of [
  [
    "an unknown package (npm 10)",
    report(
      "E404",
      "Not Found - GET https://registry.npmjs.org/nope",
      "'nope@1' is not in this registry.\n\nNote that",
    ),
    "",
    'npm knows no package "nope"',
  ],
  [
    "an unknown package (npm 12)",
    report(
      "E404",
      "Not Found - GET https://r/@a%2fb",
      "The requested resource '@a/b@^1' could not be found",
    ),
    "",
    'npm knows no package "@a/b"',
  ],
  [
    "an unknown package without detail",
    report("E404", "Not Found - GET https://r.org/@a%2fb"),
    "",
    'npm knows no package "@a/b"',
  ],
  [
    "no matching version",
    report("ETARGET", "No matching version found for @a/b@^99."),
    "",
    'no version of "@a/b" matches "^99"',
  ],
  [
    "a dead registry",
    report(
      "ECONNREFUSED",
      "FetchError: request to http://127.0.0.1:1/ms failed, reason: connect ECONNREFUSED",
    ),
    "",
    "the registry 127.0.0.1:1 cannot be reached (ECONNREFUSED)",
  ],
  [
    "an unknown host",
    report(
      "ENOTFOUND",
      "request to http://nope.invalid/ms failed, reason: getaddrinfo ENOTFOUND nope.invalid",
    ),
    "",
    "the registry nope.invalid cannot be reached (ENOTFOUND)",
  ],
  [
    "a silent network failure",
    report("ETIMEDOUT", "timeout"),
    "",
    "the registry cannot be reached (ETIMEDOUT)",
  ],
  [
    "a conflict",
    report(
      "ERESOLVE",
      "unable to resolve dependency tree",
      'While resolving\n\nCould not resolve dependency:\npeer react@"17.0.2" from react-dom@17.0.2\n',
    ),
    "",
    'the packages do not fit each other: peer react@"17.0.2" from react-dom@17.0.2',
  ],
  [
    "git",
    report(
      128,
      "An unknown git error occurred",
      "git ls-remote https://h/x.git\nfatal: unable to access 'https://h/x.git/'",
    ),
    "",
    "fatal: unable to access 'https://h/x.git/'",
  ],
  [
    "another code",
    report("EINVALIDTAGNAME", 'Invalid tag name "^^" of package "ms@^^"'),
    "",
    'Invalid tag name "^^" of package "ms@^^" (EINVALIDTAGNAME)',
  ],
  [
    "lines alone (npm 10)",
    "",
    "npm warn x\nnpm error code E404\nnpm error 404 Not Found - GET https://r.org/nope\nnpm error 404\nnpm error 404  'nope@1' is not in this registry.\n",
    'npm knows no package "nope"',
  ],
  ["lines alone (npm 9)", "", "npm ERR! code EBROKEN\nnpm ERR! it broke\n", "it broke (EBROKEN)"],
  [
    "a crash",
    "",
    "node:internal/x\nError: Cannot find module './y'",
    "Error: Cannot find module './y'",
  ],
  ["nothing", "", "", "npm gave no reason"],
  [
    "a token and a path of the cache",
    report(
      "EACCES",
      "hf_abcdefghijk may not write /root/.cache/hubserve/requirements/.abc-1/node_modules/x",
    ),
    "",
    "[redacted] may not write … (EACCES)",
  ],
] as const) {
  test(`explainNpmFailure() names ${name}`, () => {
    assert.equal(explainNpmFailure(stdout, stderr), expected);
  });
}
