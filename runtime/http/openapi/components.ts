/**
 * Schemas under names: what `components.schemas` of the description holds.
 *
 * A zod schema becomes JSON Schema (draft 2020-12, which OpenAPI 3.1 speaks) as a client writes it; one that is JSON Schema
 * already, as models bring it, stays what it is. References within a schema are made references within the document.
 */
import { z } from "zod";

import type { JsonValue } from "../../inference.ts";

export type Fields = { readonly [key: string]: JsonValue };

export interface Components {
  readonly schemas: Readonly<Record<string, JsonValue>>;
  /** Keeps a schema under a name, once. @returns A reference to it. */
  schema(name: string, schema: z.ZodType | JsonValue): Fields;
}

export function createComponents(): Components {
  const schemas: Record<string, JsonValue> = {};
  return {
    schemas,
    schema(name, schema) {
      schemas[name] ??= withReferencesBelow(
        `#/components/schemas/${name}`,
        schema instanceof z.ZodType ? toJsonSchema(schema) : schema,
      );
      return { $ref: `#/components/schemas/${name}` };
    },
  };
}

/** Schemas never change, and the document is written for every request. */
const made = new WeakMap<z.ZodType, Fields>();

/** Objects are open: a client of today reads what a server of tomorrow adds. */
export function toJsonSchema(schema: z.ZodType): Fields {
  const known = made.get(schema);
  if (known !== undefined) return known;
  const { $schema: _, ...described } = z.toJSONSchema(schema, {
    io: "input",
    unrepresentable: "any",
  });
  const plain = JSON.parse(JSON.stringify(described)) as Fields; // out of JSON, and an object
  made.set(schema, plain);
  return plain;
}

/** Values that only look like schemas. */
const DATA = new Set(["const", "default", "enum", "example", "examples"]);

/** `#/$defs/Part` → `#/components/schemas/Whole/$defs/Part`. */
function withReferencesBelow(pointer: string, schema: JsonValue): JsonValue {
  if (Array.isArray(schema))
    return schema.map((each: JsonValue) => withReferencesBelow(pointer, each));
  if (!isFields(schema)) return schema;
  const entries = Object.entries(schema).map(([key, value]): readonly [string, JsonValue] => {
    if (key === "$ref" && typeof value === "string") return [key, moved(value, pointer)];
    return [key, DATA.has(key) ? value : withReferencesBelow(pointer, value)];
  });
  return Object.fromEntries(entries);
}

function moved(reference: string, pointer: string): string {
  const isOwn = reference === "#" || reference.startsWith("#/");
  const isMoved = reference.startsWith("#/components/");
  return isOwn && !isMoved ? `${pointer}${reference.slice(1)}` : reference;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The text under a key; empty where there is none. */
export function textIn(fields: Fields, key: string): string {
  const value = fields[key];
  return typeof value === "string" ? value : "";
}
