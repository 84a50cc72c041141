/**
 * What holds the elements of each datatype of `inference.ts`; `BYTES` is a list of byte strings.
 */
import type { TensorDatatype } from "./inference.ts";

export const TENSOR_ARRAYS = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const satisfies Readonly<Record<Exclude<TensorDatatype, "BYTES">, unknown>>;
