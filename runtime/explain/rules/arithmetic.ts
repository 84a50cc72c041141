/**
 * Operators on two or more broadcast operands.
 */
import { sumTo, type Rule, type Step } from "./rule.ts";

/** Each operand's gradient before it is summed to the operand's shape. */
function broadcast(...gradients: readonly ((step: Step) => string)[]): Rule {
  return (step) =>
    gradients.map((gradient, input) =>
      step.wants(input) ? sumTo(step.graph, gradient(step), step.x[input] ?? "") : undefined,
    );
}

/** `y = a + b`: `∂a = Σ g`, `∂b = Σ g`. */
const addition = broadcast(
  ({ g }) => g,
  ({ g }) => g,
);

/** `y = a − b`: `∂a = Σ g`, `∂b = −Σ g`. */
const subtraction = broadcast(
  ({ g }) => g,
  ({ graph, g }) => graph.op("Neg", [g]),
);

/** `y = a ⊙ b`: `∂a = Σ g ⊙ b`, `∂b = Σ g ⊙ a`. */
const multiplication = broadcast(
  ({ graph, g, x: [, b = ""] }) => graph.op("Mul", [g, b]),
  ({ graph, g, x: [a = ""] }) => graph.op("Mul", [g, a]),
);

/** `y = a / b`: `∂a = Σ g / b`, `∂b = −Σ g ⊙ y / b`. */
const division = broadcast(
  ({ graph, g, x: [, b = ""] }) => graph.op("Div", [g, b]),
  ({ graph, g, x: [, b = ""], output }) =>
    graph.op("Neg", [graph.op("Div", [graph.op("Mul", [g, output(0)]), b])]),
);

/** `y = aᵖ`: `∂a = Σ g ⊙ p aᵖ⁻¹`, `∂p = Σ g ⊙ y ln a`. */
const power = broadcast(
  ({ graph, g, x: [a = "", p = ""] }) => {
    if (graph.constant(p) === 2) return graph.op("Mul", [g, graph.op("Mul", [a, 2])]);
    const lower = graph.op("Pow", [a, graph.op("Sub", [p, 1])]);
    const exponent = graph.cast(p, graph.value(a).element ?? 1);
    return graph.op("Mul", [g, graph.op("Mul", [lower, exponent])]);
  },
  ({ graph, g, x: [a = ""], output }) =>
    graph.op("Mul", [g, graph.op("Mul", [output(0), graph.op("Log", [a])])]),
);

/** `y = x₀ + x₁ + …`: `∂xᵢ = Σ g`. */
const sum: Rule = ({ graph, g, x, wants }) =>
  x.map((name, input) => (wants(input) ? sumTo(graph, g, name) : undefined));

/** `y = (x₀ + … + xₙ₋₁) / n`: `∂xᵢ = Σ g / n`. */
const mean: Rule = (step) => {
  const g = step.graph.op("Div", [step.g, step.x.length]);
  return sum({ ...step, g });
};

/**
 * `y = max(x₀, x₁, …)` or the least: `∂xᵢ = Σ g ⊙ [xᵢ = y] / #{j : xⱼ = y}`. Operands that are equal share the gradient,
 * as in PyTorch's `maximum`.
 */
const extreme: Rule = ({ graph, g, x, wants, output }) => {
  const y = output(0);
  const element = graph.value(y).element ?? 1;
  const hits = x.map((name) => graph.cast(graph.op("Equal", [name, y]), element));
  const share = graph.op("Div", [g, hits.length === 1 ? (hits[0] ?? "") : graph.op("Sum", hits)]);
  return x.map((name, input) =>
    wants(input) ? sumTo(graph, graph.op("Mul", [share, hits[input] ?? ""]), name) : undefined,
  );
};

/** `y = c ? a : b`: `∂a = Σ (c ? g : 0)`, `∂b = Σ (c ? 0 : g)`. */
const where: Rule = ({ graph, g, x: [c = "", a = "", b = ""], wants }) => {
  const zero = graph.scalar(0, g);
  return [
    undefined,
    wants(1) ? sumTo(graph, graph.op("Where", [c, g, zero]), a) : undefined,
    wants(2) ? sumTo(graph, graph.op("Where", [c, zero, g]), b) : undefined,
  ];
};

export const ARITHMETIC: Readonly<Record<string, Rule>> = {
  Add: addition,
  Sub: subtraction,
  Mul: multiplication,
  Div: division,
  Pow: power,
  Sum: sum,
  Mean: mean,
  Max: extreme,
  Min: extreme,
  Where: where,
};
