/**
 * Help, wrong words, exit codes and output for scripts: what all commands have in common.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { readArguments } from "../../runtime/commands/arguments.ts";
import { MANUAL } from "../../runtime/commands/manual.ts";
import { describeOptions } from "../../runtime/config.ts";
import { createPaint } from "../../runtime/observe/terminal.ts";
import { spellingOf } from "../../runtime/options.ts";
import { makeRepository } from "../support/handler-repository.ts";
import { ROOT, runHubserve } from "../support/hubserve.ts";

const DOCS = readFileSync(join(ROOT, "docs/cli.md"), "utf8");

/** The names in the list of the short help. */
async function listedCommands(): Promise<readonly string[]> {
  const { stdout } = await runHubserve({ args: ["--help"] });
  const list = /Commands\n([\s\S]*?)\n\n/.exec(stdout)?.[1] ?? "";
  return [...list.matchAll(/^ {2}(\w+) {2}/gm)].map(([, name = ""]) => name);
}

test("help is short: every command in a line, and ten options", async () => {
  const commands = await listedCommands();
  for (const name of ["serve", "call", "init", "archive", "push", "pull", "describe", "doctor"])
    assert.ok(commands.includes(name), name);
  for (const name of ["config", "bench", "start", "stop"]) assert.ok(commands.includes(name), name);
  const { code, stdout } = await runHubserve({ args: ["help"] });
  assert.equal(code, 0);
  assert.equal(stdout.match(/^ {2}--/gm)?.length, 10);
  assert.ok(stdout.split("\n").length < 50);
  assert.match(stdout, /Exit codes: 0 done, 1 failed, 2 command line not understood, 130/);
});

test("every command has a page, by `help <command>` and by its own --help, and is in docs/cli.md", async () => {
  for (const name of await listedCommands()) {
    const page = MANUAL[name];
    assert.ok(page !== undefined, `${name} has no page in commands/manual.ts`);
    assert.match(
      DOCS,
      new RegExp(`^## .*\`${name}\``, "m"),
      `docs/cli.md has no section of ${name}`,
    );
    for (const { flag } of page.flags)
      assert.ok(DOCS.includes(`--${flag}`), `docs/cli.md does not say --${flag} of ${name}`);
  }
  const [asked, own] = await Promise.all([
    runHubserve({ args: ["help", "push"] }),
    runHubserve({ args: ["push", "--help"] }),
  ]);
  assert.equal(own.stdout, asked.stdout);
  assert.match(own.stdout, /^hubserve push \[folder\] <owner\/name>/);
  assert.match(own.stdout, /^ {2}-y, --yes +Do not ask/m);
  assert.match(own.stdout, /^ {2}--revision <revision>/m);
  assert.doesNotMatch(own.stdout, /--port/);
});

test("`help options` has every option there is", async () => {
  const { stdout } = await runHubserve({ args: ["help", "options"] });
  for (const { row } of describeOptions()) assert.ok(stdout.includes(`  ${spellingOf(row)}`));
});

test("a mistyped command or flag is refused with the nearest word and exit code 2", async () => {
  for (const [args, expected] of [
    [["srve"], /Cannot run "srve": there is no such command, .*; did you mean "hubserve serve"/],
    [["docter"], /did you mean "hubserve doctor"/],
    [["help", "psh"], /Cannot help with "psh": .*did you mean "push"/],
    [["push", "owner/name", "--mesage", "x"], /"--mesage" is none; did you mean "--message"/],
    [["pull", "owner/name", "--dtpye=fp32"], /did you mean "--dtype"/],
    [["push", "owner/name", "--port", "1"], /"--port" is one of `hubserve serve`/],
    [["push", "owner/name", "--message"], /"--message" takes a value, --message <text>/],
    [["pull", "owner/name", "--all=yes"], /"--all" takes no value, found "yes"/],
    [["pull", "owner/name", "a", "b"], /found "b" beyond what it takes/],
    [["--prot", "1"], /did you mean "--port"/],
  ] as const) {
    const { code, stdout, stderr } = await runHubserve({ args });
    assert.equal(code, 2, `${args.join(" ")}: ${stderr}`);
    assert.match(stderr, expected);
    assert.equal(stdout, "");
  }
});

test("a folder whose name is near a command's is still served", async () => {
  await using place = await makeRepository({ "bensh/README.md": "" });
  const { code, stderr } = await runHubserve({ args: ["bensh"], cwd: place.path });
  assert.equal(code, 1);
  assert.match(stderr, /Cannot serve the folder .*bensh/);
});

test("what a script reads is one JSON value on stdout, whatever the log says", async () => {
  const scripts: readonly (readonly string[])[] = [
    ["config", "--json"],
    ["doctor", "--json", "--offline", "--port", "0"],
    ["call", ".", '{"inputs":"I love you"}', "--json"],
  ];
  for (const args of scripts) {
    const { code, stdout, stderr } = await runHubserve({ args });
    assert.equal(code, 0, stderr);
    assert.doesNotThrow(() => JSON.parse(stdout), args.join(" "));
  }
  await using place = await makeRepository({ "handler.ts": "export default class {}\n" });
  const archive = await runHubserve({
    args: ["archive", "--model-name", "m", "--version", "1.0", "--handler", "handler.ts", "--json"],
    cwd: place.path,
  });
  const { archive: path } = JSON.parse(archive.stdout) as { archive: string };
  assert.equal(path, join(place.path, "m.mar"));
});

test("colours are for terminals, and NO_COLOR and FORCE_COLOR decide otherwise", async () => {
  const isColoured = (env: Record<string, string>, isTerminal: boolean): boolean =>
    createPaint({ env, isTerminal }).red("x") !== "x";
  assert.equal(isColoured({}, true), true);
  assert.equal(isColoured({}, false), false);
  assert.equal(isColoured({ NO_COLOR: "1" }, true), false);
  assert.equal(
    isColoured({ NO_COLOR: "" }, true),
    true,
    "no-color.org: an empty one does not count",
  );
  assert.equal(isColoured({ TERM: "dumb" }, true), false);
  assert.equal(isColoured({ FORCE_COLOR: "1" }, false), true);
  assert.equal(isColoured({ FORCE_COLOR: "0" }, true), false);
  assert.equal(isColoured({ FORCE_COLOR: "1", NO_COLOR: "1" }, false), true);

  const forced = await runHubserve({ args: ["help"], env: { FORCE_COLOR: "1" } });
  assert.ok(forced.stdout.includes("\u001b[1mCommands\u001b[22m"));
  const plain = await runHubserve({ args: ["help"], env: { FORCE_COLOR: "0" } });
  assert.ok(!plain.stdout.includes("\u001b"));
});

test("readArguments() tells a command's own flags from the shared ones, long and short", () => {
  const { words, config, has, value, list } = readArguments(
    "push",
    MANUAL["push"]!,
    {
      args: [
        "-y",
        "a",
        "-m",
        "two words",
        "--include=x,y",
        "--include",
        "z",
        "--revision",
        "v1",
        "b",
      ],
      env: {},
      cwd: ROOT,
      home: ROOT,
    },
    2,
  );
  assert.deepEqual(words, ["a", "b"]);
  assert.equal(config.revision, "v1");
  assert.equal(has("yes"), true);
  assert.equal(has("force"), false);
  assert.equal(value("message"), "two words");
  assert.deepEqual(list("include"), ["x", "y", "z"]);
  assert.deepEqual(config.include, [], "which means something else for a download");
});
