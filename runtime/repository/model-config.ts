/**
 * `model-config.yaml`: what a repository says about how it wants to be served.
 *
 * The keys and units are TorchServe's (`frontend/archive/…/ModelConfig.java` of 0.12), so that its archives serve
 * unchanged. They are one layer of the configuration, below flags and environment: `withFileSettings` in `config.ts`
 * lays them under. What stands under `handler:` is the handler's own: the default handler reads it in
 * `handler/model/handler-settings.ts`, and it is not looked at here.
 * To add a key: a field in `FileKeys`, and what it sets in `toSettings`.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseDocument, Parser } from "yaml";
import { z } from "zod";
import { messageOf, RuntimeError } from "../errors.ts";
import type { JsonValue } from "../inference.ts";
import { nearestWord } from "../nearest-word.ts";
import type { Log } from "../observe/log.ts";
import { ENVELOPES, type Envelope } from "../torchserve-modes.ts";

/** The first that is there counts. */
const FILES = ["model-config.yaml", "model-config.yml"] as const;

/** 1 MiB: real ones have a few lines, or some pages where a handler keeps prompts in them. */
const LONGEST_FILE_BYTES = 1024 * 1024;

/** Far more than a person writes, far less than a "billion laughs" needs (yaml counts the resolved nodes). */
const MOST_ALIASES = 100;

/** Far more than a person writes; some thousands of levels overflow the stack of `parseDocument`, and with it the process. */
const MOST_LEVELS = 60;

/** Of a value that does not fit, so many characters are repeated. */
const MOST_SHOWN = 100;

/** A parser's own sentence may quote a whole line. */
const LONGEST_REASON = 500;

/** Settings by the names of the options that they are the default of; units as there. */
export interface ModelSettings {
  readonly batchSize?: number;
  readonly maxBatchDelayMs?: number;
  readonly minWorkers?: number;
  readonly maxWorkers?: number;
  readonly requestTimeoutMs?: number;
  readonly startupTimeoutMs?: number;
  readonly jobQueueSize?: number;
  readonly serviceEnvelope?: Envelope;
}

/** What the file says. */
export interface ModelConfigFile {
  /** `model-config.yaml` or `model-config.yml`. */
  readonly file: string;
  readonly settings: ModelSettings;
  /** What stands under `handler:`. */
  readonly handler: Readonly<Record<string, JsonValue>> | undefined;
}

/** A number, also in quotes, as TorchServe's users write it. */
function numeric(schema: z.ZodNumber) {
  return z.preprocess(
    (value) => (typeof value === "string" && value.trim() !== "" ? Number(value) : value),
    schema,
  );
}

/** 24 days in seconds: the longest that a timer of Node's takes. */
const LONGEST_TIMEOUT_S = 24 * 24 * 3600;

const count = (least: number, most: number) =>
  numeric(z.int().min(least).max(most)).describe(`a whole number from ${least} to ${most}`);
const seconds = numeric(z.number().positive().max(LONGEST_TIMEOUT_S)).describe(
  `seconds, above 0 and at most ${LONGEST_TIMEOUT_S}`,
);

/** The file's keys; what each must be stands in its description. */
const FileKeys = z.object({
  minWorkers: count(1, 256).optional(),
  maxWorkers: count(1, 256).optional(),
  batchSize: count(1, 1024).optional(),
  maxBatchDelay: numeric(z.number().min(0).max(60_000))
    .describe("milliseconds from 0 to 60000")
    .optional(),
  responseTimeout: seconds.optional(),
  startupTimeout: seconds.optional(),
  jobQueueSize: count(0, 1_000_000).optional(),
  handler: z
    .record(z.string(), z.json())
    .nullable()
    .describe('keys and values, such as "mode: sequence_classification"')
    .optional(),
  /** TorchServe has it for all models in its own file, and for one in an archive's manifest. */
  serviceEnvelope: z
    .enum(ENVELOPES)
    .describe(`one of ${ENVELOPES.join(", ")}`)
    .optional(),
  pt2: z.unknown().optional(),
});
type FileKeys = z.infer<typeof FileKeys>;

const KEYS = Object.keys(FileKeys.shape);

/**
 * Reads the repository's file, or nothing where it has none. Keys that mean nothing here are named in one warning.
 *
 * @throws RuntimeError `MODEL_INVALID` when the file is no YAML, has tags, or a value does not fit.
 */
export function readModelConfig(repository: string, log: Log): ModelConfigFile | undefined {
  for (const file of FILES) {
    const stats = statSync(join(repository, file), { throwIfNoEntry: false });
    if (!stats?.isFile()) continue;
    if (stats.size > LONGEST_FILE_BYTES) {
      throw invalid(file, `found ${stats.size} bytes, wanted at most ${LONGEST_FILE_BYTES}`);
    }
    return parseModelConfig(file, readFileSync(join(repository, file), "utf8"), log);
  }
  return undefined;
}

