/**
 * Bundles the playground: `npm run docs` writes `runtime/http/playground/generated-page.ts` with it, out of `client/`.
 *
 * The page is one response with its style and its script inside, whose hashes its Content-Security-Policy names. The result is
 * committed, as `dist/` is made by the compiler alone; a test builds it again and compares.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";

const HOUSE = fileURLToPath(new URL("../runtime/http/playground/", import.meta.url));
const CLIENT = join(HOUSE, "client");
export const GENERATED = join(HOUSE, "generated-page.ts");

/** Browsers that know CSS's `light-dark()`: nothing has to be rewritten for older ones. */
const TARGET = ["chrome123", "firefox120", "safari17.5"];

/** The module's text. */
export async function buildPlayground(): Promise<string> {
  const bundle = await build({
    entryPoints: [join(CLIENT, "main.ts")],
    bundle: true,
    minify: true,
    format: "iife",
    charset: "utf8",
    legalComments: "none",
    target: TARGET,
    write: false,
  });
  const script = (bundle.outputFiles[0]?.text ?? "").trim();
  const css = readFileSync(join(CLIENT, "page.css"), "utf8");
  const { code } = await transform(css, {
    loader: "css",
    minify: true,
    charset: "utf8",
    target: TARGET,
  });
  const style = code.trim();
  const page = readFileSync(join(CLIENT, "page.html"), "utf8")
    .replaceAll(/\n\s*/g, "\n")
    // Not as a string: a `$` in the code means itself.
    .replace("<!--style-->", () => `<style>${style}</style>`)
    .replace("<!--script-->", () => `<script>${script}</script>`);
  return [
    "/** Written by `npm run docs` out of `client/`; see `scripts/playground.ts`. */",
    `export const SCRIPT_HASH: string = "${hashOf(script)}";`,
    `export const STYLE_HASH: string = "${hashOf(style)}";`,
    `export const PAGE: string = \`${page.replaceAll(/[\\`]|\$\{/g, "\\$&")}\`;`,
    "",
  ].join("\n");
}

/** As a Content-Security-Policy names it. */
function hashOf(text: string): string {
  return `sha256-${createHash("sha256").update(text).digest("base64")}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = await buildPlayground();
  writeFileSync(GENERATED, text);
  console.log(`Wrote ${GENERATED}, ${(Buffer.byteLength(text) / 1024).toFixed(1)} KiB`);
}
