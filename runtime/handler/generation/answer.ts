/**
 * A model that generates, as the worker sees it: requests in neutral words go to the task's `generating` half, all others to
 * whoever answers besides.
 *
 * Many requests are under way at once. Predictions join the same runs as generations do; explanations need much memory each, so
 * they are computed one after the other.
 */
import { RuntimeError } from "../../errors.ts";
import { wantsExplanation } from "../../inference.ts";
import type { AnswerBatch } from "../alone.ts";
import { toCancellation } from "../batch-answer.ts";
import type { BatchMember, MemberOutcome } from "../contract.ts";
import type { GeneratingTask } from "../tasks/task.ts";

/** @param answerOthers Is never given a request of kind `"generate"`. */
export function answerGenerationsToo(
  generating: GeneratingTask,
  answerOthers: AnswerBatch,
): AnswerBatch {
  let explaining: Promise<void> = Promise.resolve();

  return async (members, hooks) => {
    const answers = members.map(async (member, index) => {
      const { request } = member;
      const ownHooks = {
        ...hooks,
        onOutcome: (_: number, outcome: MemberOutcome) => hooks.onOutcome(index, outcome),
        // A generation is many runs; what they cost is told otherwise.
        onPass: () => undefined,
      };
      if (request.kind === "generate") hooks.onOutcome(index, await generate(generating, member));
      else if (wantsExplanation(request) === "no") await answerOthers([member], ownHooks);
      else await (explaining = explaining.then(() => answerOthers([member], ownHooks)));
    });
    await Promise.all(answers);
  };
}

async function generate(
  generating: GeneratingTask,
  { request, context: { signal, log } }: BatchMember,
): Promise<MemberOutcome> {
  const warnings: string[] = [];
  try {
    if (request.generation === undefined)
      throw new RuntimeError("INTERNAL", "Cannot generate: the request does not say what");
    const value = await generating.answer(request.generation, {
      log,
      signal,
      warn: (text) => void warnings.push(text),
    });
    return { value, ...(warnings.length > 0 && { warnings }) };
  } catch (error) {
    return { error: signal.aborted ? toCancellation(signal) : error };
  }
}
