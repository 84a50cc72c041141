/**
 * Appends nodes to a graph, and knows the type and shape of every value in it.
 *
 * All nodes are of operator set 18 or later (`upgrade.ts` brings older graphs there), so each operator has one form here.
 */
import { findAttribute, numbersOf, toAttribute, type AttributeValue } from "./attributes.ts";
import { ELEMENT, type Graph, type Node, type Tensor } from "./onnx-schema.ts";
import { inferNode } from "./shapes/inference.ts";
import { type Value, type Values } from "./shapes/value.ts";
import type { Shape } from "./shapes/symbols.ts";

/** A value's name, or a number: a constant of the type of the operation's first named operand. */
export type Operand = string | number;

export interface NodeOptions {
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** ONNX's own operators when absent. */
  readonly domain?: string;
  /** The names of the outputs, where they are given; an empty one gets a new name. */
  readonly outputs?: readonly string[];
}

export interface GraphBuilder {
  /** Appends an operation with one output and gives that output's name. */
  op(type: string, inputs: readonly Operand[], options?: NodeOptions): string;
  /** Appends a node as it is. */
  append(node: Node): void;
  /** The same as `op` with several outputs. */
  ops(type: string, inputs: readonly Operand[], outputs: number, options?: NodeOptions): string[];
  /** A constant of the element type of `like`. */
  scalar(value: number, like: string): string;
  /** A constant int64. */
  scalarInteger(value: number): string;
  /** The value of a constant with one element, where `name` is one. */
  constant(name: string): number | undefined;
  /** A constant list of int64. */
  integers(values: readonly number[]): string;
  /** The value's shape as an int64 list that the graph computes; asked once per value. */
  shapeOf(name: string): string;
  value(name: string): Value;
  shape(name: string): Shape | undefined;
  /** The number of axes. @throws `NOT_SUPPORTED` where it cannot be told. */
  rank(name: string): number;
  /** Sums over these axes; they are kept with size 1 unless `drop`. */
  sum(x: Operand, axes: readonly number[], drop?: "drop"): string;
  mean(x: Operand, axes: readonly number[]): string;
  transpose(x: string, order: readonly number[]): string;
  /** `x` with its last two axes exchanged. */
  transposeLast(x: string): string;
  reshape(x: string, shape: readonly number[]): string;
  unsqueeze(x: string, axes: readonly number[]): string;
  /** `x` converted to an element type, or itself where it has it. */
  cast(x: string, element: number): string;
}

/**
 * @param graph Where nodes and constants are put.
 * @param values What is known of the graph's values; grows with it.
 * @param prefix Begins the names of all new values, and of no value of the graph.
 * @param unknownRank Makes the error for a value whose rank cannot be told.
 */
