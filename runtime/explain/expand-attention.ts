/**
 * Takes onnxruntime's attention operators apart into products, sums and a Softmax.
 *
 * Letters: `B` batch, `T` tokens that ask, `S` tokens that are asked, `A` heads, `D` a head's size.
 * For each head `softmax(Q Kᵀ · scale + bias) V` (Vaswani et al., Attention Is All You Need, equation 1); the bias holds
 * what is masked as a large negative number, and everything that comes later where a model is causal.
 */
import { floatOf, intOf, intsOf } from "./attributes.ts";
import type { GraphBuilder } from "./graph-builder.ts";
import { ELEMENT, type Node } from "./onnx-schema.ts";
import { operatorOf } from "./rules/registry.ts";
import { notSupported } from "./rules/rule.ts";

/** @returns `false` where the node is no attention. @throws `NOT_SUPPORTED` for forms that transformers' exports lack. */
export function expandAttention(node: Node, graph: GraphBuilder): boolean {
  switch (operatorOf(node)) {
    case "com.microsoft.Attention":
      attention(node, graph);
      return true;
    case "com.microsoft.MultiHeadAttention":
      multiHeadAttention(node, graph);
      return true;
    case "com.microsoft.GroupQueryAttention":
      groupQueryAttention(node, graph);
      return true;
    case "com.microsoft.RotaryEmbedding":
      rotaryEmbedding(node, graph);
      return true;
    default:
      return false;
  }
}

/** Queries, keys and values come from one product: `[Q; K; V] = X W + b`. */
function attention(node: Node, graph: GraphBuilder): void {
  const [x = "", weights = "", bias = "", mask = "", past = "", added = ""] = node.input;
  if (past !== "" || (node.output[1] ?? "") !== "" || intOf(node, "do_rotary", 0) === 1)
    throw notSupported(node, "keeps a cache or rotates, which cannot be taken apart here");
  const product = graph.op("MatMul", [x, weights]);
  const all = bias === "" ? product : graph.op("Add", [product, bias]);
  const sizes = intsOf(node, "qkv_hidden_sizes");
  const [q = "", k = "", v = ""] =
    sizes === undefined
      ? graph.ops("Split", [all], 3, { attributes: { axis: -1, num_outputs: 3 } })
      : graph.ops("Split", [all, graph.integers(sizes)], 3, { attributes: { axis: -1 } });
  const heads = intOf(node, "num_heads", 1);
  attend(node, graph, {
    queries: toHeads(q, heads, graph),
    keys: toHeads(k, heads, graph),
    values: toHeads(v, heads, graph),
    bias: [added, keyMask(node, mask, k, graph)],
    isCausal: intOf(node, "unidirectional", 0) === 1,
  });
}

function multiHeadAttention(node: Node, graph: GraphBuilder): void {
  const [q = "", k = "", v = "", bias = "", mask = "", added = "", pastKey = "", pastValue = ""] =
    node.input;
  if (k === "" || v === "" || graph.rank(q) !== 3 || graph.rank(k) !== 3)
    throw notSupported(node, "packs its queries, keys and values, which cannot be taken apart");
  const heads = intOf(node, "num_heads", 1);
  const hidden = graph.shape(q)?.[2];
  const parts =
    bias === "" || typeof hidden !== "number"
      ? []
      : graph.ops("Split", [bias], 3, { attributes: { axis: 0, num_outputs: 3 } });
  if (bias !== "" && parts.length === 0)
    throw notSupported(node, "has a bias and hidden states of unknown size");
  const [queries = "", keys = "", values = ""] = [q, k, v].map((name, index) => {
    const part = parts[index];
    return toHeads(part === undefined ? name : graph.op("Add", [name, part]), heads, graph);
  });
  attend(node, graph, {
    queries,
    keys: join(pastKey, keys, node.output[1], graph),
    values: join(pastValue, values, node.output[2], graph),
    bias: [added, keyMask(node, mask, k, graph)],
    isCausal: intOf(node, "unidirectional", 0) === 1,
  });
}

