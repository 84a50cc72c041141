/**
 * A graph's own outputs, as a request of kind `"tensors"` is answered.
 */
import type { NamedTensor } from "../../inference.ts";

/** Marks tensors that leave as they are; whatever else a handler returns is made JSON of. */
export class TensorAnswer {
  readonly tensors: readonly NamedTensor[];
  constructor(tensors: readonly NamedTensor[]) {
    this.tensors = tensors;
  }
}
