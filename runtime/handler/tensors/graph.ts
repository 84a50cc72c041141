/**
 * A loaded graph that answers requests of kind `"tensors"`: its own numbers, with no task between.
 *
 * The session is the one that the task runs, so no weights are loaded twice; `session.ts` opens one where there is no task.
 * A request that does not fit fails before anything is run. A run that several share fails for nobody: each is tried alone then.
 */
import type { InferenceSession } from "onnxruntime-node";

import { toRuntimeError } from "../../errors.ts";
import type { NamedTensor } from "../../inference.ts";
import { tensorTokens } from "../../text-length.ts";
import type { AnswerBatch } from "../alone.ts";
import { toCancellation } from "../batch-answer.ts";
import type { BatchHooks, BatchMember, MemberOutcome } from "../contract.ts";
import { TensorAnswer } from "../output/tensor-answer.ts";
import { readQuestion, type Question } from "./check.ts";
import { fromNative, toNative } from "./datatypes.ts";
import { toRefusal } from "./failure.ts";
import { hasRows, joinInputs, joinRows, planRuns, rowsOf, splitOutputs, type Run } from "./join.ts";
import { signatureOf, type Signature } from "./signature.ts";
import { findTrial, isSameAnswer } from "./trial.ts";

/** What is used of a session. */
export type GraphSession = Pick<InferenceSession, "inputMetadata" | "outputMetadata" | "run">;

export interface Graph {
  readonly signature: Signature;
  /** Answers each member once, through `hooks.onOutcome`. Never rejects. */
  readonly answer: AnswerBatch;
}

export interface GraphOptions {
  /**
   * Whether a task runs it, too. Then the engine learns costs from the task's predictions, which the graph's own runs would
   * mislead; and rows of a batch are known not to touch each other, which of any other graph is tried first.
   */
  readonly isOfTask: boolean;
}

/** onnxruntime would write what clients do wrong to the standard error, in a form of its own; 4 leaves out all but its own end. */
const QUIET = { logSeverityLevel: 4 } as const;

