/**
 * JSON Schema as TypeScript: a declaration for every schema that has a name, and for every part that is referred to.
 *
 * What TypeScript has no words for (bounds, patterns, `not`) is left out, so a type may allow more than the schema and never less. An object
 * that names its properties and says nothing of others is closed, as a client should not send what nobody reads.
 * Keywords are those of draft 2020-12, with the tuples of draft 7 and the `nullable` of OpenAPI 3.0.
 */
import { isFields } from "../fields.ts";
import type { JsonValue } from "../inference.ts";

type Fields = { readonly [key: string]: JsonValue };

/** Deeper than any schema that a person wrote. */
const DEEPEST = 64;

/**
 * @param document Where references lead.
 * @param roots What is declared, and under which name.
 */
export function declareTypes(
  document: JsonValue,
  roots: Readonly<Record<string, JsonValue>>,
): string {
  const names = new Map<string, string>();
  const taken = new Set(Object.keys(roots));
  const left: (readonly [name: string, schema: JsonValue])[] = [];
  for (const [name, schema] of Object.entries(roots)) {
    const reference = isFields(schema) ? schema["$ref"] : undefined;
    const target = typeof reference === "string" ? lookUp(document, reference) : undefined;
    const isNew = typeof reference === "string" && target !== undefined && !names.has(reference);
    if (isNew) names.set(reference, name);
    left.push([name, isNew ? target : schema]);
  }

  /** The name of what is referred to; declared once. */
  function nameOf(reference: string): string {
    const known = names.get(reference);
    if (known !== undefined) return known;
    const target = lookUp(document, reference);
    if (target === undefined) return "unknown";
    const name = toFreeName(reference, taken);
    taken.add(name);
    names.set(reference, name);
    left.push([name, target]);
    return name;
  }

  const declarations: string[] = [];
  for (const [name, schema] of left) {
    const text = toType(schema, nameOf);
    declarations.push(`${toComment(schema, "")}export type ${name} = ${text};`);
  }
  return declarations.join("\n\n");
}

type NameOf = (reference: string) => string;

/** @param indent What stands before the lines within. */
function toType(schema: JsonValue, nameOf: NameOf, indent = "", depth = 0): string {
  if (schema === false) return "never";
  if (!isFields(schema) || depth > DEEPEST) return "unknown";
  const parts = [
    ...referred(schema, nameOf),
    ...literals(schema),
    ...combined(schema, nameOf, indent, depth),
    ...typed(schema, nameOf, indent, depth),
  ];
  const all = parts.length > 1 ? parts.filter((part) => part !== "unknown") : parts;
  const text = all.length === 0 ? "unknown" : joined([...new Set(all)], " & ");
  return schema["nullable"] === true ? joined([text, "null"], " | ") : text;
}

function referred({ $ref }: Fields, nameOf: NameOf): string[] {
  return typeof $ref === "string" ? [nameOf($ref)] : [];
}

function literals({ const: only, enum: some }: Fields): string[] {
  const values = only !== undefined ? [only] : Array.isArray(some) ? some : undefined;
  if (values === undefined) return [];
  return [values.length === 0 ? "never" : joined(values.map(toLiteral), " | ")];
}

function toLiteral(value: JsonValue): string {
  if (Array.isArray(value)) return `[${value.map(toLiteral).join(", ")}]`;
  if (!isFields(value)) return JSON.stringify(value);
  const entries = Object.entries(value).map(([key, each]) => `${toKey(key)}: ${toLiteral(each)}`);
  return `{ ${entries.join("; ")} }`;
}

function combined(schema: Fields, nameOf: NameOf, indent: string, depth: number): string[] {
  const { anyOf, oneOf, allOf } = schema;
  const toTypes = (list: JsonValue): string[] =>
    (Array.isArray(list) ? list : []).map((each: JsonValue) =>
      toType(each, nameOf, indent, depth + 1),
    );
  const unions = [anyOf, oneOf].filter((list) => list !== undefined).map(toTypes);
  const whole = allOf === undefined ? [] : toTypes(allOf);
  return [...unions.map((types) => union(types)), ...whole];
}

/** By `type`, or by the keywords that only one type has. */
function typed(schema: Fields, nameOf: NameOf, indent: string, depth: number): string[] {
  const { type, const: only, enum: some } = schema;
  // A value that is listed needs no type beside it.
  if (only !== undefined || some !== undefined) return [];
  const isObject = "properties" in schema || "additionalProperties" in schema;
  const isList = "items" in schema || "prefixItems" in schema;
  const types = type ?? (isObject ? "object" : isList ? "array" : undefined);
  if (types === undefined) return [];
  const texts = [types].flat().map((each) => {
    if (each === "object") return toObject(schema, nameOf, indent, depth);
    if (each === "array") return toList(schema, nameOf, indent, depth);
    return (typeof each === "string" ? PLAIN[each] : undefined) ?? "unknown";
  });
  return [union(texts)];
}

const PLAIN: Readonly<Record<string, string>> = {
  string: "string",
  number: "number",
  integer: "number",
  boolean: "boolean",
  null: "null",
};

