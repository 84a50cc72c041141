/**
 * A decoder's graph that also tells what a run adds to its cache.
 *
 * An output `present…` is the whole cache, one column longer than `past…`, and onnxruntime-node copies every output that is
 * asked for: at each step all of it. In ordinary exports it is the `Concat` of `past…` and the new columns. So the new columns are
 * made outputs too; who keeps the cache asks for those alone. Everything else stays as it is, so that
 * all who run the graph as it was exported (beams) still can.
 *
 * The file is not written anywhere: onnxruntime is given a small graph that refers to the weights in it.
 */
import { readOnnxModel, toSession, type SessionSource } from "../../explain/onnx-model.ts";
import type { Graph, Node, ValueInfo } from "../../explain/onnx-schema.ts";

export interface ColumnsSource extends SessionSource {
  /** An output `present…` → the output that has its new columns, `[B, H, N, D]`. */
  readonly columns: ReadonlyMap<string, string>;
}

/** Of a file that is read for the edit: it is in memory while that is made. Larger models mostly have their weights in other files. */
const MOST_BYTES = 2 ** 30;

/** @returns `undefined` where any part of the cache is made in another way. @throws `MODEL_INVALID` where the file is broken or too large. */
export async function readWithNewColumns(path: string): Promise<ColumnsSource | undefined> {
  const model = await readOnnxModel(path, { fileBytes: MOST_BYTES });
  const added = findNewColumns(model.graph);
  if (added === undefined) return undefined;
  const output = [...model.graph.output, ...added.values()];
  const columns = new Map([...added].map(([present, { name }]) => [present, name]));
  return { ...toSession({ ...model, graph: { ...model.graph, output } }), columns };
}

/** An output `present…` → the value that `past…` is lengthened by. */
export function findNewColumns(graph: Graph): ReadonlyMap<string, ValueInfo> | undefined {
  const makers = new Map(graph.node.flatMap((node) => node.output.map((name) => [name, node])));
  const found = new Map<string, ValueInfo>();
  for (const past of graph.input) {
    if (!past.name.startsWith("past")) continue;
    const present = past.name.replace(/^past(_key_values)?/, "present");
    const fresh = freshOf(makers.get(present), past.name);
    // Neither a weight nor an input; and whoever picks outputs by name must not take it for one of the cache.
    if (fresh === undefined || !makers.has(fresh) || /^(past|present)/.test(fresh))
      return undefined;
    const { elemType, shape } = past.type?.tensorType ?? {};
    const [, heads, , size] = shape?.dim ?? [];
    if (elemType === undefined || heads === undefined || size === undefined) return undefined;
    const dim = [{}, heads, {}, size];
    found.set(present, { name: fresh, type: { tensorType: { elemType, shape: { dim } } } });
  }
  const names = new Set([...graph.output, ...found.values()].map(({ name }) => name));
  return found.size > 0 && names.size === graph.output.length + found.size ? found : undefined;
}

/** The second input of a `Concat` of columns whose first is the cache. */
function freshOf(node: Node | undefined, past: string): string | undefined {
  if (node?.opType !== "Concat" || (node.domain ?? "") !== "" || node.input.length !== 2)
    return undefined;
  const axis = Number(node.attribute?.find(({ name }) => name === "axis")?.i);
  const [before, fresh] = node.input;
  return before === past && (axis === 2 || axis === -2) ? fresh : undefined;
}

/** Keys of `config.json` by which attention depends on how far apart columns are. */
const DISTANCES =
  /window|sliding|local_|attention_chunk|alibi|attention_(layers|types)|layer_types/i;

/**
 * Whether a model may attend by how far apart columns are: with columns to spare between the cache and the new tokens it would
 * look less far. A short trial would not show that.
 */
export function attendsByDistance(config: Readonly<Record<string, unknown>>): boolean {
  const isOff = config["use_sliding_window"] === false;
  return Object.entries(config).some(([key, value]) => {
    if (!value) return false; // null, false and 0 turn it off
    if (key === "layer_types" && Array.isArray(value))
      return value.some((type) => type !== "full_attention");
    if (DISTANCES.test(key)) return !(isOff && /window/.test(key));
    return typeof value === "object" && !Array.isArray(value) && attendsByDistance({ ...value });
  });
}
