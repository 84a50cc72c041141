/**
 * What `scripts/prune-runtime.mjs` takes out of an image, and that the rest still runs.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const HERE = `${process.platform}/${process.arch}`;

test("pruning takes other platforms, browsers' builds, TypeScript, maps and documentation", (t) => {
  const folder = makeFolder(t);
  const stays = [
    `onnxruntime-node/bin/napi-v6/${HERE}/onnxruntime_binding.node`,
    "onnxruntime-node/dist/index.js",
    "onnxruntime-common/dist/cjs/index.js",
    "@huggingface/transformers/dist/transformers.node.mjs",
    "@huggingface/transformers/dist/transformers.node.cjs",
    "@huggingface/hub/dist/index.mjs",
    "@huggingface/hub/src/vendor/hash-wasm/LICENSE",
    "esbuild/bin/esbuild",
    "esbuild/LICENSE.md",
    "@opentelemetry/api/build/src/index.js",
    "protobufjs/light.js",
    "yaml/dist/index.js",
    "a/NOTICE.md",
    "a/node_modules/b/index.js",
    "a/tsconfig.json",
  ];
  const goes = [
    `onnxruntime-node/bin/napi-v6/plan9/${process.arch}/onnxruntime_binding.node`,
    `onnxruntime-node/bin/napi-v6/${process.platform}/z80/onnxruntime_binding.node`,
    `onnxruntime-node/bin/napi-v9/${process.platform}/z80/onnxruntime_binding.node`,
    "onnxruntime-web/dist/ort.node.min.mjs",
    "@opentelemetry/api/build/esm/index.js",
    "@opentelemetry/api/build/esnext/index.js",
    "protobufjs/dist/protobuf.js",
    "@huggingface/transformers/dist/transformers.js",
    "@huggingface/transformers/dist/transformers.web.js",
    "@huggingface/transformers/dist/transformers.node.min.mjs",
    "@huggingface/transformers/dist/ort-wasm-simd-threaded.jsep.mjs",
    "@huggingface/transformers/src/env.js",
    "@huggingface/hub/dist/browser/index.mjs",
    "@huggingface/hub/src/index.ts",
    "yaml/browser/index.js",
    "a/README.md",
    "a/node_modules/b/index.js.map",
    "a/node_modules/b/index.d.cts",
  ];
  for (const path of [...stays, ...goes]) put(join(folder, "node_modules", path));
  mkdirSync(join(folder, "node_modules/.bin"));
  symlinkSync("../gone/index.js", join(folder, "node_modules/.bin/gone")); // counts as itself

  const { status, stdout } = prune(folder);

  assert.equal(status, 0);
  assert.match(stdout, /^Removed 0 MB of .*node_modules; 0 MB are left\n$/);
  const left = new Set(filesOf(join(folder, "node_modules")));
  assert.deepEqual(
    stays.filter((path) => !left.has(path)),
    [],
    "removed",
  );
  assert.deepEqual(
    goes.filter((path) => left.has(path)),
    [],
    "left",
  );
  assert.ok(!existsSync(join(folder, "node_modules/@huggingface/transformers/src")));
  assert.ok(!existsSync(join(folder, "node_modules/onnxruntime-node/bin/napi-v9")), "empty folder");
});

test("pruning a folder without node_modules is refused", (t) => {
  const { status, stderr } = prune(makeFolder(t));
  assert.equal(status, 2);
  assert.match(stderr, /^Cannot prune: there is no .*node_modules\n$/);
});

// This clone's own packages, linked rather than copied: the real ones are half a gigabyte.
test("models, tokenizers, pictures, handlers' compiler and every package run when pruned", (t) => {
  const folder = makeFolder(t);
  const packages = join(ROOT, "node_modules");
  for (const path of filesOf(packages)) {
    if (/^(?:\.|typescript|@typescript|ox|@ox)/.test(path)) continue;
    link(join(packages, path), join(folder, "node_modules", path));
  }
  const { status, stderr } = prune(folder);
  assert.equal(status, 0, stderr);

  writeFileSync(join(folder, "probe.mjs"), PROBE);
  const probe = spawnSync(process.execPath, [join(folder, "probe.mjs"), join(ROOT, "model")], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: undefined, ORT_DISABLE_TELEMETRY: "1" },
  });

  assert.equal(probe.status, 0, probe.stderr);
  assert.deepEqual(JSON.parse(probe.stdout), {
    label: "joy",
    picture: [2, 1, 3],
    compiled: "const one = 1;\n",
    session: "function",
    required: "function",
  });
});

test("without codecs text is served as before, and whoever sends a picture or a sound is told", (t) => {
  const folder = makeFolder(t);
  const packages = join(ROOT, "node_modules");
  for (const path of filesOf(packages)) {
    if (/^(?:\.|typescript|@typescript|ox|@ox)/.test(path)) continue;
    link(join(packages, path), join(folder, "node_modules", path));
  }
  assert.equal(prune(folder, "--text").status, 0);
  assert.ok(!existsSync(join(folder, "node_modules/@img")));

  writeFileSync(join(folder, "probe.mjs"), TEXT_PROBE);
  const probe = spawnSync(process.execPath, [join(folder, "probe.mjs"), join(ROOT, "model")], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, NODE_OPTIONS: undefined, ORT_DISABLE_TELEMETRY: "1" },
  });

  assert.equal(probe.status, 0, probe.stderr);
  const { label, errors } = JSON.parse(probe.stdout) as { label: string; errors: string[] };
  assert.equal(label, "joy");
  assert.equal(errors.length, 3);
  for (const error of errors) assert.match(error, /^NO_CODECS Cannot read images and sounds: /);
});

const TEXT_PROBE = `
import { pipeline } from "@huggingface/transformers";
import sharp from "sharp";
import { MPEGDecoder } from "mpg123-decoder";
import { FLACDecoder } from "@wasm-audio-decoders/flac";
const classify = await pipeline("text-classification", process.argv[2], { dtype: "q8" });
const [{ label }] = await classify("I am quite excited how this will turn out");
const errors = [() => sharp(), () => new MPEGDecoder(), () => new FLACDecoder()].map((use) => {
  try { use(); return "none"; } catch ({ code, message }) { return code + " " + message; }
});
console.log(JSON.stringify({ label, errors }));
`;

test("the bill of materials names every package that runs, twice the same", (t) => {
  const folder = makeFolder(t);
  const [first, second] = ["one.json", "two.json"].map((name) => {
    const file = join(folder, name);
    const { status, stderr } = spawnSync(process.execPath, [join(ROOT, "scripts/sbom.mjs"), file], {
      cwd: ROOT,
      encoding: "utf8",
    });
    assert.equal(status, 0, stderr);
    return readFileSync(file, "utf8");
  });
  assert.equal(first, second);
  const bill = JSON.parse(first ?? "") as { components: { name: string; licenses?: unknown }[] };
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  const names = new Set(bill.components.map(({ name }) => name));
  assert.deepEqual(
    Object.keys(dependencies).filter((name) => !names.has(name)),
    [],
    "not in the bill",
  );
  assert.ok(!names.has("typescript"), "development packages are no part of the image");
});

test("the small image's root has Node, npm and what they load, and no shell", (t) => {
  if (process.platform !== "linux") return t.skip("it is made of what ldd says, on Linux");
  const folder = join(makeFolder(t), "image");
  const { status, stderr } = spawnSync(
    process.execPath,
    [join(ROOT, "scripts/image-root.mjs"), folder, ROOT],
    { encoding: "utf8" },
  );
  if (/Cannot find npm beside/.test(stderr)) return t.skip("npm is not where Node's image has it");
  assert.equal(status, 0, stderr);
  const files = filesOf(folder);
  assert.ok(files.includes("usr/local/bin/node"));
  assert.ok(files.includes("usr/local/lib/node_modules/npm/bin/npm-cli.js"));
  assert.ok(files.some((path) => path.endsWith("/libstdc++.so.6")));
  assert.ok(
    files.some((path) => /\/ld-linux[^/]*\.so/.test(path)),
    "the loader",
  );
  assert.ok(!files.some((path) => /(?:^|\/)(?:sh|bash|dash|apt|dpkg|perl)$/.test(path)));
});

const PROBE = `
import { createRequire } from "node:module";
import { pipeline, RawImage } from "@huggingface/transformers";
import { transform } from "esbuild";
import { InferenceSession } from "onnxruntime-node";
await Promise.all(["@grpc/grpc-js", "@grpc/reflection", "@hono/node-server", "@huggingface/hub", "@huggingface/jinja", "@opentelemetry/exporter-trace-otlp-http", "@opentelemetry/sdk-trace-base", "grpc-health-check", "hono", "protobufjs/light.js", "tsx", "yaml", "zod"].map((name) => import(name)));
const classify = await pipeline("text-classification", process.argv[2], { dtype: "q8" });
const [{ label }] = await classify("I am quite excited how this will turn out");
const bytes = await (await new RawImage(new Uint8ClampedArray(24), 4, 2, 3).toSharp()).png().toBuffer();
const picture = await (await RawImage.fromBlob(new Blob([bytes]))).resize(2, 1);
const { code } = await transform("const one: number = 1", { loader: "ts" });
const required = typeof createRequire(import.meta.url)("@huggingface/transformers").pipeline;
const { width, height, channels } = picture;
const session = typeof InferenceSession.create;
console.log(JSON.stringify({ label, picture: [width, height, channels], compiled: code, session, required }));
`;

function makeFolder(t: { after(fn: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), "hubserve-prune-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function prune(
  folder: string,
  ...flags: string[]
): { status: number | null; stdout: string; stderr: string } {
  const script = join(ROOT, "scripts/prune-runtime.mjs");
  return spawnSync(process.execPath, [script, folder, ...flags], { encoding: "utf8" });
}

function put(path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, "x");
}

function link(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to); // the temporary folder is on another disk
  }
}

/** Paths below `folder`, with `/`. Links are left out. */
function filesOf(folder: string, prefix = ""): string[] {
  return readdirSync(join(folder, prefix), { withFileTypes: true }).flatMap((entry) => {
    const path = `${prefix}${entry.name}`;
    if (entry.isDirectory()) return filesOf(folder, `${path}/`);
    return entry.isFile() ? [path] : [];
  });
}
