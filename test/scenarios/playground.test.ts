/**
 * The playground in a real browser, on real servers: what people do with it, by mouse, by keyboard, in the dark, and what
 * happens when models, labels and answers are hostile. Skipped where there is no Chromium.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";

import { createModels } from "../../runtime/engine/models.ts";
import type { TokenAuthority } from "../../runtime/http/token-auth.ts";
import type { JsonValue, ModelDescription } from "../../runtime/inference.ts";
import { openSocketDoor, readyModels, type Answer } from "../support/app-matrix.ts";
import { noBrowser, openBrowser, openPage, type WatchedPage } from "../support/browser.ts";
import { modelPath } from "../support/goldens.ts";
import { ROOT, startHubserve, type Hubserve } from "../support/hubserve.ts";

const options = { skip: noBrowser };

let browser: Browser;
/** The embedded classifier of emotions. */
let emotions: Hubserve;
/** Several models. */
let several: Hubserve;

before(async () => {
  if (noBrowser !== false) return;
  const quick = ["--workers", "1", "--no-warm-up"];
  const names = [
    "ner-bert",
    "qa-bert",
    "tiny-yolos",
    "tiny-segformer",
    "tiny-wav2vec2",
    "tiny-llama",
  ];
  [browser, emotions, several] = await Promise.all([
    openBrowser(),
    startHubserve({ args: ["serve", "model", ...quick] }),
    startHubserve({
      args: [
        "serve",
        "--model-store",
        modelPath(""),
        "--management-port",
        "off",
        "--metrics-port",
        "off",
        "--no-config-snapshots",
        ...names.flatMap((name) => ["--models", name]),
        ...quick,
      ],
    }),
  ]);
  await Promise.all([emotions, several].map(async (server) => server.line(/Ready after/)));
});

afterEach(closePages);

after(async () => {
  if (noBrowser !== false) return;
  await browser.close();
  await Promise.all([emotions, several].map(async (server) => server[Symbol.asyncDispose]()));
});

async function open(
  server: { readonly url: string },
  more?: Parameters<typeof openPage>[2],
): Promise<WatchedPage> {
  const opened = await openPage(browser, `${server.url}/`, more);
  await opened.page.locator("#workbench").waitFor();
  return opened;
}

/** A page that is open goes on asking, and a server that is asked does not end. */
async function closePages(): Promise<void> {
  if (noBrowser === false)
    await Promise.all(browser.contexts().map(async (context) => context.close()));
}

async function openModel(name: string): Promise<WatchedPage> {
  const opened = await open(several);
  const { page } = opened;
  await page.getByLabel("Model", { exact: true }).selectOption(name);
  await page.getByRole("heading", { level: 1, name }).waitFor();
  await page.locator("#code").waitFor(); // the example is in
  return opened;
}

async function press(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Run" }).click();
  await answered(page);
}

/** Waits for an answer, whatever it is. */
async function answered(page: Page): Promise<void> {
  await page.locator("#result:not([aria-busy])").waitFor();
  await page.locator("#raw").waitFor();
  assert.equal(await page.locator("#trouble").textContent(), "");
}

async function jsonOn(page: Page): Promise<unknown> {
  return JSON.parse((await page.locator("#json").textContent()) ?? "");
}

async function textsOf(page: Page, selector: string): Promise<string[]> {
  return page.locator(selector).allTextContents();
}

test("a text is classified, and its scores are bars", options, async () => {
  const { page, assertClean } = await open(emotions);
  assert.equal(await page.title(), "model · hubserve");
  assert.match((await page.locator(".lead").textContent()) ?? "", /A small DistilBERT/);
  assert.deepEqual((await textsOf(page, "#facts li")).slice(0, 2), [
    "ready",
    "text-classification",
  ]);
  await page.getByLabel("Text", { exact: true }).fill("I love my little sister");
  await press(page);
  const labels = await textsOf(page, ".bars .what");
  assert.equal(labels.length, 6);
  assert.equal(labels[0], "love");
  const widths = await page
    .locator(".bar")
    .evaluateAll((bars) => bars.map((bar) => bar.getBoundingClientRect().width));
  assert.deepEqual(
    widths,
    [...widths].sort((a, b) => b - a),
  );
  assert.equal(((await jsonOn(page)) as { label: string }[])[0]?.label, "love");
  assert.match((await page.locator("#status").textContent()) ?? "", /^Answered in /);
  assertClean();
});

