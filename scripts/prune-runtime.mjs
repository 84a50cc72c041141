/**
 * Takes out of an installed `node_modules` what never runs in the image: other platforms' binaries, the browser build of
 * onnxruntime, bundles that no import reaches, maps, types and documentation.
 *
 *     node scripts/prune-runtime.mjs <folder with node_modules>
 *
 * Prints what it removed. Meant for images, where disk is paid for at every pull; a development clone keeps everything.
 */
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";

const modules = join(resolve(process.argv[2] ?? "."), "node_modules");
if (!existsSync(modules)) {
  console.error(`There is no ${modules}`);
  process.exit(2);
}

let freedBytes = 0;

/** Removes a file or folder and counts it. */
function remove(path) {
  const full = join(modules, path);
  if (!existsSync(full)) return;
  freedBytes += sizeOf(full);
  rmSync(full, { recursive: true, force: true });
}

function sizeOf(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
}

// onnxruntime-node carries the binaries of five platforms.
const binaries = join("onnxruntime-node", "bin", "napi-v6");
for (const platform of listOf(binaries)) {
  if (platform !== process.platform) remove(join(binaries, platform));
  else {
    for (const arch of listOf(join(binaries, platform))) {
      if (arch !== process.arch) remove(join(binaries, platform, arch));
    }
  }
}

// transformers.js declares onnxruntime-web, but its Node build imports onnxruntime-node alone.
remove("onnxruntime-web");

// Only the Node build of transformers.js is imported.
for (const name of listOf(join("@huggingface", "transformers", "dist"))) {
  if (!/^transformers\.node\.(mjs|cjs)$/.test(name))
    remove(join("@huggingface", "transformers", "dist", name));
}
remove(join("@huggingface", "transformers", "src"));
remove(join("@huggingface", "transformers", "types"));
remove(join("@huggingface", "hub", "src"));
remove(join("@huggingface", "hub", "dist", "browser"));

// Nothing reads these at run time.
prune(modules, (name) => /\.(map|d\.ts|d\.mts|d\.cts|md|markdown)$/.test(name));

function listOf(path) {
  return existsSync(join(modules, path)) ? readdirSync(join(modules, path)) : [];
}

function prune(folder, isUseless) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) prune(path, isUseless);
    else if (isUseless(entry.name)) {
      freedBytes += statSync(path).size;
      rmSync(path);
    }
  }
}

console.log(
  `Removed ${(freedBytes / 1e6).toFixed(0)} MB from ${modules}; ${(sizeOf(modules) / 1e6).toFixed(0)} MB are left`,
);
