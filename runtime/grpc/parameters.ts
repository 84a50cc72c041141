/**
 * Parameters (`InferParameter`) and plain values.
 */
import type { OipParameters } from "../http/protocols/open-inference-exchange.ts";
import type { JsonValue } from "../inference.ts";

/** As decoded: which of them is there stands in `parameter_choice`; 64-bit integers are decimal text. */
export interface InferParameter {
  readonly parameter_choice?:
    | "bool_param"
    | "int64_param"
    | "string_param"
    | "double_param"
    | "uint64_param";
  readonly bool_param?: boolean;
  readonly int64_param?: string;
  readonly string_param?: string;
  readonly double_param?: number;
  readonly uint64_param?: string;
}

export type InferParameters = Readonly<Record<string, InferParameter>>;

/** An integer that no number holds stays its digits; a parameter with nothing in it is `null`. */
export function readParameters(parameters: InferParameters): OipParameters {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, parameter]) => [name, toValue(parameter)]),
  );
}

function toValue(parameter: InferParameter): JsonValue {
  switch (parameter.parameter_choice) {
    case "bool_param":
      return parameter.bool_param ?? false;
    case "int64_param":
      return toNumber(parameter.int64_param);
    case "uint64_param":
      return toNumber(parameter.uint64_param);
    case "double_param":
      return parameter.double_param ?? 0;
    case "string_param":
      return parameter.string_param ?? "";
    case undefined:
    default: // decoded from the wire: nothing else is there
      return null;
  }
}

function toNumber(digits = "0"): JsonValue {
  return Number.isSafeInteger(Number(digits)) ? Number(digits) : digits;
}

/** Whatever has no kind of its own goes as JSON. */
export function writeParameters(parameters: OipParameters = {}): InferParameters {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [name, fromValue(value)]),
  );
}

function fromValue(value: JsonValue): InferParameter {
  if (typeof value === "boolean") return { bool_param: value };
  if (typeof value === "string") return { string_param: value };
  if (typeof value !== "number") return { string_param: JSON.stringify(value) };
  return Number.isSafeInteger(value) ? { int64_param: String(value) } : { double_param: value };
}