test("an explanation is a heat map over the words", options, async () => {
  const { page, assertClean } = await open(emotions);
  await page.getByRole("button", { name: "Furious" }).click();
  await page.getByLabel("Explain the answer").check();
  await press(page);
  const heats = await page.locator(".heat").evaluateAll((words) =>
    words.map((word) => ({
      word: word.firstChild?.textContent ?? "",
      heat: Number((word as HTMLElement).style.getPropertyValue("--heat")),
    })),
  );
  assert.deepEqual(
    heats.map(({ word }) => word),
    ["That", "really", "made", "me", "furious"],
  );
  assert.equal(heats.toSorted((a, b) => b.heat - a.heat)[0]?.word, "furious");
  assert.equal(await page.locator(".bars li").count(), 6);
  assertClean();
});

test("the snippets do what the page does", options, async () => {
  const { page, assertClean } = await open(emotions);
  await page.getByLabel("Text", { exact: true }).fill('It\'s so "lovely" & $HOME `here`');
  await press(page);
  for (const [name, id] of [
    ["Copy the curl command", "curl"],
    ["Copy the TypeScript program", "typescript"],
    ["Copy the JSON", "json"],
  ] as const) {
    await page.getByRole("button", { name }).click();
    const copied = await page.evaluate(async () => navigator.clipboard.readText());
    assert.equal(copied, await page.locator(`#${id}`).textContent());
  }
  const said = await jsonOn(page);
  const curl = (await page.locator("#curl").textContent()) ?? "";
  const { stdout, stderr } = spawnSync("sh", ["-c", curl.replace("curl ", "curl -sS ")]);
  assert.deepEqual(JSON.parse(stdout.toString() || stderr.toString()), said);

  // Where the client's package is found: beside this file.
  const program = join(ROOT, "test/scenarios", `snippet-${process.pid}.tmp.mts`);
  const typescript = (await page.locator("#typescript").textContent()) ?? "";
  assert.match(typescript, /model\.textClassification/);
  writeFileSync(
    program,
    typescript.replace("console.log(answer)", "console.log(JSON.stringify(answer))"),
  );
  try {
    const ran = spawnSync(process.execPath, ["--import", "tsx", program], { cwd: ROOT });
    assert.deepEqual(JSON.parse(ran.stdout.toString() || ran.stderr.toString()), said);
  } finally {
    rmSync(program);
  }
  assertClean();
});

test("names in a text are marked where they stand", options, async () => {
  const { page, assertClean } = await openModel("ner-bert");
  await page.getByLabel("Text", { exact: true }).fill("😀 Anna works in Paris for Google.");
  await press(page);
  const marked = await textsOf(page, "#answer mark"); // the model takes the smile for a person
  assert.deepEqual(marked.slice(-3), ["AnnaPER", "ParisLOC", "GoogleORG"]);
  assertClean();
});

test("an answer is marked in its context", options, async () => {
  const { page, assertClean } = await openModel("qa-bert");
  await page.getByRole("button", { name: "Where?" }).click();
  await press(page);
  assert.equal(await page.locator(".headline").textContent(), "London");
  assert.deepEqual(await textsOf(page, "#answer mark"), ["London"]);
  assertClean();
});

