/**
 * Explanations that PyTorch computed, and how a test asks for ours.
 */
import { z } from "zod";

import type { LoadedHandler, MemberOutcome } from "../../runtime/handler/contract.ts";
import type { InferenceKind } from "../../runtime/inference.ts";
import { silentLog } from "../../runtime/observe/log.ts";

const Numbers = z.array(z.number());

const Attributed = z.object({
  attributions_per_token: Numbers,
  importances: Numbers,
  delta: z.number(),
  value_input: z.number(),
  value_reference: z.number(),
});

/** One layer's attributions, by both rules of the goldens. */
const ByMethod = z.object({ gausslegendre: Attributed, riemann_trapezoid: Attributed });
const ByLayer = z.object({ embeddings: ByMethod, word_embeddings: ByMethod });

const Encoded = {
  words: z.array(z.string()),
  input_ids: Numbers,
  reference_ids: Numbers,
};

/** Of sequence and token classification. */
export const ExplanationsGolden = z.object({
  labels: z.array(z.string()),
  explanations: z.array(
    z.object({
      text: z.string(),
      target: z.union([z.number(), z.tuple([z.number(), z.number()])]),
      ...Encoded,
      layers: ByLayer,
    }),
  ),
});

/** Of question answering; `torchserve` is the raw text of the request in one segment, as TorchServe's handler reads it. */
export const AnswerExplanationsGolden = z.object({
  explanations: z.array(
    z.object({
      encoding: z.enum(["pair", "torchserve"]),
      question: z.string().optional(),
      context: z.string().optional(),
      ...Encoded,
      token_type_ids: Numbers.optional(),
      target_start: z.number(),
      target_end: z.number(),
      start: ByLayer,
      end: ByLayer,
    }),
  ),
});

/** The methods of the goldens. */
export const GOLDEN_METHODS = ["gausslegendre", "riemann_trapezoid"] as const;

const Spans = z.array(
  z.object({
    word: z.string(),
    start: z.number(),
    end: z.number(),
    of: z.string().optional(),
    importance: z.number(),
  }),
);

/** What an explanation looks like. */
export const Explanation = z.strictObject({
  words: z.array(z.string()),
  importances: Numbers,
  delta: z.number(),
  target: z.json(),
  spans: Spans,
});
export type Explanation = z.infer<typeof Explanation>;

export const AnswerExplanation = z.strictObject({
  words: z.array(z.string()),
  importances_answer_start: Numbers,
  importances_answer_end: Numbers,
  delta_start: z.number(),
  delta_end: z.number(),
  target: z.tuple([z.number(), z.number()]),
  spans: z.array(z.looseObject({ word: z.string(), of: z.string() })),
});

/** Asks several at once, as a worker does; the outcomes in the order of the requests. */
export async function askTogether(
  handler: LoadedHandler,
  requests: readonly {
    readonly data: Readonly<Record<string, unknown>>;
    readonly kind?: InferenceKind;
    readonly signal?: AbortSignal;
  }[],
  maxPaddedTokens = 512,
): Promise<MemberOutcome[]> {
  const outcomes: MemberOutcome[] = [];
  const members = requests.map(({ data, kind = "explain", signal }) => ({
    request: { id: "test", kind, data, headers: {} },
    context: {
      signal: signal ?? new AbortController().signal,
      requestId: "test",
      log: silentLog(),
      headers: {},
    },
  }));
  await handler.callBatch?.(members, {
    maxPaddedTokens,
    onPass: () => undefined,
    onOutcome: (index, outcome) => void (outcomes[index] = outcome),
  });
  return outcomes;
}

/** The one answer to a request that asks for an explanation. @throws Whatever it was refused with. */
export async function askWhy(
  handler: LoadedHandler,
  inputs: unknown,
  parameters: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  const [outcome] = await askTogether(handler, [{ data: { inputs, parameters } }]);
  if (outcome === undefined || "error" in outcome) throw outcome?.error;
  return outcome.value;
}
