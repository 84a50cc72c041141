/**
 * Keeps the drawing in ARCHITECTURE.md true: which room may open onto which, where a vendor may live, and which doors
 * to the outside exist once. Static, dynamic, type-only and `import.meta.resolve` imports all count.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const RUNTIME = fileURLToPath(new URL("../runtime/", import.meta.url));

/** Open to every room. */
const GROUND = [
  "observe",
  "inference",
  "generation",
  "fields",
  "tensor-arrays",
  "errors",
  "weights",
  "media-type",
  "text-length",
  "url-hosts",
  "guarded-request",
  "allowed-urls",
  "nearest-word",
  "api-key-text",
  "termination-log",
  "writable-folder",
  "torchserve-modes",
  "version",
];

/** Room → the rooms it may open onto, besides itself and the ground floor. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  cli: [
    "config",
    "options",
    "harness",
    "serve",
    "describe",
    "archive",
    "start",
    "show-config",
    "commands",
  ],
  commands: [
    "config",
    "options",
    "option-values",
    "repository",
    "handler",
    "http",
    "engine",
    "gate",
  ],
  start: ["config"],
  "show-config": ["config"],
  archive: ["config", "repository"],
  index: ["config", "explain", "handler", "serve"],
  serve: ["config", "gate", "launch", "http", "grpc", "engine", "snapshots", "startup-models"],
  gate: [],
  snapshots: ["config", "engine", "properties", "torchserve-config"],
  "startup-models": ["config", "engine", "repository", "torchserve-config"],
  launch: ["config", "repository", "engine"],
  describe: ["config"],
  harness: ["config", "repository", "handler"],
  worker: ["handler", "messages"],
  http: ["engine"],
  grpc: ["engine", "http"],
  engine: ["messages"],
  handler: ["explain"],
  explain: [],
  repository: [],
  messages: [],
  config: ["options", "kserve-arguments", "moved-files", "torchserve-config", "torchserve-volume"],
  "kserve-arguments": [],
  "moved-files": [],
  "torchserve-volume": ["options", "torchserve-config"],
  "torchserve-config": ["options", "properties"],
  properties: [],
  options: ["option-values"],
  "option-values": [],
};

/** Package → the only files or rooms that may name it. */
const VENDORS: readonly (readonly [packages: RegExp, homes: readonly string[], why: string])[] = [
  [/^hono(\/|$)|^@hono\/(?!node-server)/, ["http/"], "the engine can be driven without HTTP"],
  [/^@hono\/node-server/, ["serve.ts", "gate.ts"], "one place listens"],
  [/^@huggingface\/hub/, ["repository/"], "one place downloads and uploads"],
  [/^@huggingface\/transformers/, ["handler/"], "the parent never loads a model"],
  [/^@huggingface\/jinja/, ["handler/model/chat-template-jinja.ts"], "one place runs templates"],
  [
    /^(sharp|mpg123-decoder|opus-decoder|@wasm-audio-decoders)(\/|$)/,
    ["handler/media/"],
    "one place decodes images and sounds",
  ],
  [
    /^protobufjs(\/|$)/,
    ["explain/", "grpc/"],
    "one place reads model files, and one what gRPC says",
  ],
  [/^@opentelemetry\//, ["observe/trace-"], "nothing of it is loaded unless traces are collected"],
  [/^@grpc\/|^grpc-health-check$/, ["grpc/"], "the protocol can be served without gRPC"],
  [/^(yauzl|yazl|tar)(\/|$)/, ["repository/"], "one place opens archives"],
  [/^onnxruntime-(node|common)/, ["handler/", "explain/"], "a native crash can only kill a child"],
  [
    /^(tsx|esbuild)(\/|$)/,
    ["handler/", "engine/process.ts"],
    "published JavaScript still runs a TypeScript handler",
  ],
  [
    /^node:child_process/,
    [
      "engine/process.ts",
      "engine/sandbox-bundle.ts",
      "repository/requirements",
      "start.ts",
      "commands/bench-server.ts",
    ],
    "few places start programs",
  ],
  [
    /^node:https?$|^node:net$/,
    ["gate.ts", "guarded-request.ts", "handler/media/remote.ts", "commands/bench-load.ts"],
    "one place listens, one dials where a client says, and one measures",
  ],
];

/** Where programs for visitors to copy are written: what stands in them is text. */
const SNIPPETS = ["http/playground/client/snippets.ts", "http/playground/generated-page.ts"];

/** Expressions that may stand in a few files only. */
const DOORS: readonly (readonly [expression: RegExp, homes: readonly string[], why: string])[] = [
  [/\bprocess\.(env|argv)\b/, ["config.ts", "cli.ts", ...SNIPPETS], "one door for configuration"],
  [
    /\bprocess\.std(out|err)\b|\bconsole\./,
    ["observe/log.ts", "observe/progress.ts", "observe/terminal.ts", ...SNIPPETS],
    "one door for output",
  ],
];

interface Import {
  readonly file: string;
  readonly specifier: string;
  readonly kind: "type" | "static" | "dynamic";
}

/** Every import in `source`, whatever its form. */
function importsOf(file: string, source: string): Import[] {
  const code = withoutComments(source);
  const forms: readonly [RegExp, Import["kind"]][] = [
    [/^\s*(?:import|export)\s+type\s[^;"']*?from\s*["']([^"']+)["']/gm, "type"],
    [/^\s*(?:import|export)\s+(?!type\s)[^;"'()]*?from\s*["']([^"']+)["']/gm, "static"],
    [/^\s*import\s*["']([^"']+)["']/gm, "static"],
    [/\bimport\(\s*["']([^"']+)["']\s*\)/g, "dynamic"],
    [/\bimport\.meta\.resolve\(\s*["']([^"']+)["']/g, "dynamic"],
    [/\brequire\(\s*["']([^"']+)["']\s*\)/g, "dynamic"],
  ];
  return forms.flatMap(([form, kind]) =>
    [...code.matchAll(form)].map((match) => ({ file, specifier: match[1] ?? "", kind })),
  );
}

function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

/** `"handler/tasks/registry.ts"` → `"handler"`, `"serve.ts"` → `"serve"`. */
function roomOf(file: string): string {
  return file.split("/")[0]?.replace(/\.ts$/, "") ?? "";
}

function brokenArrow({ file, specifier }: Import): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const target = posix.join(posix.dirname(file), specifier);
  if (target.startsWith("..")) return undefined; // package.json
  const [from, to] = [roomOf(file), roomOf(target)];
  if (from === to || GROUND.includes(to)) return undefined;
  if (GROUND.includes(from)) return `${file} is ground floor and must not open onto ${target}`;
  return ARROWS[from]?.includes(to)
    ? undefined
    : `${file} must not import ${target}: ${from} does not open onto ${to}`;
}

function strayVendor({ file, specifier }: Import): string | undefined {
  const rule = VENDORS.find(([packages]) => packages.test(specifier));
  if (rule === undefined || rule[1].some((home) => file.startsWith(home))) return undefined;
  return `${file} must not import ${specifier}, which lives in ${rule[1].join(", ")}: ${rule[2]}`;
}

function strayDoor(file: string, source: string): string[] {
  const code = withoutComments(source);
  return DOORS.filter(([expression, homes]) => expression.test(code) && !homes.includes(file)).map(
    ([expression, homes, why]) =>
      `${file} has ${expression}, which belongs to ${homes.join(", ")}: ${why}`,
  );
}

const SOURCES = readdirSync(RUNTIME, { recursive: true })
  .map((file) => String(file).replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".ts"))
  .map((file) => ({ file, source: readFileSync(join(RUNTIME, file), "utf8") }));
const IMPORTS = SOURCES.flatMap(({ file, source }) => importsOf(file, source));

test("every import follows an arrow of the drawing", () => {
  assert.ok(IMPORTS.length > 100, `the reader of imports found only ${IMPORTS.length}`);
  assert.deepEqual(IMPORTS.map(brokenArrow).filter(Boolean), []);
});

test("every room of the drawing exists or is announced, and every file belongs to a room", () => {
  const rooms = new Set(SOURCES.map(({ file }) => roomOf(file)));
  const known = [...GROUND, ...Object.keys(ARROWS)];
  assert.deepEqual(
    [...rooms].filter((room) => !known.includes(room)),
    [],
  );
});

test("vendors live where the drawing says", () => {
  // A type costs nothing at run time, but a vendor's types in a room would tie it to the vendor all the same.
  assert.deepEqual(IMPORTS.map(strayVendor).filter(Boolean), []);
});

test("configuration and output have one door each", () => {
  assert.deepEqual(
    SOURCES.flatMap(({ file, source }) => strayDoor(file, source)),
    [],
  );
});

test("index.ts loads neither a server nor a model when it is imported", () => {
  const eager = IMPORTS.filter(({ file, kind }) => file === "index.ts" && kind === "static");
  const heavy = eager.filter(({ specifier }) =>
    /\/serve\.ts$|handler\/(load|default)/.test(specifier),
  );
  assert.deepEqual(heavy, []);
});

test("the guards see what they guard against", () => {
  const bad =
    'import { x } from "../handler/load.ts";\nconst y = await import("@huggingface/transformers");\nprocess.env.X;';
  const found = importsOf("engine/bad.ts", bad);
  assert.deepEqual(
    found.map(({ specifier }) => specifier),
    ["../handler/load.ts", "@huggingface/transformers"],
  );
  assert.match(brokenArrow(found[0]!) ?? "", /engine does not open onto handler/);
  assert.match(strayVendor(found[1]!) ?? "", /the parent never loads a model/);
  assert.match(strayDoor("engine/bad.ts", bad)[0] ?? "", /one door for configuration/);
  assert.equal(importsOf("x.ts", 'import type { A } from "./a.ts";')[0]?.kind, "type");
});

test("a file is named in kebab-case for its one idea, and nothing is called utils", () => {
  const odd = SOURCES.filter(
    ({ file }) => !/^[a-z0-9-]+\.ts$/.test(posix.basename(file)) || /util|helper|common/.test(file),
  );
  assert.deepEqual(
    odd.map(({ file }) => file),
    [],
  );
});