test(
  "an image that is dropped gets its boxes, and its curl command answers the same",
  options,
  async () => {
    const { page, assertClean } = await openModel("tiny-yolos");
    const file = modelPath("_expected/images/shapes-64x64-0.png");
    const bytes = [...readFileSync(file)];
    const dropped = await page.evaluateHandle((content) => {
      const transfer = new DataTransfer();
      transfer.items.add(
        new File([new Uint8Array(content)], "my shapes.png", { type: "image/png" }),
      );
      return transfer;
    }, bytes);
    await page.locator(".drop").dispatchEvent("drop", { dataTransfer: dropped });
    await page.getByText("my shapes.png").first().waitFor();
    await page.getByText("Parameters", { exact: true }).click();
    await page.getByLabel("threshold").fill("0.2");
    await press(page);
    await page.locator(".frame svg").waitFor();
    const said = (await jsonOn(page)) as { label: string }[];
    assert.ok(said.length > 0);
    assert.equal(await page.locator("rect.box").count(), said.length);
    assert.equal(await page.locator(".legend li").count(), said.length);

    const folder = mkdtempSync(join(tmpdir(), "hubserve-playground-"));
    writeFileSync(join(folder, "my shapes.png"), readFileSync(file));
    const curl = (await page.locator("#curl").textContent()) ?? "";
    const { stdout, stderr } = spawnSync("sh", ["-c", curl.replace("curl ", "curl -sS ")], {
      cwd: folder,
    });
    rmSync(folder, { recursive: true });
    assert.deepEqual(JSON.parse(stdout.toString() || stderr.toString()), said);

    const text = await page.evaluateHandle(() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(["no image"], "notes.txt", { type: "text/plain" }));
      return transfer;
    });
    await page.locator(".drop").dispatchEvent("drop", { dataTransfer: text });
    assert.match((await page.locator(".drop .trouble").textContent()) ?? "", /That is no image/);
    assertClean();
  },
);

test("masks are painted over the image", options, async () => {
  const { page, assertClean } = await openModel("tiny-segformer");
  await press(page);
  await page.waitForFunction(() => {
    const canvas = document.querySelector<HTMLCanvasElement>(".frame canvas");
    const pixels = canvas?.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels?.some((value) => value > 0) === true;
  });
  assert.ok((await page.locator(".legend li").count()) > 0);
  assertClean();
});

test("a sound is made, chosen or recorded, and classified", options, async () => {
  const { page, assertClean } = await openModel("tiny-wav2vec2");
  await page.getByRole("button", { name: "Siren" }).click();
  await page.getByText("siren.wav", { exact: true }).waitFor();
  await press(page);
  assert.equal(await page.locator(".bars li").count(), 5);

  await page.locator("input[type=file]").setInputFiles(modelPath("_expected/audio/tones-0.wav"));
  await page.getByText("tones-0.wav", { exact: true }).waitFor();
  await press(page);
  assert.equal(await page.locator(".bars li").count(), 5);

  await page.getByRole("button", { name: "Record" }).click();
  const stop = page.getByRole("button", { name: "Stop recording" });
  await stop.waitFor();
  await page.evaluate(async () => new Promise((resolve) => setTimeout(resolve, 400))); // there must be something to hear
  await stop.click();
  await page.getByText("recording.wav", { exact: true }).waitFor();
  await press(page);
  assert.equal(await page.locator(".bars li").count(), 5);
  assertClean();
});

test("a model with a chat template chats, piece by piece, and remembers", options, async () => {
  const { page, assertClean } = await openModel("tiny-llama");
  const message = page.getByLabel("Message");
  await message.fill("Hello");
  await press(page);
  const [question, answer] = await textsOf(page, ".bubble");
  assert.equal(question, "You: Hello");
  assert.match(answer ?? "", /^Model: .+/);
  assert.match((await page.locator("#status").textContent()) ?? "", /tokens in .* the first after/);
  const asked = page.waitForRequest((request) => request.method() === "POST");
  await message.fill("And then?");
  await message.press("Control+Enter");
  const body = (await asked).postDataJSON() as { messages: { role: string; content: string }[] };
  assert.deepEqual(
    body.messages.map(({ role }) => role),
    ["user", "assistant", "user"],
  );
  assert.equal(`Model: ${body.messages[1]?.content}`, answer);
  await answered(page);
  assert.equal(await page.locator(".bubble").count(), 4);

  await page.getByRole("button", { name: "Complete" }).click();
  await page.getByLabel("Prompt").fill("Once upon a time");
  await press(page);
  assert.match((await page.locator("#answer").textContent()) ?? "", /^Once upon a time.+/);
  await page.getByLabel("Explain the answer").check();
  await press(page);
  assert.equal(await page.locator(".heat").count(), 4);
  assertClean();
});

