/**
 * A program that behaves as npm does when it installs, without a network. Its first argument says how:
 *
 *     node handler-fake-npm.mjs '{"packages": 3}' install … --prefix FOLDER
 *
 * - `packages`: install what package.json lists and report that many packages as added.
 * - `stdout`, `stderr`, `exitCode`: print and fail.
 * - `hang`: write a file of that name, then wait for ever; with `stubborn`, through SIGTERM too.
 * - `gate`: wait until a file of that name exists, then install.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, watch, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const [plan = "{}", ...args] = process.argv.slice(2);
const { packages = 1, stdout, stderr, exitCode, hang, stubborn, gate } = JSON.parse(plan);
const folder = args[args.indexOf("--prefix") + 1];

if (exitCode !== undefined) {
  process.stdout.write(stdout ?? "");
  process.stderr.write(stderr ?? "");
  process.exitCode = exitCode;
} else if (hang !== undefined) {
  if (stubborn) process.on("SIGTERM", () => {});
  mkdirSync(join(folder, "node_modules", "half-made"), { recursive: true });
  writeFileSync(`${hang}.part`, String(process.pid));
  renameSync(`${hang}.part`, hang); // whoever sees the file sees all of it
  setInterval(() => {}, 60_000);
} else {
  if (gate !== undefined) await opened(gate);
  const { dependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  for (const [name, version] of Object.entries(dependencies)) {
    const target = join(folder, "node_modules", name);
    mkdirSync(target, { recursive: true });
    writeFileSync(join(target, "package.json"), JSON.stringify({ name, version }));
    writeFileSync(join(target, "index.js"), "module.exports = 'installed';");
  }
  writeFileSync(join(folder, "npm-call.json"), JSON.stringify({ args, env: process.env }));
  process.stdout.write(JSON.stringify({ added: packages }));
}

function opened(path) {
  return new Promise((resolve) => {
    const watcher = watch(dirname(path), check);
    function check() {
      if (!existsSync(path)) return;
      watcher.close();
      resolve();
    }
    check();
  });
}