/** `file` is its name, for messages. Throws as `readModelConfig` does. */
export function parseModelConfig(file: string, text: string, log: Log): ModelConfigFile {
  const found = parseYaml(file, text);
  const unknown = Object.keys(found).filter((key) => !KEYS.includes(key));
  if (unknown.length > 0) {
    log.warn(`Ignoring ${unknown.map(withAdvice).join(", ")} in ${file}: hubserve has no such key`);
  }
  const parsed = FileKeys.safeParse(found);
  if (!parsed.success) {
    const key = String(parsed.error.issues[0]?.path[0] ?? "");
    const value = JSON.stringify(found[key]).slice(0, MOST_SHOWN);
    throw invalid(file, `${key}: found ${value}, wanted ${wantedOf(key)}`);
  }
  if (asksToCompile(parsed.data.pt2)) {
    log.info(
      `pt2 in ${file} changes nothing here: onnxruntime optimizes the graph when it loads it`,
    );
  }
  const { minWorkers, maxWorkers } = parsed.data;
  if (minWorkers !== undefined && maxWorkers !== undefined && minWorkers > maxWorkers) {
    throw invalid(
      file,
      `minWorkers: found ${minWorkers}, wanted at most maxWorkers, ${maxWorkers}`,
    );
  }
  return { file, settings: toSettings(parsed.data), handler: parsed.data.handler ?? undefined };
}

/** Whether `pt2:` wants `torch.compile`: TorchServe's `{compile: {enable: true}}`, or a backend's name alone. */
function asksToCompile(pt2: unknown): boolean {
  const { success, data } = z.looseObject({ compile: z.looseObject({}) }).safeParse(pt2);
  return success ? data.compile["enable"] !== false : Boolean(pt2);
}

/** The document as plain data: YAML 1.2's core schema, no tags, no merge keys, bounded aliases. */
function parseYaml(file: string, text: string): Readonly<Record<string, unknown>> {
  if (levelsOf(text) > MOST_LEVELS) {
    throw invalid(
      file,
      `found more than ${MOST_LEVELS} levels of lists and keys within each other`,
    );
  }
  const document = parseDocument(text, {
    schema: "core",
    resolveKnownTags: false,
    stringKeys: true,
  });
  const [problem] = [...document.errors, ...document.warnings];
  // Its first line says what and where; the rest draws the place.
  if (problem !== undefined) throw invalid(file, problem.message.split(":\n")[0] ?? "", problem);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MOST_ALIASES });
  } catch (error) {
    throw invalid(file, messageOf(error), error);
  }
  if (value === null) return {}; // an empty file, or one of comments
  if (typeof value !== "object" || Array.isArray(value)) {
    throw invalid(file, 'found no keys, wanted lines such as "batchSize: 8"');
  }
  return { ...value };
}

/** How deep lists and mappings lie within each other, told from the syntax alone. */
function levelsOf(text: string): number {
  let deepest = 0;
  const waiting: [part: unknown, depth: number][] = [];
  try {
    for (const token of new Parser().parse(text)) waiting.push([token, 0]);
  } catch (error) {
    if (error instanceof RangeError) return Infinity; // mappings in one another overflow this parser's stack too
    throw error;
  }
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [part, depth] = next;
    if (typeof part !== "object" || part === null) continue;
    deepest = Math.max(deepest, depth);
    if ("key" in part) waiting.push([part.key, depth + 1]);
    if ("value" in part) waiting.push([part.value, depth + 1]);
    if ("items" in part && Array.isArray(part.items)) {
      for (const item of part.items) waiting.push([item, depth + 1]);
    }
  }
  return Math.ceil(deepest / 2); // a collection and its item are two parts of the syntax
}

function toSettings(file: FileKeys): ModelSettings {
  const { batchSize, minWorkers, maxWorkers, jobQueueSize } = file;
  const { maxBatchDelay, responseTimeout, startupTimeout, serviceEnvelope } = file;
  return {
    ...(batchSize !== undefined && { batchSize }),
    ...(maxBatchDelay !== undefined && { maxBatchDelayMs: maxBatchDelay }),
    ...(minWorkers !== undefined && { minWorkers }),
    ...(maxWorkers !== undefined && { maxWorkers }),
    ...(responseTimeout !== undefined && { requestTimeoutMs: responseTimeout * 1000 }),
    ...(startupTimeout !== undefined && { startupTimeoutMs: startupTimeout * 1000 }),
    ...(jobQueueSize !== undefined && { jobQueueSize }),
    ...(serviceEnvelope !== undefined && { serviceEnvelope }),
  };
}

/** What a key's value must be, from its description. */
function wantedOf(key: string): string {
  const field = Object.entries(FileKeys.shape).find(([name]) => name === key)?.[1];
  const inner = field instanceof z.ZodOptional ? field.unwrap() : field;
  return (inner instanceof z.ZodType ? inner.description : undefined) ?? "another value";
}

function withAdvice(key: string): string {
  const near = nearestWord(key, KEYS);
  return near === undefined ? `"${key}"` : `"${key}" (did you mean "${near}")`;
}

function invalid(file: string, reason: string, cause?: unknown): RuntimeError {
  return new RuntimeError(
    "MODEL_INVALID",
    `Cannot read ${file}: ${reason.slice(0, LONGEST_REASON)}`,
    {
      cause,
    },
  );
}
