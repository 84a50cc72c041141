/**
 * Small ONNX graphs in memory, and their gradients by central differences: the independent source that the gradient
 * graph is compared with.
 */
import assert from "node:assert/strict";

import { InferenceSession, Tensor } from "onnxruntime-node";

import { toAttribute, type AttributeValue } from "../../runtime/explain/attributes.ts";
import { buildGradientGraphs } from "../../runtime/explain/gradient-graph.ts";
import { parseOnnxModel, toSession, type OnnxModel } from "../../runtime/explain/onnx-model.ts";
import {
  ELEMENT,
  encodeModel,
  type Node,
  type Tensor as Weight,
} from "../../runtime/explain/onnx-schema.ts";

export type FloatType = "float32" | "float64";

/** Numbers of a shape. `[]` is a scalar. */
export interface Numbers {
  readonly dims: readonly number[];
  readonly values: readonly number[];
  /** The model's own float type when absent. */
  readonly type?: "int64" | "int32" | "bool" | "float16" | FloatType;
}

export interface SmallNode {
  readonly op: string;
  readonly domain?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
}

export interface SmallModel {
  /** 18 when absent. */
  readonly opset?: number;
  readonly type?: FloatType;
  /** Fed when the graph runs; the axes of floats have symbolic sizes unless `isStatic`. */
  readonly inputs: Readonly<Record<string, Numbers>>;
  readonly isStatic?: boolean;
  readonly constants?: Readonly<Record<string, Numbers>>;
  readonly nodes: readonly SmallNode[];
  readonly outputs: readonly string[];
}

/** One operation, as short as it can be written. */
export function node(
  op: string,
  inputs: string,
  outputs: string,
  attributes: Readonly<Record<string, AttributeValue>> = {},
): SmallNode {
  const [name = "", domain = ""] = op.split(".").toReversed();
  return {
    op: name,
    domain: domain === "microsoft" ? "com.microsoft" : domain,
    inputs: inputs === "" ? [] : inputs.split(" ").map((text) => (text === "_" ? "" : text)),
    outputs: outputs.split(" ").map((text) => (text === "_" ? "" : text)),
    attributes,
  };
}

/** The same numbers at every run: a linear congruential generator (Numerical Recipes, 7.1). */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Numbers between `from` and `to`. */
export function random(dims: readonly number[], seed: number, from = -1, to = 1): Numbers {
  const next = createRandom(seed);
  const values = Array.from({ length: countOf(dims) }, () => from + (to - from) * next());
  return { dims, values };
}

export function int64(dims: readonly number[], ...values: readonly number[]): Numbers {
  return { dims, values, type: "int64" };
}

function countOf(dims: readonly number[]): number {
  return dims.reduce((product, size) => product * size, 1);
}

/** The bytes of the model's file. */
export function encodeSmall(model: SmallModel): Uint8Array {
  const { opset = 18, type = "float32", isStatic = false } = model;
  const toInfo = (name: string, numbers?: Numbers) => ({
    name,
    type: {
      tensorType: {
        elemType: ELEMENT[numbers?.type ?? type],
        ...(numbers && {
          shape: {
            dim: numbers.dims.map((size, axis) =>
              isStatic || numbers.type === "int64"
                ? { dimValue: size }
                : { dimParam: `${name}_${axis}` },
            ),
          },
        }),
      },
    },
  });
  return encodeModel({
    irVersion: 8,
    opsetImport: [
      { domain: "", version: opset },
      { domain: "com.microsoft", version: 1 },
    ],
    graph: {
      name: "small",
      node: model.nodes.map(
        ({ op, domain = "", inputs, outputs, attributes = {} }, index): Node => ({
          opType: op,
          name: `${op}_${index}`,
          domain,
          input: [...inputs],
          output: [...outputs],
          attribute: Object.entries(attributes).map(([name, value]) => toAttribute(name, value)),
        }),
      ),
      initializer: Object.entries(model.constants ?? {}).map(([name, numbers]): Weight => ({
        name,
        dims: [...numbers.dims],
        dataType: ELEMENT[numbers.type ?? type],
        rawData: new Uint8Array(toArray(numbers, type).buffer),
      })),
      input: Object.entries(model.inputs).map(([name, numbers]) => toInfo(name, numbers)),
      output: model.outputs.map((name) => toInfo(name)),
      valueInfo: [],
    },
  });
}

export function smallModel(model: SmallModel): OnnxModel {
  return parseOnnxModel(encodeSmall(model));
}

function toArray({ values, type }: Numbers, floats: FloatType) {
  switch (type ?? floats) {
    case "float64":
      return Float64Array.from(values);
    case "int64":
      return BigInt64Array.from(values, BigInt);
    case "int32":
      return Int32Array.from(values);
    case "bool":
      return Uint8Array.from(values);
    case "float16":
      return Uint16Array.from(values, toFloat16);
    case "float32":
      return Float32Array.from(values);
  }
}

/** The bits of the nearest float16 of a number between 2⁻¹⁴ and 2¹⁵ in size, or of zero. */
function toFloat16(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const fraction = Math.round((Math.abs(value) / 2 ** exponent - 1) * 1024);
  return (value < 0 ? 0x8000 : 0) + (exponent + 15) * 1024 + fraction; // a fraction of 1024 carries over
}

