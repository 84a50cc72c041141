/**
 * A text model and its tokenizer, loaded with transformers.js from a local folder and from nowhere else.
 *
 * Letters: `B` texts of a batch, `T` tokens of the longest. Tasks bring the meaning: what they feed and which output
 * they read.
 */
import { join } from "node:path";
import {
  AutoTokenizer,
  env,
  LogLevel,
  PreTrainedModel,
  Tensor,
  type PreTrainedTokenizer,
} from "@huggingface/transformers";

import type { InferenceSession } from "onnxruntime-node";

import { RuntimeError } from "../../errors.ts";
import { scanOnnxFile } from "../onnx-scan.ts";
import { assertHasFile } from "./folder.ts";
import { loadFailure } from "./load-failure.ts";
import { applyLowerCase } from "./lower-case.ts";
import { mendTokenizer } from "./mend-tokenizer.ts";
import {
  maxTokensOf,
  truncate,
  type Encoding,
  type Truncation,
  type TruncationSide,
} from "./truncation.ts";
import type { TaskModel } from "../tasks/task.ts";

/** How to tokenize one text. */
export interface EncodeOptions {
  /** A second text, which the model reads after the first. */
  readonly pair?: string | undefined;
  /** `"none"` refuses a text that is too long. */
  readonly truncation: Truncation;
  /** The longest sequence wanted, else what the repository's settings say; the model's own limit holds in any case. */
  readonly maxTokens?: number | undefined;
  /** The end that is cut; the tokenizer's own `truncation_side` when absent. */
  readonly side?: TruncationSide | undefined;
  /** What is being done, for a refusal: `classify the text`. */
  readonly action: string;
  /** What the client calls this text: `inputs[2]`. */
  readonly name: string;
  /** Told when the text was cut. */
  readonly warn?: ((text: string) => void) | undefined;
}

/** An output of the graph, converted to float32 where it was float16. Row-major. */
export interface FloatTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

export interface Encoder {
  readonly tokenizer: PreTrainedTokenizer;
  /** The most tokens the model reads, special tokens included; `Infinity` where nothing says. */
  readonly maxTokens: number;
  /** The names of the graph's inputs. */
  readonly inputs: ReadonlySet<string>;
  /** The graph's outputs with their number of dimensions. */
  readonly outputs: ReadonlyMap<string, number>;
  /** @throws `INVALID_INPUT` when the text is too long and may not, or cannot, be cut. */
  encode(text: string, options: EncodeOptions): Encoding;
  /** The tokens of a bare text, without special tokens. */
  tokensOf(text: string): number[];
  /**
   * Runs the graph once, over the encodings padded on the right to `[B, T]`.
   *
   * @returns The output named `output`; row `i` belongs to `encodings[i]`.
   */
  forward(encodings: readonly Encoding[], output: string): Promise<FloatTensor>;
  /**
   * The same for a graph that reads more than texts.
   *
   * @param more Further inputs by name (`pixel_values`); those that the graph does not know are left out.
   * @returns The outputs in the order of their names.
   */
  run<const N extends readonly string[]>(
    encodings: readonly Encoding[],
    outputs: N,
    more: Readonly<Record<string, Tensor>>,
  ): Promise<{ [K in keyof N]: FloatTensor }>;
  dispose(): Promise<void>;
}

/** One of transformers.js's `AutoModel…` classes. */
export interface AutoModelClass {
  supports(modelType: string): boolean;
  from_pretrained: typeof PreTrainedModel.from_pretrained;
}

/** What is read of onnxruntime's session, which transformers.js types as `any`. */
export interface Session {
  readonly inputNames: readonly string[];
  readonly inputMetadata: readonly { readonly shape?: readonly unknown[] }[];
  readonly outputMetadata: readonly {
    readonly name: string;
    readonly shape?: readonly unknown[];
  }[];
}

/**
 * Loads the tokenizer and the weights.
 *
 * @param autoModel The class for the task; a model type it does not know is run as a plain encoder.
 * @throws `MODEL_INVALID` when a file is missing or broken.
 */