/**
 * Several heads of queries share one of keys and values. Without a cache (`past_key` of length 0) and with padding on the
 * right: then a token's place is its position, and being causal hides the padding from every real token.
 */
function groupQueryAttention(node: Node, graph: GraphBuilder): void {
  const [query = "", k = "", v = "", pastKey = "", pastValue = ""] = node.input;
  const [cos = "", sin = "", positions = "", added = ""] = node.input.slice(7);
  if (floatOf(node, "softcap", 0) !== 0 || intOf(node, "smooth_softmax", 0) === 1 || node.input[11])
    throw notSupported(node, "has a changed Softmax, which cannot be taken apart");
  const [heads, kvHeads] = [intOf(node, "num_heads", 1), intOf(node, "kv_num_heads", 1)];
  let [q, keys, values] = [query, k, v];
  if (k === "") {
    const hidden = graph.shape(query)?.[2];
    if (typeof hidden !== "number") throw notSupported(node, "packs hidden states of unknown size");
    const size = hidden / (heads + 2 * kvHeads);
    const sizes = graph.integers([heads * size, kvHeads * size, kvHeads * size]);
    [q = "", keys = "", values = ""] = graph.ops("Split", [query, sizes], 3, {
      attributes: { axis: -1 },
    });
  }
  let queries = toHeads(q, heads, graph);
  keys = toHeads(keys, kvHeads, graph);
  values = toHeads(values, kvHeads, graph);
  if (intOf(node, "do_rotary", 0) === 1) {
    const places = positions || positionsOf(queries, pastKey, graph);
    const options = {
      node,
      cos,
      sin,
      places,
      isInterleaved: intOf(node, "rotary_interleaved", 0) === 1,
    };
    queries = rotate(queries, options, graph);
    keys = rotate(keys, options, graph);
  }
  const all = join(pastKey, keys, node.output[1], graph);
  attend(node, graph, {
    queries,
    keys: repeatHeads(all, heads / kvHeads, graph),
    values: repeatHeads(join(pastValue, values, node.output[2], graph), heads / kvHeads, graph),
    bias: [added],
    isCausal: true,
    window: intOf(node, "local_window_size", -1),
  });
}

interface Heads {
  /** `[B, A, T, D]`. */
  readonly queries: string;
  /** `[B, A, S, D]`, as are the values. */
  readonly keys: string;
  readonly values: string;
  /** Added to the scores `[B, A, T, S]`; empty names are left out. */
  readonly bias: readonly string[];
  readonly isCausal: boolean;
  /** How many tokens back one may look, itself included; -1 for all. */
  readonly window?: number;
}

/** Writes the node's first output, `[B, T, A·D]`. */
function attend(node: Node, graph: GraphBuilder, heads: Heads): void {
  const { queries, keys, values, bias, isCausal, window = -1 } = heads;
  const size = graph.shape(queries)?.[3];
  const scale = floatOf(node, "scale", 0) || (typeof size === "number" ? 1 / Math.sqrt(size) : 0);
  if (scale === 0) throw notSupported(node, "has heads of unknown size");
  let scores = graph.op("Mul", [graph.op("MatMul", [queries, graph.transposeLast(keys)]), scale]);
  const causal = isCausal ? causalMask(node, queries, keys, window, graph) : "";
  for (const name of [...bias, causal]) if (name !== "") scores = graph.op("Add", [scores, name]);
  const weights = graph.op("Softmax", [scores], { attributes: { axis: -1 } });
  const mixed = graph.transpose(graph.op("MatMul", [weights, values]), [0, 2, 1, 3]);
  const outputs = node.output.slice(0, 1);
  graph.op("Reshape", [mixed, graph.integers([0, 0, -1])], { outputs });
}

/** `[B, T, A·D]` → `[B, A, T, D]`. */
function toHeads(name: string, heads: number, graph: GraphBuilder): string {
  const hidden = graph.shape(name)?.[2];
  const size = typeof hidden === "number" ? hidden / heads : -1;
  return graph.transpose(graph.reshape(name, [0, 0, heads, size]), [0, 2, 1, 3]);
}

