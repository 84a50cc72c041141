/**
 * Runs the README: its commands against the real program, its code through the compiler, its table against the rows.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { OPTIONS_PAGE, optionsPage } from "../scripts/options-page.ts";
import { ROOT, startHubserve, type Hubserve } from "./support/hubserve.ts";

const run = promisify(execFile);
const README = readFileSync(join(ROOT, "README.md"), "utf8");

interface Block {
  readonly language: string;
  readonly text: string;
}

const BLOCKS: readonly Block[] = [...README.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(
  ([, language = "", text = ""]) => ({
    language,
    text,
  }),
);

/** Commands that are followed by the JSON they print. */
const PAIRS = BLOCKS.flatMap((block, index) => {
  const next = BLOCKS[index + 1];
  return block.language === "sh" && next?.language === "json"
    ? [{ command: block.text.trim(), answer: next.text }]
    : [];
});

/** Scores depend on the processor's kernels in their last digits. */
const SCORE_TOLERANCE = 0.02;

function assertSameAnswer(actual: unknown, expected: unknown): void {
  if (typeof actual === "number" && typeof expected === "number") {
    assert.ok(Math.abs(actual - expected) <= SCORE_TOLERANCE, `${actual} is not near ${expected}`);
  } else if (
    typeof actual === "object" &&
    actual !== null &&
    typeof expected === "object" &&
    expected !== null
  ) {
    assert.deepEqual(Object.keys(actual), Object.keys(expected));
    const [left, right] = [
      Object.values(actual) as unknown[],
      Object.values(expected) as unknown[],
    ];
    for (const [index, value] of left.entries()) assertSameAnswer(value, right[index]);
  } else assert.deepEqual(actual, expected);
}

let server: Hubserve;
let scratch: string;

before(async () => {
  scratch = mkdtempSync(join(tmpdir(), "hubserve-readme-"));
  server = await startHubserve({ args: ["serve"] }); // what `npm start` runs
  await server.line(/Ready after/);
});

after(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(scratch, { recursive: true, force: true });
});

test("the README has commands with answers to check", () => {
  assert.ok(PAIRS.length >= 4, `found ${PAIRS.length}`);
  assert.ok(PAIRS.some(({ command }) => command.startsWith("curl")));
});

for (const { command, answer } of PAIRS) {
  test(`the README's command prints what the README shows: ${command.split("\n").join(" ").slice(0, 100)}`, async () => {
    const placed = command
      .replace("http://localhost:8080", server.url)
      .replace("npx tsx", "node --import tsx");
    const { stdout } = await run("bash", ["-c", placed.replace(/^curl/, "curl -sS")], {
      cwd: ROOT,
    });
    assertSameAnswer(JSON.parse(stdout), JSON.parse(answer));
  });
}

test("the curl line that the log prints works when pasted", async () => {
  const logged = await server.line(/Try it: {2}curl/);
  const command = logged.slice(logged.indexOf("curl")).replace(/^curl/, "curl -sS");
  const { stdout } = await run("bash", ["-c", command]);
  assertSameAnswer(JSON.parse(stdout), [{ label: "joy", score: 0.9738 }]);
});

test("the README's handler compiles, loads and answers", async () => {
  const handler = BLOCKS.find(
    ({ language, text }) => language === "ts" && text.startsWith("// handler.ts"),
  );
  assert.ok(handler);
  const repository = join(scratch, "repository");
  cpSync(join(ROOT, "model"), join(repository, "model"), { recursive: true });
  writeFileSync(join(repository, "handler.ts"), handler.text);
  symlinkSync(join(ROOT, "node_modules"), join(repository, "node_modules"));
  await using server = await startHubserve({ args: [repository] });
  await server.line(/Ready after/);
  assertSameAnswer(await (await server.post("I love you")).json(), [
    { label: "love", score: 0.9724 },
  ]);

  const tsconfig = {
    extends: join(ROOT, "tsconfig.json"),
    compilerOptions: {
      paths: { hubserve: [join(ROOT, "runtime/index.ts")] },
      typeRoots: [join(ROOT, "node_modules/@types")],
    },
    include: [join(repository, "handler.ts")],
    exclude: [],
  };
  writeFileSync(join(repository, "package.json"), '{"type":"module"}'); // hubserve does without; the compiler asks for it
  writeFileSync(join(repository, "tsconfig.json"), JSON.stringify(tsconfig));
  await run("node", [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", repository]);
});

test("the README's eight-line script runs with tsx and prints both answers", async () => {
  const script = BLOCKS.find(
    ({ language, text }) => language === "ts" && text.startsWith("// try.mts"),
  );
  assert.ok(script);
  const path = join(ROOT, "test", "readme-try.mts");
  writeFileSync(path, script.text.replace("./handler.ts", "../handler.ts"));
  try {
    const { stdout } = await run("node", ["--import", "tsx", path], {
      cwd: ROOT,
      env: { ...process.env, ORT_DISABLE_TELEMETRY: "1" },
    });
    assert.match(
      stdout,
      /^non-holiday \[ \{ label: 'joy', score: 0\.97\d+ \} \]\nholiday \[ \{ label: 'happy', score: 1 \} \]\n$/,
    );
  } finally {
    rmSync(path);
  }
});

test("docs/options.md is the rows of options.ts: `npm run docs` writes it", () => {
  assert.equal(readFileSync(OPTIONS_PAGE, "utf8"), optionsPage());
});

test("every file that the README links to is there", () => {
  for (const [, link = ""] of README.matchAll(/\]\((?!https?:)([^)#]+)\)/g))
    readFileSync(join(ROOT, link));
});
