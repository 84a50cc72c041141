/**
 * Products of matrices.
 */
import { floatOf, intOf, stringOf } from "../attributes.ts";
import { notSupported, reshapeTo, sumTo, type Rule } from "./rule.ts";

/**
 * `Y = A B`, batched over broadcast leading axes: `∂A = Σ g Bᵀ`, `∂B = Σ Aᵀ g`.
 *
 * An operand with one axis is a row on the left and a column on the right.
 */
const matMul: Rule = ({ graph, g, x: [a = "", b = ""], wants }) => {
  const [isRow, isColumn] = [graph.rank(a) === 1, graph.rank(b) === 1];
  const left = isRow ? graph.unsqueeze(a, [0]) : a;
  const right = isColumn ? graph.unsqueeze(b, [1]) : b;
  const columns = isColumn ? graph.unsqueeze(g, [-1]) : g;
  const whole = isRow ? graph.unsqueeze(columns, [-2]) : columns;
  const toA = (): string => {
    const product = graph.op("MatMul", [whole, graph.transposeLast(right)]);
    return reshapeTo(graph, sumTo(graph, product, left), a);
  };
  const toB = (): string => {
    const product = graph.op("MatMul", [graph.transposeLast(left), whole]);
    return reshapeTo(graph, sumTo(graph, product, right), b);
  };
  return [wants(0) ? toA() : undefined, wants(1) ? toB() : undefined];
};

/**
 * `Y = α A′ B′ + β C`, where `A′` is `A` or `Aᵀ`: `∂A′ = α g B′ᵀ`, `∂B′ = α A′ᵀ g`, `∂C = Σ β g`.
 */
const gemm: Rule = ({ node, graph, g, x: [a = "", b = "", c = ""], wants }) => {
  const [alpha, beta] = [floatOf(node, "alpha", 1), floatOf(node, "beta", 1)];
  const turn = (matrix: string, isTurned: boolean): string =>
    isTurned ? graph.transposeLast(matrix) : matrix;
  const scale = (gradient: string, factor: number): string =>
    factor === 1 ? gradient : graph.op("Mul", [gradient, factor]);
  const [isTurnedA, isTurnedB] = [intOf(node, "transA", 0) === 1, intOf(node, "transB", 0) === 1];
  const toA = (): string =>
    turn(graph.op("MatMul", [scale(g, alpha), turn(b, !isTurnedB)]), isTurnedA);
  const toB = (): string =>
    turn(graph.op("MatMul", [turn(a, !isTurnedA), scale(g, alpha)]), isTurnedB);
  return [
    wants(0) ? toA() : undefined,
    wants(1) ? toB() : undefined,
    wants(2) ? sumTo(graph, scale(g, beta), c) : undefined,
  ];
};

/** `Y = α A′ B′`, where the last two axes of an operand may be exchanged: as for `Gemm`, batched. */
const fusedMatMul: Rule = (step) => {
  const { node, graph, x, wants } = step;
  if (intOf(node, "transBatchA", 0) + intOf(node, "transBatchB", 0) > 0)
    throw notSupported(node, "exchanges its batch axes, which has no gradient rule");
  const isTurned = [intOf(node, "transA", 0) === 1, intOf(node, "transB", 0) === 1];
  const turn = (name: string, input: number): string =>
    isTurned[input] ? graph.transposeLast(name) : name;
  const alpha = floatOf(node, "alpha", 1);
  const g = alpha === 1 ? step.g : graph.op("Mul", [step.g, alpha]);
  const gradients = matMul({ ...step, g, x: x.map(turn), wants });
  return gradients.map((gradient, input) => gradient && turn(gradient, input));
};

/**
 * `Y = einsum("a,b->y", A, B)`: `∂A = einsum("y,b->a", g, B)`: the equation with one operand and the result exchanged.
 *
 * That holds where every letter of an operand stands in the result or in another operand, and no letter twice in one.
 */
const einsum: Rule = ({ node, graph, g, x, wants }) => {
  const equation = stringOf(node, "equation", "").replaceAll(" ", "");
  const [terms = "", result] = equation.split("->");
  const operands = terms.split(",");
  const isPlain = !equation.includes(".") && result !== undefined;
  if (!isPlain || operands.some((letters) => new Set(letters).size < letters.length))
    throw notSupported(node, `has the equation "${equation}", which has no gradient rule`);
  return x.map((_, input) => {
    if (!wants(input)) return undefined;
    const others = operands.filter((__, index) => index !== input);
    const known = `${result}${others.join("")}`;
    const wanted = operands[input] ?? "";
    if (wanted.split("").some((letter) => !known.includes(letter)))
      throw notSupported(node, `sums over a letter of one operand only in "${equation}"`);
    const names = x.filter((__, index) => index !== input);
    return graph.op("Einsum", [g, ...names], {
      attributes: { equation: `${[result, ...others].join(",")}->${wanted}` },
    });
  });
};

export const MATRICES: Readonly<Record<string, Rule>> = {
  MatMul: matMul,
  Gemm: gemm,
  "com.microsoft.FusedMatMul": fusedMatMul,
  Einsum: einsum,
};
