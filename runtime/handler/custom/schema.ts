/**
 * What an author's class says of the requests it takes: `static inputs` and `static parameters`, schemas of any library that
 * implements Standard Schema.
 *
 * Both are checked before `call`, `callBatch` and `explain`, which are given what the schemas made of them: defaults filled in,
 * texts turned into dates. A request that does not fit is the client's fault and never reaches the handler. `parameters` that
 * were not sent are read as `{}`, so that a schema's defaults hold.
 *
 * @example
 * export class EndpointHandler {
 *   static inputs = z.object({ name: z.string(), age: z.number().int() });
 *   static parameters = z.object({ top_k: z.number().int().default(3) });
 *   call({ inputs, parameters }) { … }
 * }
 */
import { RuntimeError } from "../../errors.ts";
import type { InferenceRequest, JsonValue, ModelDescription } from "../../inference.ts";
import type { HandlerData } from "../contract.ts";
import type { SchemaIssue, StandardSchemaV1 } from "../standard-schema.ts";
import { toHandlerData } from "./data.ts";
import { describeForClient } from "./message.ts";

const KEYS = ["inputs", "parameters"] as const;
type Key = (typeof KEYS)[number];
type Note = ModelDescription["notes"][number];

/** Makes of a request what the handler is called with. @throws `INVALID_INPUT` */
export type ReadData = (request: InferenceRequest) => HandlerData | Promise<HandlerData>;

export interface HandlerSchemas {
  readonly read: ReadData;
  /** As JSON Schema, where the library can tell. */
  readonly described: NonNullable<ModelDescription["schemas"]> | undefined;
  /** What the author should know. */
  readonly notes: readonly Note[];
}

/** Reads the static members of a handler's class. */
export function readHandlerSchemas(
  Handler: { readonly [K in Key]?: unknown },
  file: string,
): HandlerSchemas {
  const schemas: Partial<Record<Key, StandardSchemaV1>> = {};
  const described: Partial<Record<Key, JsonValue>> = {};
  const notes: Note[] = [];
  for (const key of KEYS) {
    const found = Handler[key];
    if (found === undefined) continue;
    if (!isStandardSchema(found)) {
      const text = `Requests are not checked against static ${key} in ${file}: it is no Standard Schema, which zod 4, valibot 1 and ArkType 2 make`;
      notes.push({ level: "warn", text });
      continue;
    }
    schemas[key] = found;
    const json = describe(found);
    if (json !== undefined) described[key] = json;
  }
  const isEmpty = Object.keys(schemas).length === 0;
  return {
    read: isEmpty ? toHandlerData : (request) => readChecked(request, schemas),
    described: Object.keys(described).length === 0 ? undefined : described,
    notes,
  };
}

/** ArkType's schemas are functions. */
function isStandardSchema(value: unknown): value is StandardSchemaV1 {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  if (!("~standard" in value)) return false;
  const standard = value["~standard"];
  return (
    typeof standard === "object" &&
    standard !== null &&
    "version" in standard &&
    standard.version === 1 &&
    "validate" in standard &&
    typeof standard.validate === "function"
  );
}

/** `undefined` where the library does not speak JSON Schema, or has no words for this one. */
function describe(schema: StandardSchemaV1): JsonValue | undefined {
  try {
    const json = schema["~standard"].jsonSchema?.input({ target: "draft-2020-12" });
    if (json === undefined) return undefined;
    const { $schema: _, ...rest } = json;
    return JSON.parse(JSON.stringify(rest)) as JsonValue; // out of JSON
  } catch {
    return undefined; // "May throw if conversion is not supported": the schema still checks
  }
}

async function readChecked(
  request: InferenceRequest,
  schemas: Readonly<Partial<Record<Key, StandardSchemaV1>>>,
): Promise<HandlerData> {
  const data = toHandlerData(request);
  const problems: string[] = [];
  for (const key of KEYS) {
    const schema = schemas[key];
    if (schema === undefined) continue;
    const value = key === "parameters" ? (data[key] ?? {}) : data[key];
    const result = await schema["~standard"].validate(value);
    if (result.issues === undefined) data[key] = result.value;
    else problems.push(...result.issues.map((issue) => describeIssue(key, issue)));
  }
  const [first, ...others] = problems;
  if (first === undefined) return data;
  const shown = [first, ...others.slice(0, MOST_ISSUES - 1)].join("; ");
  const more = problems.length - MOST_ISSUES;
  throw new RuntimeError(
    "INVALID_INPUT",
    `Cannot read the request: ${shown}${more > 0 ? `; and ${more} more` : ""}`,
  );
}

/** A list of a thousand wrong elements has a thousand issues. */
const MOST_ISSUES = 3;
/** What one key of a path may take: a client's own words. */
const MOST_ECHOED = 80;

/** `inputs.people[2].name: Expected string` */
function describeIssue(key: Key, { message, path = [] }: SchemaIssue): string {
  const place = path
    .map((step) => (typeof step === "object" ? step.key : step))
    .map((step) =>
      typeof step === "number" ? `[${step}]` : `.${String(step).slice(0, MOST_ECHOED)}`,
    )
    .slice(0, 16);
  return `${key}${place.join("")}: ${describeForClient(message)}`;
}
