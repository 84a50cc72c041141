/**
 * One request, for a handler whose every answer is a batch's.
 */
import type { BatchHooks, BatchMember, LoadedHandler, MemberOutcome } from "./contract.ts";
import { MAX_PADDED_TOKENS } from "./tasks/length-groups.ts";

/** Answers each member once, through `hooks.onOutcome`. Never rejects. */
export type AnswerBatch = (members: readonly BatchMember[], hooks: BatchHooks) => Promise<void>;

/** Answers a batch of one; its warnings go to the request's log. */
export function answerAlone(answerBatch: AnswerBatch): LoadedHandler["call"] {
  return async (request, context) => {
    let answer: MemberOutcome | undefined;
    await answerBatch([{ request, context }], {
      onOutcome: (_index, outcome) => void (answer = outcome),
      onPass: () => undefined,
      maxPaddedTokens: MAX_PADDED_TOKENS,
    });
    if (answer === undefined || "error" in answer) throw answer?.error;
    for (const text of answer.warnings ?? []) context.log.warn(text);
    return answer.value;
  };
}
