/**
 * Operators on one operand, element by element: `∂x = g ⊙ y′(x)`.
 */
import { floatOf, stringOf } from "../attributes.ts";
import type { Rule, Step } from "./rule.ts";

/** Makes a rule of the formula for `∂x`. */
function unary(gradient: (step: Step) => string): Rule {
  return (step) => [gradient(step)];
}

/** `y′(x)` of the Gaussian error function's unit: `Φ(x) + x φ(x)`, with `φ(x) = e^(−x²/2) / √2π`. */
function geluDerivative({ graph, x: [x = ""] }: Step): string {
  const erf = graph.op("Erf", [graph.op("Mul", [x, Math.SQRT1_2])]);
  const phi = graph.op("Mul", [graph.op("Add", [erf, 1]), 0.5]);
  const exponent = graph.op("Mul", [graph.op("Mul", [x, x]), -0.5]);
  const density = graph.op("Mul", [graph.op("Exp", [exponent]), 1 / Math.sqrt(2 * Math.PI)]);
  return graph.op("Add", [phi, graph.op("Mul", [density, x])]);
}

/** `y = x (1 + t) / 2`, `t = tanh(c (x + a x³))`: `y′ = (1 + t)/2 + x (1 − t²) c (1 + 3a x²) / 2`. */
function tanhGeluDerivative({ graph, x: [x = ""] }: Step): string {
  const [c, a] = [Math.sqrt(2 / Math.PI), 0.044715]; // Hendrycks and Gimpel, Gaussian Error Linear Units, section 2
  const square = graph.op("Mul", [x, x]);
  const scale = graph.op("Mul", [graph.op("Add", [graph.op("Mul", [square, a]), 1]), c]);
  const t = graph.op("Tanh", [graph.op("Mul", [scale, x])]);
  const half = graph.op("Mul", [graph.op("Add", [t, 1]), 0.5]);
  const slope = graph.op("Mul", [graph.op("Add", [graph.op("Mul", [square, 3 * a]), 1]), c / 2]);
  const bend = graph.op("Sub", [graph.scalar(1, x), graph.op("Mul", [t, t])]);
  const rest = graph.op("Mul", [x, graph.op("Mul", [bend, slope])]);
  return graph.op("Add", [half, rest]);
}

/** `y = x σ(αx)`: `y′ = s + αx s (1 − s)`, `s = σ(αx)`. */
function swishDerivative({ graph, x: [x = ""] }: Step, alpha: number): string {
  const scaled = alpha === 1 ? x : graph.op("Mul", [x, alpha]);
  const s = graph.op("Sigmoid", [scaled]);
  const bend = graph.op("Mul", [scaled, graph.op("Sub", [graph.scalar(1, x), s])]);
  return graph.op("Mul", [s, graph.op("Add", [bend, 1])]);
}

