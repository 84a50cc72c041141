/**
 * `do_lower_case` of TorchServe's generalized handler, applied to a tokenizer that is already loaded.
 *
 * Python hands it to `AutoTokenizer.from_pretrained`, where the fast tokenizers of BERT's family (`BertTokenizerFast` and
 * those that copy it) set `lowercase` of their normalizer; the others keep what `tokenizer.json` says. So it is here.
 * Accents go with the capitals unless `strip_accents` says otherwise, as `BertNormalizer` has it.
 */
import type { PreTrainedTokenizer } from "@huggingface/transformers";

import type { ModelDescription } from "../../inference.ts";
import type { HandlerSettings } from "./handler-settings.ts";

type Note = ModelDescription["notes"][number];

/**
 * Makes the tokenizer follow the settings.
 *
 * @returns What a person should know: that texts are read otherwise than `tokenizer.json` says, or that they cannot be.
 */
export function applyLowerCase(
  tokenizer: PreTrainedTokenizer,
  settings: Pick<HandlerSettings, "file" | "lowerCase"> | undefined,
): Note | undefined {
  if (settings?.lowerCase === undefined) return undefined;
  const { file, lowerCase } = settings;
  const config = tokenizer._tokenizer.normalizer?.config;
  if (config?.type !== "BertNormalizer") {
    const kind = config === undefined ? "this tokenizer has none" : `this one is ${config.type}`;
    const text = `do_lower_case in ${file} changes nothing here: it sets a BertNormalizer, and ${kind}`;
    return { level: "info", text };
  }
  if (Boolean(config.lowercase) === lowerCase) return undefined;
  config.lowercase = lowerCase;
  const [does, says] = lowerCase
    ? ["are made lower case", "keeps"]
    : ["keep their capitals", "drops"];
  const text = `Texts ${does}, as do_lower_case in ${file} says, though tokenizer.json ${says} capitals`;
  return { level: "warn", text };
}
