/**
 * A real browser: Chromium, where there is one. `CHROMIUM` names it; it is looked for in the usual places by default.
 */
import assert from "node:assert/strict";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

function findChromium(): string | undefined {
  const named = process.env["CHROMIUM"];
  if (named !== undefined) return named;
  const folders = (process.env["PATH"] ?? "").split(delimiter).concat("/usr/bin");
  return folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find(canRun);
}

function canRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const CHROMIUM = findChromium();

/** Why no browser can be tried here, or `false`. */
export const noBrowser =
  CHROMIUM === undefined && "there is no Chromium here; install one or name it as CHROMIUM";

export async function openBrowser(): Promise<Browser> {
  assert.ok(CHROMIUM, "there is a browser");
  // Chromium's own sandbox does not work for root, as which containers run tests.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  // A microphone that hums, and nobody who has to allow it.
  args.push("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream");
  return chromium.launch({ executablePath: CHROMIUM, args });
}

export interface WatchedPage {
  readonly page: Page;
  /** Fails if something went wrong on the page, or anything but its own server was asked. */
  readonly assertClean: () => void;
}

/** Opens an address and writes down what the page complains of and whom it asks. */
export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({
    permissions: ["clipboard-read", "clipboard-write"],
    ...options,
  });
  // What tsx wraps around functions, those that are handed to the page too.
  await context.addInitScript("globalThis.__name = (value) => value");
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning")
      complaints.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol !== "data:" && protocol !== "blob:" && origin !== new URL(url).origin)
      complaints.push(`request: ${request.url()}`);
  });
  await page.goto(url);
  return { page, assertClean: () => assert.deepEqual(complaints, []) };
}
