/**
 * Decoders as older exporters wrote them: in two files, for the first pass and for all later ones; in one that has no cache.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { GenerationRequest, GenerationResult } from "../../../runtime/generation.ts";
import type { LoadedHandler } from "../../../runtime/handler/contract.ts";
import { loadDefaultHandler } from "../../../runtime/handler/default.ts";
import { silentLog } from "../../../runtime/observe/log.ts";
import { decoderFiles } from "../../support/decoder-files.ts";
import { CausalGolden } from "../../support/generation.ts";
import { ask, modelPath, quietLog, readGolden, variantOf } from "../../support/goldens.ts";

interface Layout {
  readonly title: string;
  /** File → which of the graphs it is. */
  readonly files: Readonly<Record<string, "first" | "later" | "plain">>;
}

const LAYOUTS: readonly Layout[] = [
  {
    title: "in two files",
    files: {
      "onnx/decoder_model.onnx": "first",
      "onnx/decoder_with_past_model.onnx": "later",
    },
  },
  {
    title: "in two files at the root",
    files: { "decoder_model.onnx": "first", "decoder_with_past_model.onnx": "later" },
  },
  {
    title: "in a file without a cache, called decoder_model",
    files: { "onnx/decoder_model.onnx": "plain" },
  },
  {
    title: "in a file that writes a cache and reads none",
    files: { "onnx/decoder_model.onnx": "first" },
  },
  {
    title: "in a file without a cache, called model",
    files: { "onnx/model.onnx": "plain" },
  },
];

async function generate(
  handler: LoadedHandler,
  generation: GenerationRequest,
): Promise<GenerationResult> {
  const { signal } = new AbortController();
  const request = { id: "test", kind: "generate", data: {}, headers: {}, generation } as const;
  const context = { signal, requestId: "test", headers: {}, log: quietLog([]) };
  return (await handler.call(request, context)) as GenerationResult; // what `stream: false` is answered with
}

for (const name of ["tiny-gpt2", "tiny-llama"] as const) {
  const { cases } = readGolden(name, CausalGolden);
  let graphs: Awaited<ReturnType<typeof decoderFiles>>;
  let whole: LoadedHandler;
  before(async () => {
    graphs = await decoderFiles(name);
    whole = await loadDefaultHandler({ repository: modelPath(name), dtype: "fp32" }, silentLog());
  });
  after(() => whole.dispose());

  for (const { title, files } of LAYOUTS) {
    test(`${name} ${title} writes PyTorch's tokens, many at once, and tells what the whole one tells`, async () => {
      const written = Object.entries(files).map(([file, graph]) => [file, graphs[graph]] as const);
      const changes = { "onnx/model.onnx": null, ...Object.fromEntries(written) };
      await using repository = await variantOf(modelPath(name), changes);
      const handler = await loadDefaultHandler({ repository: repository.path }, silentLog());
      try {
        const found = await Promise.all(
          cases.map(async ({ prompt, max_new_tokens }) =>
            ask(handler, { inputs: prompt, parameters: { max_new_tokens } }),
          ),
        );
        assert.deepEqual(
          found,
          cases.map(({ prompt, new_text }) => [{ generated_text: `${prompt}${new_text}` }]),
        );
        const [{ prompt } = { prompt: "" }] = cases;
        for (const parameters of [
          { max_new_tokens: 12, num_beams: 3 },
          { max_new_tokens: 12, temperature: 1.2, seed: 4, repetition_penalty: 1.1 },
        ])
          assert.deepEqual(
            await ask(handler, { inputs: prompt, parameters }),
            await ask(whole, { inputs: prompt, parameters }),
          );
        const asked: GenerationRequest = {
          prompt: { kind: "text", text: prompt },
          parameters: { maxNewTokens: 4, promptTokens: true, topTokens: 2, sequences: 2, seed: 1 },
          stream: false,
        };
        const [own, expected] = await Promise.all([
          generate(handler, asked),
          generate(whole, asked),
        ]);
        const idsOf = ({ sequences }: GenerationResult): number[][] =>
          sequences.map(({ details }) => details.map(({ token }) => token.id));
        assert.deepEqual(idsOf(own), idsOf(expected));
        for (const [index, { id, logprob }] of (own.prompt ?? []).entries()) {
          assert.equal(id, expected.prompt?.[index]?.id);
          assert.ok(Math.abs((logprob ?? 0) - (expected.prompt?.[index]?.logprob ?? 0)) < 1e-3);
        }
        assert.equal(own.prompt?.length, expected.prompt?.length);
      } finally {
        await handler.dispose();
      }
    });
  }
}

test("of two files, one that is missing or broken is named", async () => {
  const { first } = await decoderFiles("tiny-gpt2");
  await using repository = await variantOf(modelPath("tiny-gpt2"), {
    "onnx/model.onnx": null,
    "onnx/decoder_model.onnx": first,
    "onnx/decoder_with_past_model.onnx": "no graph at all",
  });
  await assert.rejects(loadDefaultHandler({ repository: repository.path }, silentLog()), {
    code: "MODEL_INVALID",
    message: /decoder_with_past_model\.onnx/,
  });
});