/** What is kept from before and what is new, which is also an output where that is wanted. */
function join(past: string, now: string, output: string | undefined, graph: GraphBuilder): string {
  const outputs = output ? [output] : [];
  if (past !== "") return graph.op("Concat", [past, now], { attributes: { axis: 2 }, outputs });
  return output ? graph.op("Identity", [now], { outputs }) : now;
}

/** `[B, A, S, D]` → `[B, A·n, S, D]`, each head `n` times. */
function repeatHeads(name: string, times: number, graph: GraphBuilder): string {
  if (times === 1) return name;
  const wide = graph.unsqueeze(name, [2]);
  const stretched = graph.op("Expand", [wide, graph.integers([1, 1, times, 1, 1])]);
  const [, heads, , size] = graph.shape(name) ?? [];
  const shape = [0, typeof heads === "number" ? heads * times : -1, -1, Number(size)];
  const rest = graph.op("Shape", [name], { attributes: { start: 2 } });
  const all = graph.op("Concat", [graph.integers(shape.slice(0, 2)), rest], {
    attributes: { axis: 0 },
  });
  return graph.op("Reshape", [stretched, all]);
}

/** `[B, S]` with 1 for what may be seen, or `[B]` lengths → `[B, 1, 1, S]`, 0 or the number that hides. */
function keyMask(node: Node, mask: string, keys: string, graph: GraphBuilder): string {
  if (mask === "") return "";
  const rank = graph.rank(mask);
  const filter = floatOf(node, "mask_filter_value", -10_000);
  const zero = graph.scalar(0, keys);
  if (rank === 2) {
    const seen = graph.unsqueeze(graph.cast(mask, ELEMENT.bool), [1, 2]);
    return graph.op("Where", [seen, zero, graph.scalar(filter, keys)]);
  }
  const [rows] = graph.shape(mask) ?? [];
  if (rank !== 1 || rows !== graph.shape(keys)?.[0])
    throw notSupported(node, "has a mask of a form that cannot be taken apart");
  const lengths = graph.unsqueeze(graph.cast(mask, ELEMENT.int64), [1]);
  const seen = graph.op("Less", [range(sizeOf(keys, 1, graph), graph), lengths]);
  return graph.op("Where", [graph.unsqueeze(seen, [1, 2]), zero, graph.scalar(filter, keys)]);
}

/** `[T, S]`: 0 where the key is not later than the query, the last query being at the last key. */
function causalMask(
  node: Node,
  queries: string,
  keys: string,
  window: number,
  graph: GraphBuilder,
): string {
  const [T, S] = [sizeOf(queries, 2, graph), sizeOf(keys, 2, graph)];
  const rows = graph.op("Add", [range(T, graph), graph.op("Sub", [S, T])]);
  const [row, column] = [graph.unsqueeze(rows, [1]), graph.unsqueeze(range(S, graph), [0])];
  const isBefore = graph.op("LessOrEqual", [column, row]);
  const seen =
    window < 0
      ? isBefore
      : graph.op("And", [
          isBefore,
          graph.op("Greater", [column, graph.op("Sub", [row, graph.scalarInteger(window)])]),
        ]);
  const filter = floatOf(node, "mask_filter_value", -10_000);
  return graph.op("Where", [seen, graph.scalar(0, queries), graph.scalar(filter, queries)]);
}

function sizeOf(name: string, axis: number, graph: GraphBuilder): string {
  const size = graph.op("Shape", [name], { attributes: { start: axis, end: axis + 1 } });
  return graph.op("Squeeze", [size, graph.integers([0])]);
}

function range(limit: string, graph: GraphBuilder): string {
  return graph.op("Range", [graph.scalarInteger(0), limit, graph.scalarInteger(1)]);
}

