/**
 * Why onnxruntime would not run a graph, as one sentence for whoever sent its inputs.
 *
 * What passed the signature's check can fail only by its sizes and values: token ids beyond the vocabulary, two inputs of
 * different lengths, more rows than there is memory for.
 */
import type { RuntimeError } from "../../errors.ts";
import { messageOf } from "../../errors.ts";
import type { NamedTensor } from "../../inference.ts";
import { describeForClient } from "../custom/message.ts";
import { invalidInput } from "../tasks/inputs.ts";
import { ACTION } from "./datatypes.ts";
import { namePorts } from "./signature.ts";

/** @returns `INVALID_INPUT` with the reason, without paths and without the library's places in its own source. */
export function toRefusal(error: unknown, inputs: readonly NamedTensor[]): RuntimeError {
  const reason = describeForClient(shorten(messageOf(error)));
  return invalidInput(ACTION, `${reason}; it was given ${namePorts(inputs)}`, error);
}

/** onnxruntime's `Non-zero status code returned while running Add node. Name:'…' Status Message: …`. */
const STATUS = /running (\w+) node\. Name:'[^']*' Status Message: (.*)$/s;
/** What `ORT_ENFORCE` puts before its own words: file, line, function, condition. */
const ENFORCED = /^\S+:\d+ .*? was false\. ?/s;
/** What `ORT_THROW` does: file, line, function. */
const THROWN = /^\S+\.(?:cc|h):\d+ .*?\) /s;

function shorten(message: string): string {
  const [, operator, status] = STATUS.exec(message) ?? [];
  const text = (status ?? message).replace(ENFORCED, "").replace(THROWN, "").trim();
  return operator === undefined ? text : `its operator ${operator} refused: ${text}`;
}
