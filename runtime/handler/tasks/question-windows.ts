/**
 * Cutting a question and its context to what the model reads at once.
 */
import { cutWindows, roomFor } from "../model/offsets/windows.ts";
import type { TracedEncoding } from "../model/token-offsets.ts";
import { invalidInput } from "./inputs.ts";
import type { TaskContext } from "./task.ts";

/** Where a question is cut that leaves no room: what Python's `max_question_len` is where nobody names it. */
const USUAL_QUESTION_TOKENS = 64;
/** The most tokens that neighbours usually share. */
const USUAL_STRIDE = 128;

export interface ContextOptions {
  /** The most tokens of a window, special tokens included. */
  readonly maxTokens: number;
  readonly max_question_len?: number | null | undefined;
  readonly doc_stride?: number | null | undefined;
  /** What the client calls the texts. */
  readonly names: { readonly question: string };
  /** What is being done, for a refusal. */
  readonly action: string;
  readonly warn: TaskContext["warn"];
}

/**
 * @param contextText Which of the two texts is the context.
 * @throws `INVALID_INPUT` when there is no room for both, or a stride that never comes to the context's end.
 */
export function cutContext(
  whole: TracedEncoding,
  contextText: 0 | 1,
  options: ContextOptions,
): readonly TracedEncoding[] {
  const { maxTokens, doc_stride, action } = options;
  if (typeof doc_stride === "number" && doc_stride > maxTokens) {
    const wanted = `wanted at most ${maxTokens}, the tokens of a window`;
    throw invalidInput(action, `"doc_stride" is ${doc_stride}, ${wanted}`);
  }
  const asked = cutQuestion(whole, contextText, options);
  if (asked.inputIds.length <= maxTokens) return [asked];
  const room = roomFor(asked, contextText, maxTokens);
  const usual = Math.min(maxTokens >> 1, USUAL_STRIDE);
  const stride = doc_stride ?? (usual < room ? usual : room >> 1);
  if (stride >= room) {
    const wanted = `wanted less than the ${room} tokens that a window has for the context`;
    throw invalidInput(action, `"doc_stride" is ${stride}, ${wanted}`);
  }
  return cutWindows(asked, { text: contextText, maxTokens, stride, side: "right" });
}

/** Cuts the question where the client wants it shorter, or where it leaves no room for the context. */
function cutQuestion(
  whole: TracedEncoding,
  contextText: 0 | 1,
  { maxTokens, max_question_len, names, action, warn }: ContextOptions,
): TracedEncoding {
  const questionText = contextText === 1 ? 0 : 1;
  const length = whole.texts.reduce((sum, text) => sum + Number(text === questionText), 0);
  const hasRoom = (question: number): boolean =>
    roomFor(whole, contextText, maxTokens) + length - question >= 1;
  const isWhole = whole.inputIds.length <= maxTokens;
  const usual = isWhole || hasRoom(length) ? length : USUAL_QUESTION_TOKENS;
  const kept = Math.min(length, max_question_len ?? usual);
  if (!isWhole && !hasRoom(kept)) {
    const problem = `"${names.question}" is ${length} tokens long, which leaves the context no room among ${maxTokens}`;
    throw invalidInput(action, problem);
  }
  if (kept === length) return whole;
  warn(`"${names.question}" was cut from ${length} to ${kept} tokens`);
  const [cut = whole] = cutWindows(whole, {
    text: questionText,
    maxTokens: whole.inputIds.length - length + kept,
    stride: 0,
    side: "right",
  });
  return cut;
}