test("the keyboard is enough", options, async () => {
  const { page, assertClean } = await open(emotions);
  const focused = async (): Promise<string> =>
    page.evaluate(() => {
      const { activeElement: element } = document;
      return element?.id || element?.textContent?.trim() || element?.tagName || "";
    });
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to the form");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Excited");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter"); // Afraid
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Control+Enter");
  await answered(page);
  assert.equal((await textsOf(page, ".bars .what"))[0], "fear");
  for (const name of ["Parameters", "run", "explain", "JSON", "json"]) {
    for (let steps = 0; (await focused()) !== name; steps++) {
      assert.ok(steps < 12, `Tab reaches ${name}; it is at ${await focused()}`);
      await page.keyboard.press("Tab");
    }
  }
  const unnamed = await page
    .locator("input, select, textarea, button, summary")
    .evaluateAll((controls) =>
      controls
        .filter((control) => {
          const { labels } = control as HTMLInputElement;
          const name = control.getAttribute("aria-label") ?? control.textContent ?? "";
          return (
            (labels === undefined || labels === null || labels.length === 0) && name.trim() === ""
          );
        })
        .map((control) => control.outerHTML),
    );
  assert.deepEqual(unnamed, []);
  assertClean();
});

test("an empty field is named, and the cursor goes there", options, async () => {
  const { page, assertClean } = await open(emotions);
  await page.getByLabel("Text", { exact: true }).fill(" ");
  await page.getByRole("button", { name: "Run" }).click();
  assert.equal(await page.getByRole("alert").first().textContent(), "“Text” is empty");
  assert.ok(
    await page
      .getByLabel("Text", { exact: true })
      .evaluate((field) => field === document.activeElement),
  );
  assertClean();
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`all text can be read: ${colorScheme}, and the other way around`, options, async () => {
    const { page, assertClean } = await open(emotions, { colorScheme });
    await page.getByLabel("Explain the answer").check();
    await press(page);
    const isDark = (): Promise<boolean> => page.evaluate(darkness);
    assert.equal(await isDark(), colorScheme === "dark");
    assert.deepEqual(await page.evaluate(faintTexts), []);
    await page.getByRole("button", { name: "Dark colours" }).click();
    assert.equal(await isDark(), colorScheme !== "dark");
    await page.evaluate(async () =>
      Promise.all(document.getAnimations().map(async (each) => each.finished)),
    );
    assert.deepEqual(await page.evaluate(faintTexts), []);
    await page.reload();
    await page.locator("#workbench").waitFor();
    assert.equal(await isDark(), colorScheme !== "dark", "the choice is kept");
    assertClean();
  });
}

function darkness(): boolean {
  const [red = 0] = getComputedStyle(document.body).backgroundColor.match(/\d+/g) ?? [];
  return Number(red) < 128;
}

