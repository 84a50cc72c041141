/**
 * A task's parameters as controls, made of the JSON Schema that the model tells: numbers, switches and choices. What has
 * no simple control can be written as JSON.
 */
import type { JsonValue } from "../../../inference.ts";
import { freshId, h } from "./dom.ts";
import { isFields, isList, numberIn, type Fields } from "./json.ts";
import { parse, Refusal } from "./api.ts";

/** A value that one control holds. */
export interface Simple {
  readonly type: "string" | "number" | "integer" | "boolean" | "choice";
  readonly choices?: readonly string[];
  readonly minimum?: number | undefined;
  readonly maximum?: number | undefined;
}

/** Those that people ask for first; the others are a click away, as JSON. */
const KNOWN = [
  "top_k",
  "threshold",
  "aggregation_strategy",
  "function_to_apply",
  "multi_label",
  "hypothesis_template",
  "max_new_tokens",
  "do_sample",
  "temperature",
  "top_p",
  "repetition_penalty",
  "num_beams",
  "seed",
  "src_lang",
  "tgt_lang",
  "language",
  "return_timestamps",
  "pooling",
  "normalize",
  "dimensions",
  "subtask",
  "stride",
  "prompt",
];

/** What an `anyOf` with `null` comes down to; `undefined` where one control cannot hold it. */
export function toSimple(schema: JsonValue | undefined): Simple | undefined {
  if (!isFields(schema)) return undefined;
  const options = schema["anyOf"] ?? schema["oneOf"];
  if (isList(options)) {
    const others = options.filter((each) => !isFields(each) || each["type"] !== "null");
    return others.length === 1 ? toSimple(others[0]) : undefined;
  }
  if ("const" in schema) return undefined; // there is nothing to choose
  const choices = schema["enum"];
  if (isList(choices))
    return {
      type: "choice",
      choices: choices.filter((each): each is string => typeof each === "string"),
    };
  const types = [schema["type"] ?? null].flat();
  const [type] = types.filter((each) => each !== "null");
  if (type !== "string" && type !== "number" && type !== "integer" && type !== "boolean")
    return undefined;
  return { type, minimum: numberIn(schema, "minimum"), maximum: numberIn(schema, "maximum") };
}

export interface SimpleControl {
  readonly element: HTMLElement;
  /** @returns `undefined` where the visitor says nothing. */
  read(): JsonValue | undefined;
}

export function createSimple(
  name: string,
  simple: Simple,
  preset: JsonValue | undefined,
  onChange: () => void,
): SimpleControl {
  const id = freshId();
  const label = h("label", { for: id }, name);
  const { type, choices, minimum, maximum } = simple;
  if (type === "boolean" || type === "choice") {
    const options = type === "boolean" ? ["true", "false"] : (choices ?? []);
    const select = h(
      "select",
      { id, onchange: onChange },
      h("option", { value: "" }, "default"),
      ...options.map((value) =>
        h(
          "option",
          {
            value,
            selected:
              JSON.stringify(value) === JSON.stringify(preset) || value === JSON.stringify(preset),
          },
          value,
        ),
      ),
    );
    const read = (): JsonValue | undefined =>
      select.value === "" ? undefined : type === "boolean" ? select.value === "true" : select.value;
    return { element: h("div", { class: "field small" }, label, select), read };
  }
  const isNumber = type !== "string";
  const input = h("input", {
    id,
    type: isNumber ? "number" : "text",
    min: minimum,
    max: maximum !== undefined && maximum < 1e9 ? maximum : undefined,
    step: type === "integer" ? 1 : "any",
    value: typeof preset === "object" ? undefined : preset,
    placeholder: "default",
    autocomplete: "off",
    oninput: onChange,
  });
  const read = (): JsonValue | undefined =>
    input.value === "" ? undefined : isNumber ? Number(input.value) : input.value;
  return { element: h("div", { class: "field small" }, label, input), read };
}

export interface ParameterForm {
  readonly element: HTMLElement;
  /** @throws Refusal where the JSON is none. */
  read(): Fields;
}

/** @param taken Names that have a field of their own. */
export function createParameters(
  schema: JsonValue | undefined,
  presets: Fields,
  taken: readonly string[],
  onChange: () => void,
): ParameterForm {
  const properties = isFields(schema) && isFields(schema["properties"]) ? schema["properties"] : {};
  const names = KNOWN.filter((name) => name in properties && !taken.includes(name));
  const controls = names.flatMap((name) => {
    const simple = toSimple(properties[name]);
    return simple === undefined
      ? []
      : [[name, createSimple(name, simple, presets[name], onChange)] as const];
  });
  const id = freshId();
  const more = h("textarea", {
    id,
    rows: 2,
    class: "code",
    placeholder: "{}",
    spellcheck: "false",
    oninput: onChange,
  });
  return {
    element: h(
      "details",
      { class: "parameters" },
      h("summary", {}, "Parameters"),
      h("div", { class: "grid" }, ...controls.map(([, { element }]) => element)),
      h(
        "div",
        { class: "field small" },
        h("label", { for: id }, controls.length > 0 ? "Others, as JSON" : "As JSON"),
        more,
      ),
    ),
    read() {
      const simple = controls.flatMap(([name, control]) => {
        const value = control.read();
        return value === undefined ? [] : [[name, value] as const];
      });
      const others = more.value.trim() === "" ? {} : parse(more.value);
      if (!isFields(others)) throw new Refusal("The other parameters are no JSON object");
      return { ...Object.fromEntries(simple), ...others };
    },
  };
}