interface Rotation {
  readonly node: Node;
  /** Tables `[positions, D/2]`. */
  readonly cos: string;
  readonly sin: string;
  /** `[B, T]` or `[1, T]`. */
  readonly places: string;
  /** Whether pairs are neighbours rather than halves. */
  readonly isInterleaved: boolean;
}

/** `0, 1, 2, …` as `[1, T]`, after as many as are kept from before; `heads` is `[B, A, T, D]`. */
function positionsOf(heads: string, past: string, graph: GraphBuilder): string {
  const counted = range(sizeOf(heads, 2, graph), graph);
  const places = past === "" ? counted : graph.op("Add", [counted, sizeOf(past, 2, graph)]);
  return graph.unsqueeze(places, [0]);
}

/** Su et al., RoFormer, equation 34: each pair `(a, b)` becomes `(a cos − b sin, b cos + a sin)`; `x` is `[B, A, T, D]`. */
function rotate(x: string, rotation: Rotation, graph: GraphBuilder): string {
  const { places, isInterleaved } = rotation;
  const size = graph.shape(x)?.[3];
  const half = graph.shape(rotation.cos)?.[1];
  const [cos, sin] = [rotation.cos, rotation.sin].map((table) =>
    graph.unsqueeze(graph.op("Gather", [table, places], { attributes: { axis: 0 } }), [1]),
  );
  const isKnown = typeof size === "number" && typeof half === "number";
  if (!isKnown || cos === undefined || sin === undefined)
    throw notSupported(rotation.node, "rotates heads of unknown size");
  const along = { attributes: { axis: -1 } };
  const [turned = "", rest] =
    2 * half === size
      ? [x]
      : graph.ops("Split", [x, graph.integers([2 * half, size - 2 * half])], 2, along);
  const [a = "", b = ""] = isInterleaved
    ? graph
        .ops("Split", [graph.reshape(turned, [0, 0, 0, half, 2]), graph.integers([1, 1])], 2, along)
        .map((part) => graph.op("Squeeze", [part, graph.integers([-1])]))
    : graph.ops("Split", [turned, graph.integers([half, half])], 2, along);
  const first = graph.op("Sub", [graph.op("Mul", [a, cos]), graph.op("Mul", [b, sin])]);
  const second = graph.op("Add", [graph.op("Mul", [b, cos]), graph.op("Mul", [a, sin])]);
  const joined = isInterleaved
    ? graph.reshape(
        graph.op("Concat", [graph.unsqueeze(first, [-1]), graph.unsqueeze(second, [-1])], along),
        [0, 0, 0, 2 * half],
      )
    : graph.op("Concat", [first, second], along);
  return rest === undefined ? joined : graph.op("Concat", [joined, rest], along);
}

/** Rotates queries or keys on their own. */
function rotaryEmbedding(node: Node, graph: GraphBuilder): void {
  const [x = "", positions = "", cos = "", sin = ""] = node.input;
  const half = graph.shape(cos)?.[1];
  const isFlat = graph.rank(x) === 3;
  const heads = intOf(node, "num_heads", 0);
  const hidden = graph.shape(x)?.at(-1);
  const size =
    intOf(node, "rotary_embedding_dim", 0) > 0 ? Number(hidden) / heads : 2 * Number(half);
  if (floatOf(node, "scale", 1) !== 1 || (isFlat && !(Number(hidden) / size >= 1)))
    throw notSupported(node, "scales, or has heads of unknown size");
  const whole = isFlat ? toHeads(x, Number(hidden) / size, graph) : x;
  const places =
    graph.rank(positions) === 1
      ? graph.op("Add", [positionsOf(whole, "", graph), positions]) // an offset
      : positions;
  const isInterleaved = intOf(node, "interleaved", 0) === 1;
  const turned = rotate(whole, { node, cos, sin, places, isInterleaved }, graph);
  if (isFlat) {
    const flat = graph.transpose(turned, [0, 2, 1, 3]);
    graph.op("Reshape", [flat, graph.integers([0, 0, -1])], { outputs: node.output });
  } else graph.op("Identity", [turned], { outputs: node.output });
}