export const ELEMENTWISE: Readonly<Record<string, Rule>> = {
  /** `y = x`. */
  Identity: unary(({ g }) => g),
  /** `y = x` when nothing is trained. */
  Dropout: unary(({ g }) => g),
  /** `y = −x`: `∂x = −g`. */
  Neg: unary(({ graph, g }) => graph.op("Neg", [g])),
  /** `y = |x|`: `∂x = g sign(x)`. */
  Abs: unary(({ graph, g, x: [x = ""] }) => graph.op("Mul", [g, graph.op("Sign", [x])])),
  /** `y = eˣ`: `∂x = g y`. */
  Exp: unary(({ graph, g, output }) => graph.op("Mul", [g, output(0)])),
  /** `y = ln x`: `∂x = g / x`. */
  Log: unary(({ graph, g, x: [x = ""] }) => graph.op("Div", [g, x])),
  /** `y = √x`: `∂x = g / 2y`. */
  Sqrt: unary(({ graph, g, output }) => graph.op("Div", [g, graph.op("Mul", [output(0), 2])])),
  /** `y = 1/x`: `∂x = −g y²`. */
  Reciprocal: unary(({ graph, g, output }) => {
    const square = graph.op("Mul", [output(0), output(0)]);
    return graph.op("Neg", [graph.op("Mul", [g, square])]);
  }),
  /** `y = erf x`: `∂x = g (2/√π) e^(−x²)`. */
  Erf: unary(({ graph, g, x: [x = ""] }) => {
    const bell = graph.op("Exp", [graph.op("Neg", [graph.op("Mul", [x, x])])]);
    return graph.op("Mul", [g, graph.op("Mul", [bell, 2 / Math.sqrt(Math.PI)])]);
  }),
  /** `y = tanh x`: `∂x = g (1 − y²)`. */
  Tanh: unary(({ graph, g, output }) => {
    const square = graph.op("Mul", [output(0), output(0)]);
    return graph.op("Mul", [g, graph.op("Sub", [graph.scalar(1, g), square])]);
  }),
  /** `y = σ(x)`: `∂x = g y (1 − y)`. */
  Sigmoid: unary(({ graph, g, output }) => {
    const other = graph.op("Sub", [graph.scalar(1, g), output(0)]);
    return graph.op("Mul", [g, graph.op("Mul", [output(0), other])]);
  }),
  /** `y = ln(1 + eˣ)`: `∂x = g σ(x)`. */
  Softplus: unary(({ graph, g, x: [x = ""] }) => graph.op("Mul", [g, graph.op("Sigmoid", [x])])),
  /** `y = sin x`: `∂x = g cos x`. */
  Sin: unary(({ graph, g, x: [x = ""] }) => graph.op("Mul", [g, graph.op("Cos", [x])])),
  /** `y = cos x`: `∂x = −g sin x`. */
  Cos: unary(({ graph, g, x: [x = ""] }) =>
    graph.op("Neg", [graph.op("Mul", [g, graph.op("Sin", [x])])]),
  ),
  /** `y = max(x, 0)`: `∂x = g [x > 0]`. */
  Relu: unary(({ graph, g, x: [x = ""] }) =>
    graph.op("Where", [graph.op("Greater", [x, 0]), g, graph.scalar(0, g)]),
  ),
  /** `y = x > 0 ? x : αx`: `∂x = x > 0 ? g : αg`. */
  LeakyRelu: unary(({ graph, g, node, x: [x = ""] }) =>
    graph.op("Where", [
      graph.op("Greater", [x, 0]),
      g,
      graph.op("Mul", [g, floatOf(node, "alpha", 0.01)]),
    ]),
  ),
  /** `y = min(max(x, a), b)`: `∂x = g [a ≤ x ≤ b]`, the bounds included as in PyTorch's `clamp`. */
  Clip: unary(({ graph, g, x: [x = "", least = "", most = ""] }) => {
    const zero = graph.scalar(0, g);
    const above = least && graph.op("Where", [graph.op("GreaterOrEqual", [x, least]), g, zero]);
    const kept = above || g;
    return most ? graph.op("Where", [graph.op("LessOrEqual", [x, most]), kept, zero]) : kept;
  }),
  /** `y = x Φ(x)`, exactly or by `tanh`: `∂x = g y′(x)`. */
  Gelu: unary((step) => {
    const isApproximate = stringOf(step.node, "approximate", "none") === "tanh";
    const slope = isApproximate ? tanhGeluDerivative(step) : geluDerivative(step);
    return step.graph.op("Mul", [step.g, slope]);
  }),
  /** `y = x Φ(x)`: `∂x = g y′(x)`. */
  "com.microsoft.Gelu": unary((step) => step.graph.op("Mul", [step.g, geluDerivative(step)])),
  /** `y = x Φ(x)` by `tanh`: `∂x = g y′(x)`. */
  "com.microsoft.FastGelu": unary((step) =>
    step.graph.op("Mul", [step.g, tanhGeluDerivative(step)]),
  ),
  /** `y = x σ(αx)`: `∂x = g y′(x)`. */
  Swish: unary((step) =>
    step.graph.op("Mul", [step.g, swishDerivative(step, floatOf(step.node, "alpha", 1))]),
  ),
  /** `y = x σ(αx)` with `α = 1.702`: `∂x = g y′(x)`. */
  "com.microsoft.QuickGelu": unary((step) =>
    step.graph.op("Mul", [step.g, swishDerivative(step, floatOf(step.node, "alpha", 1.702))]),
  ),
  /** `y = x` in another float type: `∂x` is `g` in the type of `x`. */
  Cast: unary(({ graph, g, x: [x = ""] }) => {
    const { element } = graph.value(x);
    return element === undefined ? graph.op("CastLike", [g, x]) : graph.cast(g, element);
  }),
  /** Likewise. */
  CastLike: unary(({ graph, g, x: [x = ""] }) => graph.op("CastLike", [g, x])),
};
