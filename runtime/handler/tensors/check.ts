/**
 * A request of kind `"tensors"` against the graph's signature: names, datatypes, ranks and fixed dimensions.
 *
 * Named dimensions are left to the graph, as exports are careless with names. What transformers' tokenizers always make the
 * same may be left out; `complete.ts` makes it.
 */
import type { InferenceRequest, NamedTensor } from "../../inference.ts";
import { invalidInput } from "../tasks/inputs.ts";
import { completeInputs } from "./complete.ts";
import { ACTION, isStoredAs } from "./datatypes.ts";
import { elementsOf, namePorts, nameType, type Port, type Signature } from "./signature.ts";

/** A request that the graph can be asked. */
export interface Question {
  /** Every input of the graph, in the graph's order. */
  readonly inputs: readonly NamedTensor[];
  /** At least one, each once, in the order they were asked for, else the graph's. */
  readonly outputs: readonly string[];
}

/** The longest piece of a client's own words that a message repeats. */
const MOST_ECHOED = 80;

/** @throws `INVALID_INPUT` with what was found and what was wanted. */
export function readQuestion(
  { tensors }: Pick<InferenceRequest, "tensors">,
  signature: Signature,
): Question {
  const given = new Map<string, NamedTensor>();
  for (const tensor of tensors?.inputs ?? []) {
    const port = signature.inputs.find(({ name }) => name === tensor.name);
    if (port === undefined)
      throw refusal(`has no input ${quoted(tensor.name)}, wanted ${namePorts(signature.inputs)}`);
    if (given.has(port.name)) throw refusal(`was given the input "${port.name}" twice`);
    assertFits(tensor, port);
    given.set(port.name, tensor);
  }
  const complete = completeInputs(given, signature.inputs);
  const inputs = signature.inputs.map((port) => {
    const tensor = complete.get(port.name);
    if (tensor !== undefined) return tensor;
    throw refusal(`was not given the input "${port.name}", wanted ${nameType(port)}`);
  });
  return { inputs, outputs: readOutputs(tensors?.outputs ?? [], signature) };
}

function readOutputs(wanted: readonly string[], { outputs }: Signature): readonly string[] {
  for (const name of wanted) {
    if (outputs.some((output) => output.name === name)) continue;
    throw refusal(`has no output ${quoted(name)}, wanted ${namePorts(outputs)}`);
  }
  return wanted.length > 0 ? [...new Set(wanted)] : outputs.map(({ name }) => name);
}

function assertFits(tensor: NamedTensor, port: Port): void {
  const { name, datatype, shape, data } = tensor;
  if (datatype !== port.datatype || !isStoredAs(data, datatype))
    throw refusal(`was given "${name}" as ${datatype}, wanted ${nameType(port)}`);
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0))
    throw refusal(
      `was given "${name}" as [${show(shape)}], wanted sizes that are whole numbers of at least 0`,
    );
  // Without dimensions the signature says nothing.
  const isOfRank = port.shape.length === 0 || shape.length === port.shape.length;
  const isOfSize = port.shape.every((size, axis) => size === -1 || size === shape[axis]);
  if (!isOfRank || !isOfSize)
    throw refusal(`was given "${name}" as [${show(shape)}], wanted ${nameType(port)}`);
  const count = elementsOf(shape);
  if (data.length !== count)
    throw refusal(
      `was given ${data.length} elements in "${name}", wanted the ${count} of its shape [${show(shape)}]`,
    );
}

/** A client may name any number of dimensions. */
function show(shape: readonly number[]): string {
  return shape.slice(0, 8).join(",") + (shape.length > 8 ? ",…" : "");
}

function quoted(name: string): string {
  return JSON.stringify(name.length > MOST_ECHOED ? `${name.slice(0, MOST_ECHOED)}…` : name);
}

function refusal(problem: string): Error {
  return invalidInput(ACTION, `it ${problem}`);
}
