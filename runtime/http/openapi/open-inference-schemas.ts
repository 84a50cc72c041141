/**
 * What the Open Inference Protocol's routes answer, as schemas. Bodies are checked by those of `open-inference-body.ts` and its like.
 */
import { z } from "zod";

import { TENSOR_DATATYPES } from "../../inference.ts";
import { GenerateBody, GenerateParameters } from "../protocols/open-inference-generate.ts";

export const Server = z.object({
  name: z.string(),
  version: z.string(),
  extensions: z.array(z.string()),
});
const Spec = z.object({
  name: z.string(),
  datatype: z.enum(TENSOR_DATATYPES),
  shape: z.array(z.int()).describe("-1 stands for any length"),
});

export const Metadata = z.object({
  name: z.string(),
  versions: z.array(z.string()).optional(),
  platform: z.string(),
  inputs: z.array(Spec).optional(),
  outputs: z.array(Spec).optional(),
  properties: z.record(z.string(), z.string()).optional(),
});

const parameters = z.record(z.string(), z.unknown()).optional();
export const InferAnswer = z.object({
  id: z.string().optional(),
  model_name: z.string(),
  model_version: z.string().optional(),
  parameters,
  outputs: z.array(
    z.object({
      name: z.string(),
      shape: z.array(z.int()),
      datatype: z.enum(TENSOR_DATATYPES),
      parameters,
      data: z.array(z.unknown()).optional().describe("Row by row; absent where it is binary"),
    }),
  ),
});

export const ModelReady = z.object({
  name: z.string(),
  ready: z.boolean(),
  error: z.string().optional(),
});
export const Entry = z.object({
  name: z.string(),
  version: z.string(),
  state: z.enum(["READY", "LOADING", "UNAVAILABLE"]),
  reason: z.string(),
});

export const GenerateRequest = GenerateBody.extend({ parameters: GenerateParameters.nullish() });
const Token = z.object({
  id: z.int(),
  text: z.string(),
  logprob: z.number(),
  special: z.boolean(),
});
const finish_reason = z.enum(["length", "eos_token", "stop_sequence"]);
const written = { text_output: z.string(), model_name: z.string(), model_version: z.string() };
export const Generated = z.object({
  ...written,
  details: z.object({ finish_reason, logprobs: z.array(Token) }).optional(),
});
export const GeneratedPart = z.object({
  ...written,
  token: Token.optional(),
  details: z.object({ finish_reason, token: Token }).optional(),
});
