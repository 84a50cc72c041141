/**
 * Takes out of an installed `node_modules` what never runs in the image: other platforms' binaries, what only browsers and
 * bundlers load, TypeScript, source maps and documentation. Licences stay wherever the package stays.
 *
 *     node scripts/prune-runtime.mjs <folder with node_modules> [--text]
 *
 * With `--text` the codecs of images and sounds go too, for models that read and write text alone; whoever asks for one is
 * told so by what stands in their places.
 *
 * Prints what it freed. Meant for images, where disk is paid for at every pull; a development clone keeps everything.
 * Removing a name that is not there is no error, so a new version of a package can only make the image larger.
 */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";

/** Some packages keep theirs in Markdown, or in a vendor's folder among the sources. */
const LICENCE = /licen[cs]e|notice|copying|patents/i;

const [folder = ".", ...flags] = process.argv.slice(2);
const modules = join(resolve(folder), "node_modules");
if (!existsSync(modules)) {
  console.error(`Cannot prune: there is no ${modules}`);
  process.exit(2);
}
const beforeBytes = sizeOf(modules);

// onnxruntime-node carries the binaries of five platforms, in bin/napi-v6/<platform>/<arch>.
const binaries = join(modules, "onnxruntime-node", "bin");
for (const version of namesIn(binaries)) {
  for (const platform of namesIn(join(binaries, version))) {
    for (const arch of namesIn(join(binaries, version, platform))) {
      if (platform === process.platform && arch === process.arch) continue;
      remove(join(binaries, version, platform, arch));
    }
  }
}

// transformers.js declares onnxruntime-web, but its Node build imports onnxruntime-node alone.
remove(join(modules, "onnxruntime-web"));
const transformers = join(modules, "@huggingface", "transformers");
for (const name of namesIn(join(transformers, "dist"))) {
  if (/^transformers\.js$|\.web\.|\.min\.|^ort-/.test(name))
    remove(join(transformers, "dist", name));
}
remove(join(transformers, "src"));
remove(join(modules, "@huggingface", "hub", "dist", "browser"));
remove(join(modules, "yaml", "browser"));

// OpenTelemetry builds each package three times; Node takes the one in build/src.
const telemetry = join(modules, "@opentelemetry");
for (const name of namesIn(telemetry)) {
  for (const variant of ["esm", "esnext"]) remove(join(telemetry, name, "build", variant));
}
remove(join(modules, "protobufjs", "dist"));

if (flags.includes("--text")) removeCodecs();

// Node runs no TypeScript below node_modules, and nothing reads the rest.
removeFiles(modules, /\.(?:[cm]?ts|map|md|markdown)$/i);

/**
 * transformers.js and `handler/media/` import these statically, so something must stand in their places: it loads, and fails
 * with a sentence once it is used.
 */
function removeCodecs() {
  remove(join(modules, "@img"));
  const decoders = [
    ["sharp", ""],
    ["mpg123-decoder", "MPEGDecoder"],
    ["opus-decoder", "OpusDecoder"],
    ["@wasm-audio-decoders/flac", "FLACDecoder"],
    ["@wasm-audio-decoders/ogg-vorbis", "OggVorbisDecoder"],
  ];
  for (const [name, exported] of decoders) {
    const folder = join(modules, name);
    if (!existsSync(folder)) continue;
    const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    remove(folder);
    mkdirSync(folder, { recursive: true });
    const about = { name, version: `${version}-none`, type: "commonjs", main: "index.js" };
    writeFileSync(join(folder, "package.json"), JSON.stringify(about));
    const code = [
      `"use strict";`,
      `function none() {`,
      `  const text = "Cannot read images and sounds: this image of hubserve is the one for text; use the full one";`,
      `  throw Object.assign(new Error(text), { code: "NO_CODECS" });`,
      `}`,
      exported === "" ? "module.exports = none;" : `exports.${exported} = none;`,
    ];
    writeFileSync(join(folder, "index.js"), `${code.join("\n")}\n`);
  }
}

function removeFiles(folder, pattern) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) removeFiles(path, pattern);
    else if (pattern.test(entry.name) && !LICENCE.test(entry.name)) remove(path);
  }
  if (readdirSync(folder).length === 0) rmdirSync(folder);
}

function remove(path) {
  rmSync(path, { recursive: true, force: true });
}

function namesIn(folder) {
  return existsSync(folder) ? readdirSync(folder) : [];
}

/** In bytes. A link counts as itself, wherever it leads. */
function sizeOf(path) {
  const stat = lstatSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}

const leftBytes = sizeOf(modules);
console.log(
  `Removed ${toMegabytes(beforeBytes - leftBytes)} of ${modules}; ${toMegabytes(leftBytes)} are left`,
);

function toMegabytes(bytes) {
  return `${(bytes / 1e6).toFixed(0)} MB`;
}
