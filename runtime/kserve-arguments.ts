/**
 * The arguments that KServe gives a container, as this command line's own.
 *
 * KServe writes `--model_name`, `--model_dir`, `--http_port`, appends the service's arguments to the runtime's, and expects
 * a server to go past what it does not know. A person's typing error should still be one, so that leniency holds only where
 * KServe is seen: one of its spellings with an underscore among the arguments, or `K_SERVICE`, which Knative sets.
 * Source: `python/kserve/kserve/model_server.py` and `python/huggingfaceserver` of KServe 0.20.
 */
import { nearestWord } from "./nearest-word.ts";

export interface ArgumentsRead {
  /** With our flags' names; what is not one of them is left out. */
  readonly args: readonly string[];
  /** What was left out, for people. */
  readonly warnings: readonly string[];
}

/** A flag of ours, without its dashes. */
export interface KnownFlag {
  readonly flag: string;
  /** Whether a word behind it is its value. */
  readonly takesValue: boolean;
}

/** KServe's flags under other names, once underscores are dashes. */
const RENAMED: Readonly<Record<string, string>> = {
  "http-port": "port",
  "model-revision": "revision",
  "max-threads": "threads",
};

/** The server's flags that say by their underscore who wrote them. */
const SPELLINGS =
  /^--(?:model_(?:name|dir|id|revision)|http_port|grpc_port|max_threads|max_length|log_config_file|enable_grpc|enable_docs_url|predictor_host|tensor_input_names)(?:=|$)/;

/** Values of KServe's Hugging Face server under our names; `undefined`: what it does without the flag. */
const VALUES: Readonly<Record<string, Readonly<Record<string, string | undefined>>>> = {
  dtype: { auto: undefined, float32: "fp32", float: "fp32", float16: "fp16", half: "fp16" },
  task: {
    sequence_classification: "text-classification",
    token_classification: "token-classification",
    fill_mask: "fill-mask",
    text_generation: "text-generation",
    text2text_generation: "text2text-generation",
    text_embedding: "feature-extraction",
  },
};

/** Whether the arguments, or the environment, are KServe's. */
export function isFromKServe(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  return Boolean(env["K_SERVICE"]) || args.some((arg) => SPELLINGS.test(arg));
}

/**
 * Reads arguments as KServe means them: `--k=v` and `--k v`, underscores as dashes, unknown flags with their values left
 * out. Everything that is not a flag stays where it is.
 */
export function readKServeArguments(
  given: readonly string[],
  known: readonly KnownFlag[],
): ArgumentsRead {
  const args: string[] = [];
  const warnings: string[] = [];
  const words = [...given];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    if (word === "--") {
      args.push(word, ...words);
      break;
    }
    if (!/^-[^\d]/.test(word)) {
      args.push(word);
      continue;
    }
    const [, written = "", inline] = /^--?([^=]*)(?:=(.*))?$/s.exec(word) ?? [];
    const dashed = written.replaceAll("_", "-");
    const name = RENAMED[dashed] ?? dashed;
    const found = known.find(({ flag }) => flag === name);
    const next = words[0];
    const hasWord = inline === undefined && next !== undefined && !/^-[^\d]/.test(next);
    if (found === undefined) {
      warnings.push(describeUnknown(written, name, known));
      if (hasWord) words.shift();
      continue;
    }
    const isValue = hasWord && (found.takesValue || /^(?:true|false)$/i.test(next));
    const value = inline ?? (isValue ? words.shift() : undefined);
    if (value === undefined) args.push(`--${name}`);
    else {
      const translated = translate(name, value);
      if (translated !== undefined) args.push(`--${name}=${translated}`);
    }
  }
  return { args, warnings };
}

/** The flag alone is named: what stands behind one that is not known may be a secret. */
function describeUnknown(written: string, name: string, known: readonly KnownFlag[]): string {
  const near = nearestWord(
    name,
    known.map(({ flag }) => flag),
  );
  const advice = near === undefined ? "" : `; did you mean "--${near}"`;
  return `Ignoring --${written}: it is no option of hubserve${advice}`;
}

function translate(name: string, value: string): string | undefined {
  const values = VALUES[name];
  return values !== undefined && Object.hasOwn(values, value) ? values[value] : value;
}