export async function loadEncoder(model: TaskModel, autoModel: AutoModelClass): Promise<Encoder> {
  confineLibrary();
  const { config } = model.folder;
  const tokenizer = await loadTokenizer(model);
  const network = await loadNetwork(model, autoModel);
  const session: Session = network.sessions["model"];
  const maxTokens = maxTokensOf(config, tokenizer.model_max_length);
  const wantsTypes = session.inputNames.includes("token_type_ids");
  const padId = tokenizer.pad_token_id ?? config.pad_token_id ?? 0;
  const { encode, tokensOf } = createTextEncoder(model, tokenizer, { maxTokens, wantsTypes });

  async function run<const N extends readonly string[]>(
    encodings: readonly Encoding[],
    names: N,
    more: Readonly<Record<string, Tensor>>,
  ): Promise<{ [K in keyof N]: FloatTensor }> {
    const feeds = { ...toFeeds(encodings, padId, wantsTypes), ...more };
    // `forward`, as calling the model keeps only the outputs that its class knows by name.
    const outputs: Record<string, Tensor> = await network.forward(feeds);
    const floats = names.map((name) => {
      const tensor = outputs[name];
      if (tensor === undefined) throw new Error(`the graph gave no output "${name}"`);
      return toFloats(tensor);
    });
    return floats as { [K in keyof N]: FloatTensor }; // map keeps the places
  }

  return {
    tokenizer,
    maxTokens,
    inputs: new Set(session.inputNames),
    outputs: new Map(session.outputMetadata.map(({ name, shape }) => [name, shape?.length ?? 0])),
    tokensOf,

    encode,
    forward: async (encodings, output) => (await run(encodings, [output], {}))[0],
    run,

    async dispose() {
      await network.dispose();
    },
  };
}

/** What is known of the model where texts become tokens. */
export interface TextEncoderOptions {
  /** The most tokens the model reads, special tokens included. */
  readonly maxTokens: number;
  /** Whether the model reads token types. */
  readonly wantsTypes: boolean;
}

/**
 * Of one text, in characters. Tokenizers are regular expressions of a stranger's, and the worker answers nobody else while they
 * run: no model reads more than a small part of this.
 */
const LONGEST_TEXT = 2 ** 20;

/** Makes tokens of texts, cut as Python cuts them. */
export function createTextEncoder(
  { settings }: Pick<TaskModel, "settings">,
  tokenizer: PreTrainedTokenizer,
  { maxTokens, wantsTypes }: TextEncoderOptions,
): Pick<Encoder, "encode" | "tokensOf"> {
  const refuseLong = (text: string): void => {
    if (text.length > LONGEST_TEXT)
      throw new RuntimeError(
        "INVALID_INPUT",
        `Cannot read the text: it is ${text.length} characters long, wanted at most ${LONGEST_TEXT}`,
      );
  };
  const ownSide = tokenizer.config.truncation_side === "left" ? "left" : "right";

  function encodeWhole(text: string, pair?: string): Encoding {
    refuseLong(text);
    if (pair !== undefined) refuseLong(pair);
    const { input_ids, token_type_ids } = tokenizer(text, {
      ...(pair !== undefined && { text_pair: pair }),
      return_tensor: false,
      return_token_type_ids: wantsTypes,
    });
    return {
      inputIds: input_ids,
      ...(wantsTypes && token_type_ids && { tokenTypeIds: token_type_ids }),
    };
  }

  function tokensOf(text: string): number[] {
    refuseLong(text);
    return tokenizer(text, { add_special_tokens: false, return_tensor: false }).input_ids;
  }

  return {
    tokensOf,

    encode(text, options) {
      const { pair, truncation, side = ownSide } = options;
      const wanted = options.maxTokens ?? settings?.maxLength ?? Infinity;
      const whole = encodeWhole(text, pair);
      const length = whole.inputIds.length;
      if (truncation === "none") {
        if (length <= maxTokens) return whole;
        throw refusal(
          options,
          `${length} tokens long, wanted at most ${maxTokens} as truncation is off`,
        );
      }
      const limit = Math.min(wanted, maxTokens);
      if (length <= limit) return whole;
      const second = pair === undefined ? undefined : tokensOf(pair);
      const cut = truncate(whole, tokensOf(text), second, limit, truncation, side);
      if (cut !== undefined) {
        options.warn?.(`"${options.name}" was cut from ${length} to ${cut.inputIds.length} tokens`);
        return cut;
      }
      throw refusal(
        options,
        `${length} tokens long and cannot be cut to ${limit} with the truncation "${truncation}"`,
      );
    },
  };
}

function refusal({ action, name }: EncodeOptions, problem: string): RuntimeError {
  return new RuntimeError("INVALID_INPUT", `Cannot ${action}: "${name}" is ${problem}`);
}