export function createGraphBuilder(
  graph: Graph,
  values: Values,
  prefix: string,
  unknownRank: (name: string) => Error,
): GraphBuilder {
  const constants = new Map<string, string>();
  const shapes = new Map<string, string>();
  const tensors = constantsOf(graph);
  let count = 0;

  function keep(key: string, make: (name: string) => Tensor, value: Value): string {
    const known = constants.get(key);
    if (known !== undefined) return known;
    const name = `${prefix}${key}`;
    graph.initializer.push(make(name));
    values.set(name, value);
    constants.set(key, name);
    return name;
  }

  function ofElement(number: number, element: number): string {
    return keep(
      `constant_${number}_${element}`,
      (name) => ({ name, dims: [], ...scalarData(number, element) }),
      { element, shape: [] },
    );
  }

  function toName(operand: Operand, inputs: readonly Operand[]): string {
    if (typeof operand === "string") return operand;
    const like = inputs.find((entry) => typeof entry === "string" && entry !== "");
    return ofElement(operand, values.get(String(like))?.element ?? ELEMENT.float32);
  }

  function ops(
    type: string,
    operands: readonly Operand[],
    outputs: number,
    { attributes = {}, domain = "", outputs: given = [] }: NodeOptions = {},
  ): string[] {
    const serial = count++;
    const names = Array.from({ length: outputs }, (_, index) => {
      if (given[index]) return given[index];
      return outputs === 1 ? `${prefix}${type}_${serial}` : `${prefix}${type}_${serial}_${index}`;
    });
    const node: Node = {
      opType: type,
      name: `${prefix}${type}_${serial}`,
      input: operands.map((operand) => toName(operand, operands)),
      output: names,
      attribute: Object.entries(attributes).map(([name, value]) => toAttribute(name, value)),
      ...(domain !== "" && { domain }),
    };
    append(node);
    return names;
  }

  function append(node: Node): void {
    graph.node.push(node);
    inferNode(node, values);
  }

  function op(type: string, operands: readonly Operand[], options?: NodeOptions): string {
    return ops(type, operands, 1, options)[0] ?? "";
  }

  function integers(list: readonly number[]): string {
    return keep(
      `integers_${list.join("_")}`,
      (name) => ({
        name,
        dims: [list.length],
        dataType: ELEMENT.int64,
        rawData: new Uint8Array(BigInt64Array.from(list, BigInt).buffer),
      }),
      { element: ELEMENT.int64, shape: [list.length], contents: list },
    );
  }

  function rank(name: string): number {
    const shape = values.get(name)?.shape;
    if (shape === undefined) throw unknownRank(name);
    return shape.length;
  }

  function transpose(x: string, order: readonly number[]): string {
    if (order.every((from, to) => from === to)) return x;
    return op("Transpose", [x], { attributes: { perm: order } });
  }

  return {
    op,
    ops,
    append,
    integers,
    scalar: (number, like) => ofElement(number, values.get(like)?.element ?? ELEMENT.float32),
    scalarInteger: (number) => ofElement(number, ELEMENT.int64),
    constant: (name) => tensors.get(name),
    value: (name) => values.get(name) ?? {},
    shape: (name) => values.get(name)?.shape,
    rank,
    transpose,

    shapeOf(name) {
      const known = shapes.get(name) ?? op("Shape", [name]);
      shapes.set(name, known);
      return known;
    },

    sum: (x, axes, drop) =>
      op("ReduceSum", [x, integers(axes)], { attributes: { keepdims: drop ? 0 : 1 } }),
    mean: (x, axes) => op("ReduceMean", [x, integers(axes)]),

    transposeLast(x) {
      const axes = Array.from({ length: rank(x) }, (_, axis) => axis);
      const [last = 0, before = 0] = [axes.pop(), axes.pop()];
      return transpose(x, [...axes, last, before]);
    },

    reshape: (x, shape) => op("Reshape", [x, integers(shape)]),
    unsqueeze: (x, axes) => op("Unsqueeze", [x, integers(axes)]),
    cast: (x, element) =>
      values.get(x)?.element === element ? x : op("Cast", [x], { attributes: { to: element } }),
  };
}

/** The numbers among a graph's constants. */
function constantsOf(graph: Graph): Map<string, number> {
  const numbers = new Map<string, number>();
  const note = (name: string, tensor: Tensor): void => {
    const [number, ...more] = numbersOf(tensor, 1) ?? [];
    if (number !== undefined && more.length === 0) numbers.set(name, number);
  };
  for (const tensor of graph.initializer) note(tensor.name ?? "", tensor);
  for (const node of graph.node) {
    const tensor = node.opType === "Constant" ? findAttribute(node, "value")?.t : undefined;
    if (tensor !== undefined) note(node.output[0] ?? "", tensor);
  }
  return numbers;
}

function scalarData(number: number, element: number): Pick<Tensor, "dataType" | "rawData"> {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  switch (element) {
    case ELEMENT.float64:
      view.setFloat64(0, number, true);
      return { dataType: element, rawData: bytes };
    case ELEMENT.int64:
      view.setBigInt64(0, BigInt(number), true);
      return { dataType: element, rawData: bytes };
    case ELEMENT.int32:
      view.setInt32(0, number, true);
      return { dataType: element, rawData: bytes.slice(0, 4) };
    case ELEMENT.bool:
      return { dataType: element, rawData: Uint8Array.of(number) };
    case ELEMENT.float32:
      view.setFloat32(0, number, true);
      return { dataType: element, rawData: bytes.slice(0, 4) };
    default:
      throw new TypeError(`Cannot make a constant of element type ${element}`);
  }
}
