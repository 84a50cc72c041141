/**
 * What beams find, told in neutral words, and how much of the worker's memory they may take.
 */
import assert from "node:assert/strict";
import { test } from "node:test";

import type { GenerationParameters, GenerationResult } from "../../../runtime/generation.ts";
import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { toSearchedAnswer } from "../../../runtime/handler/generation/searched-answer.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { plainSettings } from "../../support/generation.ts";
import { ask, modelPath, quietLog } from "../../support/goldens.ts";

/** Token 9 is special; the others are words, whose first in a text loses its space. */
const tokenizer = {
  all_special_ids: [9],
  decode: (ids: number[], { skip_special_tokens }: { skip_special_tokens: boolean }) =>
    ids
      .filter((id) => !(skip_special_tokens && id === 9))
      .map((id) => (id === 9 ? "<end>" : ` ${"zero one two three four".split(" ")[id]}`))
      .join("")
      .trimStart(),
};

function answer(ids: readonly number[], more: object = {}, settings: object = {}) {
  const order = {
    prompt: [1, 2],
    settings: plainSettings({ maxNewTokens: 5, beams: 2, ...settings }),
    sequences: 1,
    topTokens: 0,
    promptTokens: false,
    keepsStop: false,
    ...more,
  };
  const { promptTokens, sequences } = toSearchedAnswer(order, tokenizer, { ids });
  assert.equal(promptTokens, 2);
  assert.equal(sequences.length, 1);
  return sequences[0]!;
}

test("the text is what follows the prompt, with its spaces, and the reason why it ended", () => {
  const { details, ...rest } = answer([3, 4]);
  assert.deepEqual(rest, { sequence: 0, text: " three four", tokens: 2, reason: "eos_token" });
  assert.deepEqual(
    details.map(({ token }) => token),
    [
      { id: 3, text: "three", logprob: null, special: false },
      { id: 4, text: "four", logprob: null, special: false },
    ],
  );
  assert.equal(answer([3, 4, 3, 4, 3]).reason, "length");
  assert.deepEqual([answer([]).text, answer([]).tokens], ["", 0]);
});

test("special tokens are told, and are no text", () => {
  const { text, details } = answer([3, 9, 4]);
  assert.equal(text, " three four");
  assert.deepEqual(details[1]?.token, { id: 9, text: "<end>", logprob: null, special: true });
});

test("a stop text is cut away or kept, whatever else would have been the reason", () => {
  const stop = { stopTexts: ["four"], seed: 7 };
  const { text, reason, stopText, seed } = answer([3, 4, 3, 4, 3], {}, stop);
  assert.deepEqual([text, reason, stopText, seed], [" three ", "stop_sequence", "four", 7]);
  assert.equal(answer([3, 4], { keepsStop: true }, stop).text, " three four");
  assert.equal(answer([3, 4], { echo: "one two" }).text, "one two three four");
});

const PROMPT = "Once upon a time"; // four tokens

test("beams need room for each of them: they are cut to it, or refused beyond", async () => {
  const handler = await loadDefaultHandler(
    { repository: modelPath("tiny-gpt2"), dtype: "fp32", generation: { maxTotalTokens: 60 } },
    silentLog(),
  );
  const generate = async (parameters: GenerationParameters): Promise<GenerationResult> => {
    const generation = {
      prompt: { kind: "text", text: PROMPT },
      parameters,
      stream: false,
    } as const;
    const request = { id: "test", kind: "generate", data: {}, headers: {}, generation } as const;
    const { signal } = new AbortController();
    const context = { signal, requestId: "test", headers: {}, log: quietLog([]) };
    return (await handler.call(request, context)) as GenerationResult; // what `stream: false` is answered with
  };
  const refused = {
    code: "INVALID_INPUT",
    message:
      /the prompt's 4 tokens and 12 new ones, for each of 4 beams, are more than the 60 of --max-total-tokens; ask for fewer$/,
  };
  try {
    await assert.rejects(generate({ numBeams: 4, maxNewTokens: 12 }), refused);
    await assert.rejects(
      ask(handler, { inputs: PROMPT, parameters: { num_beams: 4, max_new_tokens: 12 } }),
      refused,
    );
    const { sequences } = await generate({ numBeams: 4, maxNewTokens: 11 });
    assert.equal(sequences[0]?.tokens, 11);
    // Where nobody says how long, it is as long as there is room: 60 tokens of 4 beams are 15 each.
    const cut = await generate({ numBeams: 4, maxNewTokens: null });
    assert.equal(cut.sequences[0]?.tokens, 11);
    await assert.rejects(generate({ numBeams: 20, maxNewTokens: null }), { code: "INVALID_INPUT" });
    assert.equal((await generate({ maxNewTokens: 50 })).sequences[0]?.tokens, 50);
  } finally {
    await handler.dispose();
  }
});
