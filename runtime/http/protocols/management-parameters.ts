/**
 * What clients of the management port may say, from a query or from a JSON body with the same names.
 *
 * TorchServe takes its default for whatever is no number; only `compat` does that here, elsewhere it is a 400.
 */
import { z } from "zod";

import { RuntimeError } from "../../errors.ts";
import { readBody } from "../body.ts";
import { essenceOf, isJsonType } from "../content-type.ts";
import type { AppContext } from "../context.ts";

/** `Boolean.parseBoolean`. */
const toBoolean = (text: string): boolean => text.trim().toLowerCase() === "true";

/** A number in digits: what `Number` makes of an empty text is 0, and no workers is not what it means. */
function whole(schema: z.ZodType<number>) {
  return z.preprocess(
    (text) => (typeof text === "string" && /^[+-]?\d+$/.test(text.trim()) ? Number(text) : text),
    schema,
  );
}

const count = (least: number, most: number) =>
  whole(z.int().min(least).max(most)).describe(`a whole number from ${least} to ${most}`);

/** As in `options.ts`: what this server takes on its command line it takes here. */
const workers = count(0, 256);
const seconds = count(1, 24 * 24 * 3600);

const synchronous = z.string().transform(toBoolean).describe("true or false");

/** `POST /models`. */
export const RegisterParameters = z.object({
  url: z.string().optional().describe("a file of the model store, a Hub repository, or a URL"),
  model_name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_\-.]*$/)
    .max(200)
    .optional()
    .describe("letters, digits, `_`, `-` and `.`"),
  handler: z.string().optional().describe("a file of the archive that answers in place of its own"),
  runtime: z.string().optional().describe("one of node, python, python3 and LSP"),
  batch_size: count(1, 1024).optional(),
  max_batch_delay: count(0, 60_000).optional(),
  initial_workers: workers.optional(),
  synchronous: synchronous.default(true),
  response_timeout: seconds.optional(),
  startup_timeout: seconds.optional(),
});
export type RegisterParameters = z.infer<typeof RegisterParameters>;

/** `PUT /models/{model}`. */
export const ScaleParameters = z.object({
  min_worker: workers.default(1),
  max_worker: workers.optional(),
  synchronous: synchronous.default(false),
  model_version: z.string().optional().describe("a version, where the path has none"),
});

/** `GET /models`; what is out of range is brought back into it, as TorchServe does. */
export const ListParameters = z.object({
  limit: whole(z.int())
    .transform((limit) => (limit < 0 || limit > 100 ? 100 : limit))
    .default(100)
    .describe("a whole number"),
  next_page_token: whole(z.int())
    .transform((token) => Math.max(0, token))
    .default(0)
    .describe("a whole number"),
});

/** `GET /models/{model}`. */
export const DescribeParameters = z.object({
  customized: z.string().default("false").transform(toBoolean).describe("true or false"),
});

/** `PUT /models/{model}/traffic`: version → weight; `{}` ends the sharing. */
export const TrafficBody = z
  .record(z.string(), z.number().min(0).max(1_000_000))
  .refine((weights) => {
    const all = Object.values(weights);
    return all.length === 0 || all.some((weight) => weight > 0);
  });

/** A body of these has a few names and numbers. */
const MOST_BODY_BYTES = 64 * 1024;

/** The parameters of the query, or of a JSON body, where numbers and booleans may be themselves. */
export async function sentParameters(c: AppContext): Promise<Readonly<Record<string, string>>> {
  const type = essenceOf(c.req.header("content-type") ?? "");
  if (!isJsonType(type)) return c.req.query();
  const value = await readJsonBody(c);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid("Cannot read the body: it is no JSON object");
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, own]) => ["string", "number", "boolean"].includes(typeof own))
      .map(([name, own]) => [name, String(own)]),
  );
}

export async function readJsonBody(c: AppContext): Promise<unknown> {
  const body = await readBody(c.req.raw, MOST_BODY_BYTES);
  if (body.kind === "json") return body.value;
  throw invalid("Cannot read the body: it is no JSON");
}

/**
 * @param isLenient A value that does not fit is as if it were not there.
 * @throws RuntimeError `INVALID_INPUT` that names the parameter, what was found and what was wanted.
 */
export function readParameters<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  sent: Readonly<Record<string, string>>,
  isLenient: boolean,
): z.infer<z.ZodObject<Shape>> {
  const read = schema.safeParse(sent);
  if (read.success) return read.data;
  const wrong = [...new Set(read.error.issues.map(({ path }) => String(path[0])))];
  if (isLenient) {
    const kept = Object.entries(sent).filter(([name]) => !wrong.includes(name));
    return schema.parse(Object.fromEntries(kept));
  }
  const [name = ""] = wrong;
  const wanted = schema.shape[name] as z.ZodType | undefined; // the issue names a key of the shape
  throw invalid(
    `Cannot read the parameter ${name}: found "${(sent[name] ?? "").slice(0, 100)}", wanted ${describe(wanted)}`,
  );
}

/** `optional()` and `default()` wrap the schema that has the words. */
function describe(schema: z.ZodType | undefined): string {
  if (schema === undefined) return "something else";
  if (schema.description !== undefined) return schema.description;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault)
    return describe(schema.unwrap() as z.ZodType);
  return "something else";
}

function invalid(message: string): RuntimeError {
  return new RuntimeError("INVALID_INPUT", message);
}
