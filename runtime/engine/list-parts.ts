/**
 * A list of inputs is the same work as as many single requests: split it, schedule its parts with everybody else's, join
 * their answers again in order.
 */
import { RuntimeError } from "../errors.ts";
import type { InferenceRequest, InferenceResult, JsonValue } from "../inference.ts";

/** @returns One request for each element, or `undefined` where there is no list of at least two. */
export function splitList(request: InferenceRequest): readonly InferenceRequest[] | undefined {
  const inputs = request.data["inputs"];
  if (!Array.isArray(inputs) || inputs.length < 2) return undefined;
  return inputs.map((input: unknown, index) => ({
    ...request,
    data: { ...request.data, inputs: [input] },
    part: { index },
  }));
}

/**
 * Joins the answers of a list's parts, each a list of one.
 *
 * @param tookMs From the list's arrival to its last part's answer.
 */
export function joinParts(results: readonly InferenceResult[], tookMs: number): InferenceResult {
  const value = results.flatMap(({ output }): readonly JsonValue[] => {
    if (output.kind === "json" && Array.isArray(output.value)) return output.value;
    throw new RuntimeError(
      "INTERNAL",
      "Cannot join the answers to a list: a part did not answer with a list",
    );
  });
  const queueMs = Math.min(...results.map(({ timings }) => timings.queueMs));
  const counts = results.flatMap(({ tokens }) => tokens ?? []);
  const warnings = [...new Set(results.flatMap((result) => result.warnings ?? []))];
  return {
    output: { kind: "json", value },
    timings: { queueMs, inferenceMs: tookMs - queueMs },
    ...(counts.length === results.length && {
      tokens: counts.reduce((sum, each) => sum + each, 0),
    }),
    ...(warnings.length > 0 && { warnings }),
  };
}
