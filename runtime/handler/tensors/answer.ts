/**
 * A batch in which some ask for tensors: those are answered by the graph, all others by whoever answers besides.
 */
import { RuntimeError } from "../../errors.ts";
import type { AnswerBatch } from "../alone.ts";
import type { BatchHooks, BatchMember } from "../contract.ts";
import type { Graph } from "./graph.ts";

interface Numbered {
  readonly index: number;
  readonly member: BatchMember;
}

/**
 * @param graph `undefined` where the model is several graphs, or one that cannot be fed by hand.
 * @param answerOthers Is never given a request of kind `"tensors"`.
 */
export function answerTensorsToo(graph: Graph | undefined, answerOthers: AnswerBatch): AnswerBatch {
  return async (members, hooks) => {
    const numbered = members.map((member, index): Numbered => ({ index, member }));
    const isTensors = ({ member }: Numbered): boolean => member.request.kind === "tensors";
    const tensors = numbered.filter(isTensors);
    if (tensors.length === 0) return await answerOthers(members, hooks);
    // First, as a run is quicker than an explanation.
    await answerSome(graph?.answer ?? refuse, tensors, hooks);
    const others = numbered.filter((each) => !isTensors(each));
    if (others.length > 0) await answerSome(answerOthers, others, hooks);
  };
}

/** Some of a batch's members, whose outcomes go under their own numbers. */
async function answerSome(
  answer: AnswerBatch,
  some: readonly Numbered[],
  hooks: BatchHooks,
): Promise<void> {
  await answer(
    some.map(({ member }) => member),
    {
      ...hooks,
      onOutcome: (place, outcome) => hooks.onOutcome(some[place]?.index ?? -1, outcome),
    },
  );
}

async function refuse(members: readonly BatchMember[], hooks: BatchHooks): Promise<void> {
  for (const index of members.keys()) {
    const text =
      "this model is not one graph that tensors can be sent to; ask its task instead, at POST /";
    hooks.onOutcome(index, {
      error: new RuntimeError("NOT_SUPPORTED", `Cannot run the graph: ${text}`),
    });
  }
}
