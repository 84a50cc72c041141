/**
 * A model store with a small handler in several versions, each a folder with a manifest, as `--archive-format no-archive`
 * makes them.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface ModelStore extends Disposable {
  readonly path: string;
}

/** A store with the folders `echo-1.0` and so on, all of the model `echo`, and whatever else is to lie there. */
export function createModelStore(
  versions: readonly string[],
  files: Readonly<Record<string, string>> = {},
): ModelStore {
  const path = mkdtempSync(join(tmpdir(), "hubserve-store-"));
  for (const version of versions) {
    const folder = join(path, `echo-${version}`);
    mkdirSync(join(folder, "MAR-INF"), { recursive: true });
    const manifest = { runtime: "node", model: { modelName: "echo", modelVersion: version } };
    writeFileSync(join(folder, "MAR-INF", "MANIFEST.json"), JSON.stringify(manifest));
    writeFileSync(join(folder, "handler.ts"), handlerOf(version));
  }
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    writeFileSync(join(path, name), content);
  }
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Answers with its version and its process, after as many milliseconds as it is told. */
function handlerOf(version: string): string {
  return `import { setTimeout as sleep } from "node:timers/promises";

export class EndpointHandler {
  async call(data) {
    const ms = Number(data?.inputs?.ms ?? data?.ms ?? 0);
    await sleep(ms);
    return { version: ${JSON.stringify(version)}, pid: process.pid };
  }
}
`;
}