/** Texts of less than 4.5 to 1 on what they stand on (WCAG 2, 1.4.3). Runs in the page. */
function faintTexts(): string[] {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  if (pen === null) throw new Error("no canvas");
  /** Colours over each other, the lowest first. */
  const mix = (colours: readonly string[]): number => {
    for (const colour of colours) {
      pen.fillStyle = colour;
      pen.fillRect(0, 0, 1, 1);
    }
    const [red, green, blue] = [...pen.getImageData(0, 0, 1, 1).data].map((value) => {
      const share = value / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const faint: string[] = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const element = node.parentElement;
    if (element === null || !node.textContent?.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, style, option, .unseen, .skip") !== null) continue;
    const grounds: string[] = [];
    for (let at: Element | null = element; at !== null; at = at.parentElement)
      grounds.unshift(getComputedStyle(at).backgroundColor);
    const ground = mix(grounds);
    const ink = mix([...grounds, getComputedStyle(element).color]);
    const contrast = (Math.max(ground, ink) + 0.05) / (Math.min(ground, ink) + 0.05);
    if (contrast < 4.5)
      faint.push(`${node.textContent.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return faint;
}

test("a phone shows everything without scrolling sideways", options, async () => {
  const { page, assertClean } = await open(several, { viewport: { width: 360, height: 740 } });
  await press(page);
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(width, 360);
  assertClean();
});

test("live figures follow the work", options, async () => {
  const { page, assertClean } = await open(emotions);
  await page.locator(".figure").first().waitFor();
  await press(page);
  await page.waitForFunction(() =>
    [...document.querySelectorAll(".figure")].some(
      (figure) =>
        figure.querySelector("dt")?.textContent === "Latency, median" &&
        /ms|s$/.test(figure.querySelector("dd")?.textContent ?? ""),
    ),
  );
  const workers = await page.locator(".figure", { hasText: "Workers" }).locator("dd").textContent();
  assert.equal(workers, "1ready");
  assertClean();
});

/** A server whose only model is as described, and answers so. */
async function openFake(
  name: string,
  answer: Answer,
  description: Partial<ModelDescription>,
  { tokens, card }: { card?: string; tokens?: TokenAuthority } = {},
): Promise<{ readonly url: string } & AsyncDisposable> {
  const { engine } = readyModels(answer).find();
  assert.ok(engine);
  const models = createModels();
  models
    .register(name)
    .started({ engine, description: { handler: "default", notes: [], ...description } }, { card });
  const door = await openSocketDoor({ hasPlayground: true, models, ...(tokens && { tokens }) });
  return {
    url: door.url,
    async [Symbol.asyncDispose]() {
      await closePages();
      await door[Symbol.asyncDispose]();
    },
  };
}

const HOSTILE = `<img src=x onerror=alert(1)><script>alert(2)</script>"'>{{x}}`;

test("hostile names, cards, labels and errors stay text", options, async () => {
  const answers: JsonValue[] = [
    [{ label: HOSTILE, score: 0.5 }],
    [{ generated_text: HOSTILE }],
    HOSTILE,
    { [HOSTILE]: HOSTILE },
    [{ label: HOSTILE, score: 0.9, mask: `x" onerror="alert(3)` }],
    {
      prediction: HOSTILE,
      explanation: { target: HOSTILE, spans: [{ start: 0, end: 2, importance: 1 }] },
    },
    [{ entity_group: HOSTILE, start: 0, end: 3, score: 1 }],
    { labels: [HOSTILE], scores: [1] },
    [{ answer: HOSTILE, score: 1 }],
    { text: HOSTILE, chunks: [{ timestamp: [HOSTILE], text: HOSTILE }] },
    { depth: `x" onerror="alert(4)` },
    null,
    [[null], { a: [] }],
  ];
  let next = 0;
  await using door = await openFake(
    HOSTILE,
    () => ({ kind: "json", value: answers[next++] ?? null }),
    {
      task: "text-classification",
      modelType: HOSTILE,
      dtype: HOSTILE,
      schemas: { parameters: { type: "object", properties: { top_k: { enum: [HOSTILE] } } } },
    },
    { card: `${HOSTILE}\n\nText ${HOSTILE}` },
  );
  const { page } = await open(door);
  let hasRun = false;
  page.on("dialog", () => (hasRun = true));
  assert.equal(await page.locator("h1").textContent(), HOSTILE);
  for (const _answer of answers) {
    await page.getByLabel("Text", { exact: true }).fill(HOSTILE);
    await press(page);
    assert.equal(await page.locator("[onerror], main script, main iframe").count(), 0);
    // Pictures that are none show that they are: the only ones there may be.
    const sources = await page
      .locator("main img")
      .evaluateAll((all) => all.map((image) => image.getAttribute("src") ?? ""));
    assert.ok(
      sources.every((source) => /^(?:data:|blob:|$)/.test(source)),
      sources.join(),
    );
  }
  assert.equal(hasRun, false);
});

test("an error and a dead server are told in words", options, async () => {
  await using failing = await openFake("m", () => Promise.reject(new TypeError("inner secret")), {
    task: "text-classification",
  });
  const { page } = await open(failing);
  const button = page.getByRole("button", { name: "Run" });
  await button.click();
  const trouble = page.locator("#trouble");
  await trouble.filter({ hasText: "the server made a mistake" }).waitFor();
  assert.doesNotMatch((await trouble.textContent()) ?? "", /inner secret/);
  await page.context().setOffline(true);
  await button.click();
  await trouble.filter({ hasText: "The server cannot be reached" }).waitFor();
});

test("a server with keys asks for one, keeps it in the tab, and sends it", options, async () => {
  const tokens: TokenAuthority = {
    accepts: (_, header) => header === "Bearer right",
    renew: () => Promise.reject(new TypeError("nobody renews")),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const seen: unknown[] = [];
  await using door = await openFake(
    "secret-model",
    ({ data }) => (seen.push(data), { kind: "json", value: [{ label: "yes", score: 1 }] }),
    { task: "text-classification" },
    { tokens },
  );
  const { page } = await openPage(browser, `${door.url}/`);
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  assert.doesNotMatch(await page.content(), /secret-model/);
  await page.getByLabel("API key").fill("wrong");
  const refused = page.waitForResponse((response) => response.status() === 401);
  await page.getByRole("button", { name: "Use this key" }).click();
  await refused;
  await page.getByLabel("API key").fill("right");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "secret-model" }).waitFor();
  await press(page);
  assert.equal(seen.length, 1);
  assert.match((await page.locator("#curl").textContent()) ?? "", /\$HUBSERVE_KEY/);
  assert.doesNotMatch(await page.content(), /Bearer right/);
  await page.reload();
  await page.getByRole("heading", { name: "secret-model" }).waitFor();
  assert.equal(await dialog.count(), 0);
  assert.deepEqual(
    await page.evaluate(() => [Object.keys(localStorage), Object.keys(sessionStorage)]),
    [[], ["hubserve-key"]],
  );
  const other = await openPage(browser, `${door.url}/`);
  await other.page.getByRole("button", { name: "Not now" }).click();
  await other.page.getByRole("button", { name: "Try again" }).waitFor();
});

test("a handler of one's own gets a form of its schema, or an editor", options, async () => {
  const bodies: unknown[] = [];
  const answer: Answer = ({ data }) => (bodies.push(data), { kind: "json", value: "done" });
  const inputs = {
    type: "object",
    properties: { city: { type: "string" }, days: { type: "integer" }, rain: { type: "boolean" } },
  };
  await using form = await openFake("form", answer, {
    handler: "custom",
    schemas: { inputs },
    example: { inputs: { city: "Rome", days: 2 } },
  });
  const { page } = await open(form);
  assert.equal(await page.getByLabel("city").inputValue(), "Rome");
  await page.getByLabel("days").fill("3");
  await page.getByLabel("rain").selectOption("true");
  await press(page);
  assert.deepEqual(bodies, [{ inputs: { city: "Rome", days: 3, rain: true } }]);

  await using editor = await openFake("editor", answer, {
    handler: "custom",
    example: { a: [1, 2] },
  });
  const { page: second } = await open(editor);
  const field = second.getByLabel("Request body, as JSON");
  assert.deepEqual(JSON.parse(await field.inputValue()), { a: [1, 2] });
  await field.fill("{nothing");
  await second.getByText("This is no JSON yet").waitFor();
  await field.fill('{"inputs": "x", "a": 5}');
  await press(second);
  assert.deepEqual(bodies[1], { inputs: "x", a: 5 });
});

test("--no-playground: a browser sees JSON", options, async () => {
  await using server = await startHubserve({
    args: ["serve", "model", "--no-playground", "--workers", "1", "--no-warm-up"],
  });
  await server.line(/Ready after/);
  const { page } = await openPage(browser, `${server.url}/`);
  assert.deepEqual(JSON.parse((await page.locator("pre").textContent()) ?? "").status, "ready");
});