function toObject(schema: Fields, nameOf: NameOf, indent: string, depth: number): string {
  const { properties, required, additionalProperties, patternProperties } = schema;
  const inner = `${indent}  `;
  const needed = Array.isArray(required) ? required : [];
  const named = Object.entries(isFields(properties) ? properties : {});
  const lines = named.map(([key, property]) => {
    const mark = needed.includes(key) ? "" : "?";
    const text = toType(property, nameOf, inner, depth + 1);
    return `${toComment(property, inner)}${inner}${toKey(key)}${mark}: ${text};`;
  });
  const patterns = isFields(patternProperties) ? Object.values(patternProperties) : [];
  const isOpen = named.length === 0 && patterns.length === 0 && additionalProperties !== false;
  const others = [...patterns, ...(isOpen ? [additionalProperties ?? true] : [])];
  if (named.length > 0 && additionalProperties !== undefined && additionalProperties !== false)
    others.push(additionalProperties);
  if (others.length === 0)
    return lines.length === 0 ? "Record<string, never>" : block(lines, indent);
  const value = union(others.map((each) => toType(each, nameOf, inner, depth + 1)));
  if (lines.length === 0) return `Record<string, ${value}>`;
  // An index of a type of its own would have to allow the named properties, too.
  return value === "unknown"
    ? block([...lines, `${inner}[key: string]: unknown;`], indent)
    : `${block(lines, indent)} & Record<string, ${value}>`;
}

function block(lines: readonly string[], indent: string): string {
  return `{\n${lines.join("\n")}\n${indent}}`;
}

function toList(schema: Fields, nameOf: NameOf, indent: string, depth: number): string {
  const { items, prefixItems, additionalItems, minItems } = schema;
  const first = Array.isArray(prefixItems) ? prefixItems : Array.isArray(items) ? items : undefined;
  const toOne = (each: JsonValue): string => toType(each, nameOf, indent, depth + 1);
  if (first === undefined) return `${wrapped(toOne(items ?? true))}[]`;
  const least = typeof minItems === "number" ? minItems : first.length;
  const texts = first.map((each: JsonValue, index) =>
    index < least ? toOne(each) : `${wrapped(toOne(each))}?`,
  );
  const more = Array.isArray(items) ? additionalItems : items;
  const rest = more === undefined || more === false ? [] : [`...${wrapped(toOne(more))}[]`];
  return `[${[...texts, ...rest].join(", ")}]`;
}

function union(texts: readonly string[]): string {
  if (texts.length === 0) return "never";
  return texts.includes("unknown") ? "unknown" : joined([...new Set(texts)], " | ");
}

/** In a union nothing needs parentheses. */
function joined(texts: readonly string[], sign: " | " | " & "): string {
  return (texts.length > 1 && sign === " & " ? texts.map(wrapped) : texts).join(sign);
}

/** In parentheses, where it is several types. */
function wrapped(text: string): string {
  return isOne(text) ? text : `(${text})`;
}

function isOne(text: string): boolean {
  let depth = 0;
  const outside = text.replaceAll(/"(?:[^"\\]|\\.)*"|\/\*.*?\*\/|[[\]{}()<>|&]/gs, (part) => {
    if (/^[[{(<]$/.test(part)) depth += 1;
    if (/^[\]})>]$/.test(part)) depth -= 1;
    return depth === 0 && /^[|&]$/.test(part) ? "\u0000" : "";
  });
  return !outside.includes("\u0000");
}

function toKey(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? key : JSON.stringify(key);
}

/** What is said of a value, as JSDoc. */
function toComment(schema: JsonValue | undefined, indent: string): string {
  if (!isFields(schema)) return "";
  const { title, description, default: usual, deprecated } = schema;
  const texts = [title, description].filter((text) => typeof text === "string");
  const lines = [
    ...texts.flatMap((text) => text.split("\n")),
    ...(usual === undefined ? [] : [`@default ${JSON.stringify(usual)}`]),
    ...(deprecated === true ? ["@deprecated"] : []),
  ].map((line) => line.replaceAll("*/", "*\\/").trimEnd());
  if (lines.length === 0) return "";
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}`.trimEnd()).join("\n")}\n${indent} */\n`;
}

/** `#/components/schemas/PredictInputs/$defs/person` → `PredictInputsPerson`, and a number where that is taken. */
function toFreeName(reference: string, taken: ReadonlySet<string>): string {
  const words = reference
    .replace(/^#\/(?:components\/schemas\/)?/, "")
    .split(/\W+|_+/)
    .filter((word) => word !== "" && word !== "defs");
  const name = words.map((word) => `${word.charAt(0).toUpperCase()}${word.slice(1)}`).join("");
  const base = /^[A-Za-z]/.test(name) ? name : `Schema${name}`;
  for (let count = 2, free = base; ; free = `${base}${count++}`) if (!taken.has(free)) return free;
}

/** Through schemas that are references themselves. @returns `undefined` where it leads nowhere, or in a circle. */
function lookUp(document: JsonValue, reference: string): JsonValue | undefined {
  const seen = new Set<string>();
  for (let next = reference; !seen.has(next);) {
    seen.add(next);
    const found = stepTo(document, next);
    const further = isFields(found) && Object.keys(found).length === 1 ? found["$ref"] : undefined;
    if (typeof further !== "string") return found;
    next = further;
  }
  return undefined;
}

function stepTo(document: JsonValue, reference: string): JsonValue | undefined {
  if (reference === "#") return document;
  if (!reference.startsWith("#/")) return undefined;
  let found: JsonValue | undefined = document;
  for (const step of reference.slice(2).split("/")) {
    const key = decode(step).replaceAll("~1", "/").replaceAll("~0", "~");
    if (Array.isArray(found)) found = found[Number(key)];
    else found = isFields(found) && Object.hasOwn(found, key) ? found[key] : undefined;
  }
  return found;
}

function decode(step: string): string {
  try {
    return decodeURIComponent(step);
  } catch {
    return step; // a stray percent sign stands for itself
  }
}
