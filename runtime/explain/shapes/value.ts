/**
 * What is known of a value before the graph runs, and how a rule tells it.
 */
import { dimsOf, intsOf, numbersOf } from "../attributes.ts";
import { ELEMENT, type Node, type Tensor } from "../onnx-schema.ts";
import { broadcastDim, UNKNOWN, type Dim, type Shape } from "./symbols.ts";

export interface Value {
  /** One of `ELEMENT`. */
  readonly element?: number | undefined;
  readonly shape?: Shape | undefined;
  /** The elements of a small integer tensor, row-major. */
  readonly contents?: readonly (Dim | undefined)[] | undefined;
}

export type Values = Map<string, Value>;

/** What a node's outputs are, given its inputs. */
export type ShapeRule = (node: Node, inputs: readonly Value[]) => readonly Value[];

/** The shape of broadcast operands: aligned at the end, missing axes count as 1. */
export function broadcastShapes(shapes: readonly (Shape | undefined)[]): Shape | undefined {
  let all: Shape = [];
  for (const shape of shapes) {
    if (shape === undefined) return undefined;
    const rank = Math.max(all.length, shape.length);
    const [a, b] = [padFront(all, rank), padFront(shape, rank)];
    all = a.map((dim, axis) => broadcastDim(dim, b[axis] ?? 1) ?? UNKNOWN);
  }
  return all;
}

function padFront(shape: Shape, rank: number): Shape {
  return [...Array.from({ length: rank - shape.length }, () => 1), ...shape];
}

/** `-1` → the last axis. */
export function normalizeAxis(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** Constants that stand as an attribute in older operator sets and as an input in newer ones. */
export function listOf(
  node: Node,
  inputs: readonly Value[],
  name: string,
  index: number,
): number[] | undefined {
  const list = intsOf(node, name) ?? inputs[index]?.contents;
  return list?.every((entry) => typeof entry === "number") ? (list as number[]) : undefined; // just checked
}

/** A weight or a constant. */
export function ofTensor(tensor: Tensor): Value {
  const isInteger = tensor.dataType === ELEMENT.int64 || tensor.dataType === ELEMENT.int32;
  return {
    element: tensor.dataType,
    shape: dimsOf(tensor),
    contents: isInteger || tensor.dataType === ELEMENT.bool ? numbersOf(tensor) : undefined,
  };
}
