/**
 * Inputs that a request may leave out, as everyone would send the same.
 *
 * | input | is then |
 * |---|---|
 * | `attention_mask`, `pixel_mask` | ones: nothing is padding |
 * | `token_type_ids` | zeros: all is the first text |
 * | `past_key_values.…` | empty, where none of them is given: nothing was read before |
 * | `position_ids` | counted on from what was read before, where no mask is given either: padding on the left would shift them |
 *
 * Their sizes follow from the inputs that are given, by the names of the dimensions; a dimension that no input names is
 * `input_ids`' own.
 */
import type { NamedTensor } from "../../inference.ts";
import { filled } from "./datatypes.ts";
import { elementsOf, type Port } from "./signature.ts";

const ONES = new Set(["attention_mask", "pixel_mask"]);
/** More than any text or image has: sizes are a client's words, and a tensor without elements may name any. */
const MOST_MADE = 2 ** 24;

const isPast = (name: string): boolean => name.startsWith("past_");

const rankOf = ({ name }: Port): number => (name === "input_ids" ? 0 : 1);

/** Those that are given and those that can be made; what is missing still is for the caller to say. */
export function completeInputs(
  given: ReadonlyMap<string, NamedTensor>,
  ports: readonly Port[],
): ReadonlyMap<string, NamedTensor> {
  const missing = ports.filter(({ name }) => !given.has(name));
  if (missing.length === 0) return given;
  const ids = given.get("input_ids")?.shape;
  const sizes = new Map<string, number>();
  // The ids' own sizes win, where a mask that was given says another.
  for (const { name, axes } of ports.toSorted((a, b) => rankOf(a) - rankOf(b)))
    for (const [axis, size] of given.get(name)?.shape.entries() ?? []) {
      const called = axes[axis];
      if (typeof called === "string" && called !== "" && !sizes.has(called))
        sizes.set(called, size);
    }
  const past = [...given].find(([name]) => isPast(name))?.[1];
  /** Tokens that were read before: caches are `[B, heads, tokens, size]`. */
  const pastLength = past?.shape.at(-2) ?? 0;

  function sizeOf({ name, axes }: Port, axis: number): number | undefined {
    const called = axes[axis];
    if (typeof called === "number") return called;
    const known = sizes.get(called ?? "");
    if (known !== undefined) return known;
    if (isPast(name)) return 0;
    const own = ids?.[axis];
    // A mask without a name of its own covers what was read before, too.
    return own === undefined || axis !== 1 || name !== "attention_mask" ? own : own + pastLength;
  }

  function make(port: Port): NamedTensor | undefined {
    const shape = port.axes.map((_, axis) => sizeOf(port, axis));
    if (shape.length === 0 || !shape.every((size) => size !== undefined)) return undefined;
    const { name, datatype } = port;
    const count = elementsOf(shape);
    if (count > MOST_MADE) return undefined;
    const ready = (data: NamedTensor["data"]): NamedTensor => ({ name, datatype, shape, data });
    if (ONES.has(name)) return ready(filled(datatype, count, 1));
    if (name === "token_type_ids") return ready(filled(datatype, count, 0));
    if (isPast(name)) return past || count > 0 ? undefined : ready(filled(datatype, 0, 0));
    if (name !== "position_ids" || datatype !== "INT64" || given.has("attention_mask"))
      return undefined;
    const length = shape.at(-1) ?? 0;
    const count64 = (_: bigint, place: number): bigint => BigInt(pastLength + (place % length));
    return ready(new BigInt64Array(count).map(count64));
  }

  const made = missing.map(make).filter((tensor) => tensor !== undefined);
  return new Map([...given, ...made.map((tensor) => [tensor.name, tensor] as const)]);
}
