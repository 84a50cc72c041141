/** Requests of kind `"tensors"`, and what a handler answers them. */
import assert from "node:assert/strict";

import type { BatchMember, LoadedHandler, MemberOutcome } from "../../runtime/handler/contract.ts";
import { TensorAnswer } from "../../runtime/handler/output/tensor-answer.ts";
import type { ForwardPass, InferenceRequest, NamedTensor } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";

export function int64(
  name: string,
  shape: readonly number[],
  values: readonly number[],
): NamedTensor {
  return { name, datatype: "INT64", shape, data: BigInt64Array.from(values, BigInt) };
}

export function fp32(
  name: string,
  shape: readonly number[],
  values: readonly number[],
): NamedTensor {
  return { name, datatype: "FP32", shape, data: Float32Array.from(values) };
}

/** Numbers that look random and are the same each time. */
export function noise(name: string, shape: readonly number[], seed = 1): NamedTensor {
  const count = shape.reduce((product, size) => product * size, 1);
  let state = seed;
  const next = (): number => (state = (state * 48271) % 0x7fffffff) / 0x7fffffff - 0.5; // Lehmer's generator
  return fp32(name, shape, Array.from({ length: count }, next));
}

/** Token ids `[1, n]`, or several such rows of one length. */
export function tokens(...rows: readonly (readonly number[])[]): NamedTensor {
  return int64("input_ids", [rows.length, rows[0]?.length ?? 0], rows.flat());
}

export function tensorRequest(
  inputs: readonly NamedTensor[],
  outputs?: readonly string[],
): InferenceRequest {
  const tensors = { inputs, ...(outputs && { outputs }) };
  return { id: "t", kind: "tensors", data: {}, headers: {}, tensors };
}

export function memberOf(
  request: InferenceRequest,
  signal = new AbortController().signal,
): BatchMember {
  return { request, context: { signal, requestId: "t", log: silentLog(), headers: {} } };
}

/** One request alone. */
export async function runTensors(
  handler: Pick<LoadedHandler, "call">,
  inputs: readonly NamedTensor[],
  outputs?: readonly string[],
): Promise<readonly NamedTensor[]> {
  const { request, context } = memberOf(tensorRequest(inputs, outputs));
  return tensorsOf(await handler.call(request, context));
}

export function tensorsOf(answer: unknown): readonly NamedTensor[] {
  assert.ok(answer instanceof TensorAnswer, `the answer is ${typeof answer}`);
  return answer.tensors;
}

export function floatsOf(tensor: NamedTensor | undefined): Float32Array {
  assert.ok(tensor?.data instanceof Float32Array, `${tensor?.name} is ${tensor?.datatype}`);
  return tensor.data;
}

/** A batch, as a worker hands it over. */
export async function runBatch(
  handler: Pick<LoadedHandler, "callBatch">,
  members: readonly BatchMember[],
  maxPaddedTokens = 512,
): Promise<{
  readonly outcomes: readonly MemberOutcome[];
  readonly passes: readonly ForwardPass[];
}> {
  const outcomes: MemberOutcome[] = [];
  const passes: ForwardPass[] = [];
  await handler.callBatch?.(members, {
    maxPaddedTokens,
    onPass: (pass) => void passes.push(pass),
    onOutcome(index, outcome) {
      assert.equal(outcomes[index], undefined, "each member has one outcome");
      outcomes[index] = outcome;
    },
  });
  assert.deepEqual(Object.keys(outcomes).length, members.length, "every member has an outcome");
  return { outcomes, passes };
}

export function answerOf(outcome: MemberOutcome | undefined): readonly NamedTensor[] {
  if (outcome === undefined || "error" in outcome) throw outcome?.error ?? new Error("no outcome");
  return tensorsOf(outcome.value);
}

export function messageIn(outcome: MemberOutcome | undefined): string {
  assert.ok(outcome !== undefined && "error" in outcome, "it failed");
  assert.ok(outcome.error instanceof Error);
  return outcome.error.message;
}