/** Row `index` of a tensor `[B, …]`: a view, not a copy. */
export function rowOf({ data, dims }: FloatTensor, index: number): Float32Array {
  const size = dims.slice(1).reduce((product, dim) => product * dim, 1);
  return data.subarray(index * size, (index + 1) * size);
}

/**
 * Keeps transformers.js to the folder it is given: no download, no cache, and no output of its own (its error log
 * would print clients' inputs).
 */
export function confineLibrary(): void {
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.useFSCache = false;
  env.useBrowserCache = false;
  env.useWasmCache = false;
  env.logLevel = LogLevel.NONE;
}

export async function loadTokenizer({
  folder,
  settings,
  note,
}: TaskModel): Promise<PreTrainedTokenizer> {
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    assertHasFile(folder, name, "the tokenizer", "AutoTokenizer");
  }
  try {
    const tokenizer = await AutoTokenizer.from_pretrained(folder.path, { local_files_only: true });
    mendTokenizer(tokenizer);
    const lowerCase = applyLowerCase(tokenizer, settings);
    if (lowerCase !== undefined) note?.(lowerCase);
    return tokenizer;
  } catch (error) {
    throw loadFailure("the tokenizer", folder.path, error);
  }
}

export async function loadNetwork(
  { folder, weights, intraOpThreads, device = "cpu", onSession }: TaskModel,
  autoModel: AutoModelClass,
  options: InferenceSession.SessionOptions = {},
): Promise<PreTrainedModel> {
  const components = Object.keys(weights.components);
  const component = components.includes("model") || components.length > 1 ? "model" : components[0];
  // The encoder half of a T5 is one graph, though the library's class for "t5" looks for two.
  const isHalf = folder.config.architectures?.[0]?.endsWith("EncoderModel") === true;
  const isKnown = autoModel.supports(folder.config.model_type ?? "");
  const networkClass = isKnown && !isHalf ? autoModel : PreTrainedModel;
  for (const file of weights.files.filter((name) => name.endsWith(".onnx")))
    scanOnnxFile(join(folder.repository, file), file);
  try {
    const network = await networkClass.from_pretrained(folder.path, {
      local_files_only: true,
      device,
      dtype: { ...weights.components },
      subfolder: weights.subfolder,
      model_file_name: component ?? "model",
      // onnxruntime finds external data beside the graph by itself; a promise of `config.json` about a file that is
      // not there would reject where nobody can catch it.
      use_external_data_format: false,
      session_options: {
        ...options,
        ...(intraOpThreads !== undefined && { intraOpNumThreads: intraOpThreads }),
      },
    });
    const [session, ...others]: InferenceSession[] = Object.values(network.sessions);
    if (session !== undefined && others.length === 0) onSession?.(session);
    return network;
  } catch (error) {
    throw loadFailure(weights.files.join(", "), folder.path, error, device);
  }
}

/** `input_ids`, `attention_mask` and `token_type_ids` as `[B, T]`, padded on the right. */
function toFeeds(
  encodings: readonly Encoding[],
  padId: number,
  wantsTypes: boolean,
): Record<string, Tensor> {
  const B = encodings.length;
  const T = Math.max(
    ...encodings.map(({ inputIds, paddedLength = 0 }) => Math.max(inputIds.length, paddedLength)),
  );
  const ids = new BigInt64Array(B * T).fill(BigInt(padId));
  const mask = new BigInt64Array(B * T);
  const types = new BigInt64Array(B * T);
  for (const [b, { inputIds, tokenTypeIds }] of encodings.entries()) {
    for (const [t, id] of inputIds.entries()) {
      ids[b * T + t] = BigInt(id);
      mask[b * T + t] = 1n;
      types[b * T + t] = BigInt(tokenTypeIds?.[t] ?? 0);
    }
  }
  const dims = [B, T];
  return {
    input_ids: new Tensor("int64", ids, dims),
    attention_mask: new Tensor("int64", mask, dims),
    ...(wantsTypes && { token_type_ids: new Tensor("int64", types, dims) }),
  };
}

export function toFloats(tensor: Tensor): FloatTensor {
  const floats = tensor.type === "float32" ? tensor : tensor.to("float32");
  if (!(floats.data instanceof Float32Array))
    throw new Error(`float32 data was ${typeof floats.data}`);
  return { data: floats.data, dims: floats.dims };
}
