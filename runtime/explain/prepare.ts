/**
 * Brings a model into the form that the gradient rules know: one operator set, nothing in half precision, and patterns
 * of many small nodes as the one operator that they mean.
 */
import { expandFused } from "./expand-fused.ts";
import { fusePatterns } from "./fuse-patterns.ts";
import type { OnnxModel } from "./onnx-model.ts";
import { upgrade } from "./upgrade.ts";

const MICROSOFT = "com.microsoft";

/** @throws `NOT_SUPPORTED` where the graph is too old or has a form of an operator that cannot be taken apart. */
export function prepare(model: OnnxModel): OnnxModel {
  const upgraded = upgrade(model);
  const graph = fusePatterns(expandFused(upgraded.graph));
  const isKnown = upgraded.opsetImport.some(({ domain }) => domain === MICROSOFT);
  const opsetImport = isKnown
    ? upgraded.opsetImport
    : [...upgraded.opsetImport, { domain: MICROSOFT, version: 1 }];
  return { ...upgraded, opsetImport, graph };
}