/** @returns `undefined` where the graph cannot be fed by hand. */
export function openGraph(session: GraphSession, { isOfTask }: GraphOptions): Graph | undefined {
  const signature = signatureOf(session);
  if (signature === undefined) return undefined;
  const mayJoin = hasRows(signature);
  /** Whether requests share runs; `undefined` as long as nobody knows. */
  let joins = !mayJoin || isOfTask ? mayJoin : undefined;

  async function answer(members: readonly BatchMember[], hooks: BatchHooks): Promise<void> {
    const asked = new Map<Question, Asked>();
    for (const [index, member] of members.entries()) {
      try {
        const question = readQuestion(member.request, signature as Signature); // it is there, above
        asked.set(question, { index, member, parts: [], isSettled: false });
      } catch (error) {
        hooks.onOutcome(index, { error });
      }
    }
    if (joins === undefined) await tryRows(asked, hooks);
    const left = [...asked].filter(([, { isSettled }]) => !isSettled).map(([question]) => question);
    for (const run of planRuns(left, joins === true, hooks.maxPaddedTokens))
      await answerRun(run, asked, hooks);
  }

  /** Answers two that could share a run, if there are such, and learns whether they could have. */
  async function tryRows(asked: Asking, hooks: BatchHooks): Promise<void> {
    const trial = findTrial([...asked.keys()], hooks.maxPaddedTokens);
    if (trial === undefined) return;
    const alone: (readonly NamedTensor[])[] = [];
    for (const question of trial) {
      await answerRun([{ question }], asked, hooks);
      alone.push(...(asked.get(question)?.parts ?? []));
    }
    if (alone.length < trial.length) return; // one failed: another time
    const whole = trial.map((question) => ({
      question,
      rows: { from: 0, to: rowsOf(question) ?? 0 },
    }));
    const together = await compute(whole).then(
      (outputs) => splitOutputs(whole, outputs),
      () => undefined,
    );
    joins = together?.every((each, place) => isSameAnswer(each, alone[place] ?? [])) === true;
  }

  /** Those of a run that somebody waits for, together; where that fails, one by one. */
  async function answerRun(run: Run, asked: Asking, hooks: BatchHooks): Promise<void> {
    const live = run.filter(({ question }) => isWanted(asked.get(question), hooks));
    if (live.length === 0) return;
    const startedAtMs = performance.now();
    let answers: readonly (readonly NamedTensor[])[] | undefined;
    try {
      const outputs = await compute(live);
      answers = splitOutputs(live, outputs);
      if (answers === undefined) {
        // The graph said that it has rows, and has not.
        joins = false;
        for (const { question } of live) await answerRun([{ question }], asked, hooks);
        return;
      }
    } catch (error) {
      const [only, ...others] = live;
      const owner = only && asked.get(only.question);
      if (owner && others.length === 0) {
        settle(owner, hooks, {
          error: toRuntimeError(error, "HANDLER_FAILED", "Cannot run the graph"),
        });
        return;
      }
    }
    if (answers === undefined) {
      for (const piece of live) await answerRun([piece], asked, hooks);
      return;
    }
    if (!isOfTask) hooks.onPass(toPass(live, performance.now() - startedAtMs));
    for (const [place, { question, rows }] of live.entries()) {
      const owner = asked.get(question);
      if (owner === undefined) continue;
      if (rows === undefined) owner.parts.length = 0; // whole, whatever was cut before
      owner.parts.push(answers[place] ?? []);
      if (rows === undefined || rows.to === question.inputs[0]?.shape[0])
        settle(owner, hooks, { value: new TensorAnswer(mergeParts(owner.parts)) });
    }
  }

  async function compute(run: Run): Promise<readonly NamedTensor[]> {
    const inputs = joinInputs(run);
    const feeds = Object.fromEntries(inputs.map((tensor) => [tensor.name, toNative(tensor)]));
    const names = run[0]?.question.outputs ?? [];
    let outputs: InferenceSession.ReturnType;
    try {
      outputs = await session.run(feeds, names, QUIET);
    } catch (error) {
      throw toRefusal(error, inputs);
    }
    return names.map((name) => {
      const tensor = outputs[name];
      if (tensor === undefined) throw new Error(`it gave no output "${name}"`);
      return fromNative(name, tensor);
    });
  }

  return { signature, answer };
}

/** A request that is being answered. */
interface Asked {
  readonly index: number;
  readonly member: BatchMember;
  /** What each of its pieces was answered, in order. */
  readonly parts: (readonly NamedTensor[])[];
  isSettled: boolean;
}
type Asking = ReadonlyMap<Question, Asked>;

/** Whether anybody waits for it; one that was left behind is settled here. */
function isWanted(owner: Asked | undefined, hooks: BatchHooks): boolean {
  if (owner === undefined || owner.isSettled) return false;
  const { signal } = owner.member.context;
  if (signal.aborted) settle(owner, hooks, { error: toCancellation(signal) });
  return !signal.aborted;
}

function settle(owner: Asked, hooks: BatchHooks, outcome: MemberOutcome): void {
  if (owner.isSettled) return;
  owner.isSettled = true;
  hooks.onOutcome(owner.index, outcome);
}

function mergeParts(parts: readonly (readonly NamedTensor[])[]): readonly NamedTensor[] {
  const [first = []] = parts;
  if (parts.length === 1) return first;
  return first.map((_, place) => joinRows(parts.flatMap((part) => part[place] ?? [])));
}

/** As the engine counts them: as if the first input held token ids. */
function toPass(run: Run, ms: number): Parameters<BatchHooks["onPass"]>[0] {
  const [first] = joinInputs(run);
  const tokens = first === undefined ? 0 : tensorTokens(first);
  const items = run[0]?.rows === undefined ? 1 : (first?.shape[0] ?? 1);
  return { items, length: tokens / items, tokens, ms };
}
