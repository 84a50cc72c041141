/**
 * Small real models, what Python answers with the same weights, and how a test asks the default handler.
 *
 * A golden belongs to the weights beside it; `scripts/models` makes both.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { z } from "zod";

import type { CallContext, LoadedHandler } from "../../runtime/handler/contract.ts";
import { createLog, type Log } from "../../runtime/observe/log.ts";

/** The project itself: a repository whose model lies in `model/`. */
export const EMBEDDED = fileURLToPath(new URL("../..", import.meta.url));

/** The folder of a model in `test/fixtures/models`. */
export function modelPath(name: string): string {
  return fileURLToPath(new URL(`../fixtures/models/${name}`, import.meta.url));
}

const Label = z.object({ label: z.string(), score: z.number() });

export const ClassificationGolden = z.object({
  labels: z.array(z.string()),
  cases: z.array(
    z.object({
      input: z.string(),
      logits: z.array(z.number()),
      /** Every label, best first. */
      top: z.array(Label),
      /** The best label of the int8 weights. */
      label_q8: z.string(),
    }),
  ),
});

export const EmbeddingGolden = z.object({
  similarities: z.array(z.array(z.number())),
  cases: z.array(
    z.object({
      input: z.string(),
      embedding: z.array(z.number()),
      mean_pooled_not_normalised: z.array(z.number()),
      cls_not_normalised: z.array(z.number()),
    }),
  ),
});

const Filling = Label.omit({ label: true }).extend({
  token: z.number(),
  token_str: z.string(),
  sequence: z.string(),
});

export const FillMaskGolden = z.object({
  cases: z.array(z.object({ input: z.string(), top5: z.array(Filling) })),
});

/** What answers look like, for reading them in a test. */
export const Labels = z.array(Label);
export const Fillings = z.array(Filling);
export const Vectors = z.array(z.array(z.number()));

export function readGolden<S extends z.ZodType>(name: string, schema: S): z.output<S> {
  return schema.parse(JSON.parse(readFileSync(modelPath(`_expected/${name}.json`), "utf8")));
}

/**
 * A repository of its own that differs from `base` in some files; it is removed with `await using`.
 *
 * @param base A folder whose files are linked to; nothing when absent.
 * @param changes File → its text or its bytes; any other object is written as JSON, `null` leaves the file out.
 */
export async function variantOf(
  base: string | undefined,
  changes: Readonly<Record<string, string | object | null>>,
): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "hubserve-variant-"));
  const put = async (file: string, write: (target: string) => Promise<void>): Promise<void> => {
    const target = join(path, file);
    await mkdir(dirname(target), { recursive: true });
    await write(target);
  };
  for (const file of base === undefined ? [] : filesBelow(base)) {
    if (Object.hasOwn(changes, file)) continue;
    await put(file, (target) => symlink(join(base ?? "", file), target));
  }
  for (const [file, content] of Object.entries(changes)) {
    if (content === null) continue;
    const isFile = typeof content === "string" || content instanceof Uint8Array;
    await put(file, (target) => writeFile(target, isFile ? content : JSON.stringify(content)));
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** `base`'s `config.json` with other values for some keys. */
export function configOf(base: string, changes: Readonly<Record<string, unknown>>): object {
  const config = z
    .looseObject({})
    .parse(JSON.parse(readFileSync(join(base, "config.json"), "utf8")));
  return { ...config, ...changes };
}

/** Asks a handler as a worker would. */
export function ask(
  handler: LoadedHandler,
  data: Readonly<Record<string, unknown>>,
  { signal = new AbortController().signal, log = quietLog([]) }: Partial<CallContext> = {},
): Promise<unknown> {
  const context = { signal, requestId: "test", log, headers: {} };
  return handler.call({ id: "test", kind: "predict", data, headers: {} }, context);
}

/** A log that writes its lines into `lines`. */
export function quietLog(lines: string[]): Log {
  return createLog({ write: (line) => void lines.push(line) });
}

/** Numbers equal within `tolerance`; the message says where and by how much they are not. */
export function assertNear(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): void {
  assert.equal(actual.length, expected.length, "as many numbers");
  for (const [index, value] of Array.from(expected).entries()) {
    const difference = Math.abs((actual[index] ?? Number.NaN) - value);
    assert.ok(
      difference <= tolerance,
      `number ${index} is ${actual[index]}, wanted ${value} ± ${tolerance}`,
    );
  }
}

function filesBelow(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}
