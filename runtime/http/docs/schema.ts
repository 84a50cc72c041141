/**
 * A JSON Schema for people: what a value may be in a few words, its parts below it.
 *
 * A schema that has a name is shown where it comes first; elsewhere a link leads there.
 */
import type { JsonValue } from "../../inference.ts";
import { isFields, type Fields } from "../openapi/components.ts";
import { markup, prose, type Html } from "./html.ts";

/** Deeper parts are named and not shown. */
const DEEPEST = 8;

export interface SchemaView {
  render(schema: JsonValue): Html;
}

/** @param document Where references lead. */
export function createSchemaView(document: Fields): SchemaView {
  /** Names that are on the page, and those that are being shown. */
  const shown = new Set<string>();

  function render(schema: JsonValue, depth: number): Html {
    if (!isFields(schema)) return markup`<span class="type">any JSON</span>`;
    const reference = schema["$ref"];
    if (typeof reference !== "string") return renderPlain(schema, depth);
    const name = nameOf(reference);
    if (shown.has(reference))
      return markup`<a class="type" href="#schema-${name}">${name}</a>${describe(schema)}`;
    shown.add(reference);
    const target = lookUp(document, reference);
    return markup`<span class="type name" id="schema-${name}">${name}</span>
      ${render(target, depth)}`;
  }

  function renderPlain(schema: Fields, depth: number): Html {
    const type = markup`<span class="type">${typeText(schema)}</span>`;
    const head = markup`${type}${constraints(schema)}${describe(schema)}`;
    if (depth >= DEEPEST) return head;
    const parts = partsOf(schema);
    if (parts.length === 0) return head;
    const items = parts.map(({ label, isRequired, schema: part }) => {
      const name = label === undefined ? undefined : markup`<code class="key">${label}</code> `;
      const mark = isRequired ? markup`<span class="required">required</span> ` : undefined;
      return markup`<li>${name}${mark}${render(part, depth + 1)}</li>`;
    });
    return markup`${head}
      <ul class="schema">
        ${items}
      </ul>`;
  }

  return { render: (schema) => render(schema, 0) };
}

interface Part {
  /** A key; absent for one of several alternatives, and for the elements of a list. */
  readonly label?: string;
  readonly isRequired: boolean;
  readonly schema: JsonValue;
}

/** What is worth a line of its own. */
function partsOf(schema: Fields): readonly Part[] {
  const { properties, required, items, additionalProperties: values, prefixItems } = schema;
  const needed = Array.isArray(required) ? required : [];
  const keys = Object.entries(isFields(properties) ? properties : {}).map(([label, part]) => ({
    label,
    isRequired: needed.includes(label),
    schema: part,
  }));
  const alternatives = alternativesOf(schema).filter(isStructured);
  const inner = [items, values, ...(Array.isArray(prefixItems) ? prefixItems : [])].filter(
    (part) => part !== undefined && isStructured(part),
  );
  const others = [...alternatives, ...inner].map((part): Part => ({
    isRequired: false,
    schema: part ?? true,
  }));
  const [only, ...more] = others;
  // A list's elements, or the one alternative that has parts, need no line of their own.
  if (keys.length === 0 && only !== undefined && more.length === 0 && isBare(only.schema))
    return partsOf(only.schema);
  return [...keys, ...others];
}

function isBare(schema: JsonValue): schema is Fields {
  return isFields(schema) && schema["$ref"] === undefined && schema["description"] === undefined;
}

function alternativesOf(schema: Fields): readonly JsonValue[] {
  return ["anyOf", "oneOf", "allOf"].flatMap((key) => {
    const list = schema[key];
    return Array.isArray(list) ? list : [];
  });
}

/** Whether its words alone do not say it all. */
function isStructured(schema: JsonValue): boolean {
  if (!isFields(schema)) return false;
  const { $ref, properties, items, description } = schema;
  return (
    $ref !== undefined ||
    isFields(properties) ||
    description !== undefined ||
    (items !== undefined && isStructured(items)) ||
    alternativesOf(schema).some(isStructured)
  );
}

/** `list of string or null` */
export function typeText(schema: JsonValue, depth = 0): string {
  if (!isFields(schema) || depth > DEEPEST) return "any JSON";
  const { $ref, type, items, const: only, enum: some, prefixItems, properties } = schema;
  if (typeof $ref === "string") return nameOf($ref);
  if (only !== undefined) return JSON.stringify(only);
  if (Array.isArray(some)) return some.map((value) => JSON.stringify(value)).join(" or ");
  const alternatives = alternativesOf(schema);
  if (alternatives.length > 0) {
    const texts = alternatives.map((each: JsonValue) => typeText(each, depth + 1));
    return [...new Set(texts)].join(" or ");
  }
  if (Array.isArray(prefixItems))
    return `[${prefixItems.map((each: JsonValue) => typeText(each, depth + 1)).join(", ")}]`;
  if (items !== undefined) {
    const text = typeText(items, depth + 1);
    return `list of ${text.includes(" or ") ? `(${text})` : text}`;
  }
  if (Array.isArray(type)) return type.join(" or ");
  if (typeof type === "string") return type === "array" ? "list" : type;
  return isFields(properties) ? "object" : "any JSON";
}

/** Keywords that bound a value, as they are usually said. */
const BOUNDS: Readonly<Record<string, string>> = {
  minimum: "at least",
  exclusiveMinimum: "above",
  maximum: "at most",
  exclusiveMaximum: "below",
  minLength: "characters, at least",
  maxLength: "characters, at most",
  minItems: "elements, at least",
  maxItems: "elements, at most",
  multipleOf: "a multiple of",
  pattern: "matches",
  format: "format",
  default: "default",
};

function constraints(schema: Fields): Html | undefined {
  // Those of an alternative that has no line of its own are said here.
  const plain = alternativesOf(schema)
    .filter(isFields)
    .filter((each) => !isStructured(each));
  const texts = [schema, ...plain].flatMap(boundsOf);
  return texts.length === 0 ? undefined : markup` <span class="bound">${texts.join(", ")}</span>`;
}

function boundsOf(schema: Fields): readonly string[] {
  return Object.entries(BOUNDS).flatMap(([key, words]) => {
    const value = schema[key];
    // JavaScript's own limits say nothing.
    if (value === undefined || Math.abs(Number(value)) === Number.MAX_SAFE_INTEGER) return [];
    if (key === "pattern" && schema["format"] !== undefined) return []; // that says it in a word
    const text = typeof value === "string" && key !== "default" ? value : JSON.stringify(value);
    return [`${words} ${text}`];
  });
}

function describe({ description }: Fields): Html | undefined {
  return typeof description === "string"
    ? markup`<div class="about">${prose(description)}</div>`
    : undefined;
}

function nameOf(reference: string): string {
  return reference.replace(/^#\/components\/schemas\//, "").replace(/\/\$defs\/_*/, ".");
}

/** What a reference within the document leads to; anything where it leads nowhere. */
export function lookUp(document: Fields, reference: string): JsonValue {
  const steps = reference.replace(/^#\/?/, "").split("/");
  let found: JsonValue | undefined = document;
  for (const step of steps) {
    const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (Array.isArray(found)) found = found[Number(key)];
    else found = isFields(found) && Object.hasOwn(found, key) ? found[key] : undefined;
  }
  return found ?? {};
}
