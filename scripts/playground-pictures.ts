/**
 * Takes the pictures of the playground in `docs/`: `npx tsx scripts/playground-pictures.ts`, where there is a Chromium.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { noBrowser, openBrowser, openPage } from "../test/support/browser.ts";
import { startHubserve } from "../test/support/hubserve.ts";

const DOCS = fileURLToPath(new URL("../docs/", import.meta.url));

interface Picture {
  readonly name: string;
  /** What is served: a folder. */
  readonly model: string;
  readonly colorScheme: "light" | "dark";
  readonly viewport: { readonly width: number; readonly height: number };
  readonly explains?: boolean;
}

const WIDE = { width: 1200, height: 900 };
const PICTURES: readonly Picture[] = [
  { name: "light", model: "model", colorScheme: "light", viewport: WIDE, explains: true },
  {
    name: "dark",
    model: "test/fixtures/models/tiny-llama",
    colorScheme: "dark",
    viewport: WIDE,
  },
  {
    name: "phone",
    model: "test/fixtures/models/ner-bert",
    colorScheme: "light",
    viewport: { width: 390, height: 844 },
  },
];

if (noBrowser !== false) throw new Error(`Cannot take pictures: ${noBrowser}`);
const browser = await openBrowser();
for (const { name, model, colorScheme, viewport, explains = false } of PICTURES) {
  await using server = await startHubserve({ args: ["serve", model, "--workers", "1"] });
  await server.line(/Ready after/);
  const { page, assertClean } = await openPage(browser, `${server.url}/`, {
    colorScheme,
    viewport,
  });
  await page.locator("#code").waitFor();
  if (explains) await page.getByLabel("Explain the answer").check();
  await page.getByRole("button", { name: "Run" }).click();
  await page.locator("#raw").waitFor();
  await page.locator("#result:not([aria-busy])").waitFor();
  await page.locator(".sparkline polyline[points*=' ']").waitFor(); // the figures have begun to move
  assertClean();
  await page.screenshot({ path: join(DOCS, `playground-${name}.png`) });
  await page.context().close();
}
await browser.close();