export function toTensor(numbers: Numbers, floats: FloatType): Tensor {
  const data = toArray(numbers, floats);
  return new Tensor(numbers.type ?? floats, data as Float32Array, numbers.dims); // `data` is the array for the type
}

export async function openModel(model: OnnxModel): Promise<InferenceSession> {
  const { bytes, options } = toSession(model);
  return InferenceSession.create(bytes, {
    ...options,
    logSeverityLevel: 3,
    intraOpNumThreads: 1,
    graphOptimizationLevel: "basic",
  });
}

export function pick(
  session: InferenceSession,
  feeds: Readonly<Record<string, Tensor>>,
): Record<string, Tensor> {
  return Object.fromEntries(
    session.inputNames.map((name) => {
      const tensor = feeds[name];
      assert.ok(tensor !== undefined, `the graph asks for "${name}"`);
      return [name, tensor];
    }),
  );
}

function floatsOf(tensor: Tensor | undefined): number[] {
  assert.ok(tensor !== undefined);
  return Array.from(tensor.data as Float32Array | Float64Array);
}

/** How differences are taken. */
interface Differences {
  /** The step; the error of the four-point formula grows with its fourth power, that of rounding falls with it. */
  readonly step: number;
  /** The largest deviation allowed, as a share of the gradient's largest element, or of 1 where that is smaller. */
  readonly tolerance: number;
}

const DIFFERENCES: Readonly<Record<FloatType, Differences>> = {
  // Step⁴ = 1e-12, rounding 1e-16 / 1e-3: far below the tolerance for functions whose derivatives are not steep.
  float64: { step: 1e-3, tolerance: 1e-7 },
  // Step⁴ = 1e-6 times a derivative of fifth order, rounding 1e-7 · some operations / 3e-2.
  float32: { step: 3e-2, tolerance: 2e-3 },
};

/**
 * Compares the gradient graph with central differences, for every float input of the model in turn.
 *
 * @param from The inputs to differentiate by, each of which the model must read; all float inputs when absent.
 * @returns The largest deviation, as a share of the gradient's largest element.
 */
export async function assertGradient(
  model: SmallModel,
  options: { readonly from?: readonly string[]; readonly tolerance?: number } = {},
): Promise<number> {
  const { type = "float32" } = model;
  const { step, tolerance } = { ...DIFFERENCES[type], ...options };
  const isFloat = ({ type: own = type }: Numbers): boolean => own === type;
  const from =
    options.from ?? Object.keys(model.inputs).filter((name) => isFloat(model.inputs[name] ?? NONE));
  const [output = ""] = model.outputs;
  const feeds = Object.fromEntries(
    Object.entries(model.inputs).map(([name, numbers]) => [name, toTensor(numbers, type)]),
  );
  const original = await openModel(smallModel(model));
  const whole = (await original.run(pick(original, feeds)))[output];
  assert.ok(whole !== undefined);
  const selection = random(whole.dims, 7);
  const chosen = async (name: string, values: readonly number[]): Promise<number> => {
    const changed = toTensor({ dims: model.inputs[name]?.dims ?? [], values }, type);
    const result = await original.run(pick(original, { ...feeds, [name]: changed }));
    return floatsOf(result[output]).reduce(
      (total, value, index) => total + value * (selection.values[index] ?? 0),
      0,
    );
  };

  let worst = 0;
  for (const name of from) {
    const { dims, values } = model.inputs[name] ?? NONE;
    const layer = `${name}/layer`;
    const cut = smallModel(cutAt(model, name, layer));
    const { gradient } = buildGradientGraphs(cut, { layer, output });
    const session = await openModel(gradient);
    const answer = await session.run(
      pick(session, {
        ...feeds,
        [layer]: toTensor({ dims, values }, type),
        selection: toTensor(selection, type),
      }),
    );
    assert.deepEqual(answer["gradient"]?.dims, dims, `the gradient by "${name}" has its shape`);
    assert.deepEqual(answer[output]?.dims, whole.dims);
    const found = floatsOf(answer["gradient"]);
    const wanted: number[] = [];
    for (const index of values.keys()) {
      const at = async (by: number): Promise<number> =>
        chosen(name, values.with(index, (values[index] ?? 0) + by));
      const near = (await at(step)) - (await at(-step));
      const far = (await at(2 * step)) - (await at(-2 * step));
      wanted.push((8 * near - far) / (12 * step)); // Abramowitz and Stegun 25.3.6
    }
    const scale = Math.max(1, ...wanted.map(Math.abs));
    for (const [index, value] of found.entries()) {
      const deviation = Math.abs(value - (wanted[index] ?? NaN)) / scale;
      assert.ok(
        deviation <= tolerance,
        `∂/∂${name}[${index}] is ${value}, by differences ${wanted[index]}, ${deviation} apart`,
      );
      worst = Math.max(worst, deviation);
    }
    await session.release();
  }
  await original.release();
  return worst;
}

const NONE: Numbers = { dims: [], values: [] };

/** The model with a value `layer` between the input and all that read it. */
function cutAt(model: SmallModel, input: string, layer: string): SmallModel {
  const nodes = model.nodes.map((entry) => ({
    ...entry,
    inputs: entry.inputs.map((name) => (name === input ? layer : name)),
  }));
  return { ...model, nodes: [node("Identity", input, layer), ...nodes] };
}
