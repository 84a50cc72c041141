/**
 * JSON Schema as TypeScript: every keyword that has a type, and names and texts that could break out of one.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import { declareTypes } from "../../runtime/commands/type-declarations.ts";
import type { JsonValue } from "../../runtime/inference.ts";
import { checkTypes } from "../support/typecheck.ts";

const TYPES: readonly (readonly [schema: JsonValue, type: string])[] = [
  [{}, "unknown"],
  [true, "unknown"],
  [false, "never"],
  [{ type: "string", minLength: 1, pattern: "a" }, "string"],
  [{ type: "integer" }, "number"],
  [{ type: ["string", "null"] }, "string | null"],
  [{ type: "number", nullable: true }, "number | null"],
  [{ const: "a" }, '"a"'],
  [{ type: "string", enum: ["a", "b|c", 'd"'] }, String.raw`"a" | "b|c" | "d\""`],
  [{ const: { a: [1, null] } }, "{ a: [1, null] }"],
  [{ enum: [] }, "never"],
  [{ type: "array" }, "unknown[]"],
  [{ type: "array", items: { type: ["string", "null"] } }, "(string | null)[]"],
  [{ type: "array", items: { enum: ["a|b"] } }, '"a|b"[]'],
  [
    { type: "array", prefixItems: [{ type: "string" }, { type: ["number", "null"] }] },
    "[string, number | null]",
  ],
  [
    {
      prefixItems: [{ type: "string" }, { type: ["number", "null"] }],
      minItems: 1,
      items: { type: "boolean" },
    },
    "[string, (number | null)?, ...boolean[]]",
  ],
  [{ items: [{ type: "string" }], additionalItems: false }, "[string]"],
  [
    {
      anyOf: [{ type: "string" }, { type: "array", items: { type: "string" } }, { type: "string" }],
    },
    "string | string[]",
  ],
  [{ oneOf: [{ type: "string" }, {}] }, "unknown"],
  [{ allOf: [{ type: ["string", "number"] }, { const: "a" }] }, '(string | number) & "a"'],
  [{ type: "object" }, "Record<string, unknown>"],
  [{ type: "object", additionalProperties: { type: "number" } }, "Record<string, number>"],
  [{ type: "object", additionalProperties: false }, "Record<string, never>"],
  [
    {
      type: "object",
      patternProperties: { "^a": { type: "string" } },
      additionalProperties: false,
    },
    "Record<string, string>",
  ],
  [
    { properties: { a: { type: "string" }, "b-c": {} }, required: ["a"] },
    '{\n  a: string;\n  "b-c"?: unknown;\n}',
  ],
  [
    { properties: { a: { type: "string" } }, additionalProperties: true },
    "{\n  a?: string;\n  [key: string]: unknown;\n}",
  ],
  [
    { properties: { a: { type: "string" } }, additionalProperties: { type: "number" } },
    "{\n  a?: string;\n} & Record<string, number>",
  ],
  [{ $ref: "#/nowhere" }, "unknown"],
  [{ $ref: "https://example.com/schema" }, "unknown"],
  [{ $ref: "#" }, "unknown"],
  [{ not: { type: "string" } }, "unknown"],
];

test("declareTypes() has a type for every keyword that TypeScript has words for", () => {
  for (const [schema, type] of TYPES) {
    const text = declareTypes({ $ref: "#" }, { Value: schema });
    assert.equal(text, `export type Value = ${type};`, JSON.stringify(schema));
  }
});

test("what is referred to gets a name of its own, once, also where it holds itself", () => {
  const document = {
    components: {
      schemas: {
        Body: {
          properties: {
            tree: { $ref: "#/components/schemas/Tree" },
            same: { $ref: "#/components/schemas/Tree" },
          },
        },
        Tree: {
          properties: {
            children: { type: "array", items: { $ref: "#/components/schemas/Tree" } },
            size: { $ref: "#/components/schemas/Tree/$defs/__size" },
          },
          $defs: { __size: { type: "number" } },
        },
      },
    },
  };
  assert.equal(
    declareTypes(document, { PredictBody: { $ref: "#/components/schemas/Body" } }),
    [
      "export type PredictBody = {\n  tree?: Tree;\n  same?: Tree;\n};",
      "export type Tree = {\n  children?: Tree[];\n  size?: TreeSize;\n};",
      "export type TreeSize = number;",
    ].join("\n\n"),
  );
});

test("descriptions, defaults and deprecations are JSDoc", () => {
  const text = declareTypes(
    {},
    {
      Value: {
        description: "Ends */ here\nand there",
        properties: { a: { description: "One", default: { b: "*/" }, deprecated: true } },
      },
    },
  );
  assert.equal(
    text,
    String.raw`/**
 * Ends *\/ here
 * and there
 */
export type Value = {
  /**
   * One
   * @default {"b":"*\/"}
   * @deprecated
   */
  a?: unknown;
};`,
  );
});

test("declarations compile whatever the schema's keys, names and texts are", async () => {
  const evil = `"; } export const x = 1; /* */ // \u2028 \\ \${} ' <`;
  const schema = {
    title: evil,
    description: `${evil}\r\n*/`,
    properties: {
      [evil]: { enum: [evil, { [evil]: [evil] }], description: evil },
      if: { type: "string" },
      __proto__x: {
        $ref: `#/$defs/${encodeURIComponent(evil.replaceAll("~", "~0").replaceAll("/", "~1"))}`,
      },
      list: { items: { anyOf: [{ const: "a | b" }, { properties: { b: { type: "null" } } }] } },
      class: { $ref: "#/$defs/1st" },
    },
    $defs: { [evil]: { type: "string" }, "1st": { type: "number" } },
  };
  const text = declareTypes(schema, { Value: schema });
  const program = `import type { Value } from "./types.d.ts";
export const value: Value = { class: 1, list: ["a | b", { b: null }], __proto__x: "text" };
// @ts-expect-error
export const wrong: Value = { class: "1" };
// @ts-expect-error
export const other: Value = { unknown: 1 };`;
  assert.equal(await checkTypes({ "types.d.ts": text, "program.ts": program }), "");
});

test("a schema that is deeper than any person writes ends in unknown", () => {
  let deep: JsonValue = { type: "string" };
  for (let depth = 0; depth < 1000; depth++) deep = { type: "array", items: deep };
  assert.match(declareTypes({}, { Value: deep }), /= unknown(?:\[\])+;$/);
});
