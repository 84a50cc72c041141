/**
 * What a task is: the row in `registry.ts`, and the same thing once its model is loaded.
 *
 * An open task answers in three steps, so that the items of one request, or of several, can share a forward pass:
 * `preprocess` makes items, `inference` answers any mixture of items, `postprocess` makes one request's answer of its
 * items' results. `../batch-answer.ts` joins the steps and chooses which items go together.
 */
import type { InferenceSession } from "onnxruntime-node";
import type { z } from "zod";

import type {
  GenerationAbilities,
  GenerationEvent,
  GenerationLimits,
  GenerationRequest,
  GenerationResult,
  GenerationStatistics,
} from "../../generation.ts";
import type { Batching, InferenceRequest, JsonValue, ModelDescription } from "../../inference.ts";
import type { Log } from "../../observe/log.ts";
import type { Device, Weights } from "../../weights.ts";
import type { ModelFolder } from "../model/folder.ts";
import type { HandlerSettings } from "../model/handler-settings.ts";

/** One unit of a forward pass: a text, or a pair of texts, as the model reads it; an image; a sound. */
export interface Item {
  /**
   * What it costs, in tokens: for a text its length, special tokens included; else whatever grows as the cost does.
   * Decides who shares a forward pass.
   */
  readonly tokens: number;
  /**
   * Only items of the same group share a forward pass: say the size of an image, or the parameters of a generation. A
   * symbol of its own makes an item go alone. Items without a group share with each other.
   */
  readonly group?: string | symbol;
}

/** A request, made ready. */
export interface Prepared<I extends Item, S> {
  /** In the order of the request's inputs. */
  readonly items: readonly I[];
  /** What `postprocess` must know of the request. */
  readonly state: S;
}

/** What surrounds one request. */
export interface TaskContext {
  readonly log: Log;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Tells the caller something beside the answer: a text was cut, a parameter has no effect. One sentence. */
  readonly warn: (text: string) => void;
}

/**
 * A task with its model loaded.
 *
 * `I`, `R` and `S` are the task's own: its items, what inference makes of one item, and its per-request state. Who
 * drives it needs none of them, so methods (not function properties) let a task be seen as `OpenTask`.
 */
export interface OpenTask<I extends Item = Item, R = unknown, S = unknown> {
  /** What a person should read once at the start. */
  readonly notes: readonly string[];
  /** A body that this model answers, where the task's own example would not do. */
  readonly example?: JsonValue;
  /** @throws `INVALID_INPUT` when the request is not what this task answers. */
  preprocess(
    request: InferenceRequest,
    context: TaskContext,
  ): Prepared<I, S> | Promise<Prepared<I, S>>;
  /**
   * One forward pass, or one generation. Pads the items to the longest of them; answers one result per item, in order.
   *
   * @param signal Aborted when nobody waits for any of the items any more: a generation stops then, with whatever error.
   */
  inference(items: readonly I[], signal: AbortSignal): Promise<readonly R[]>;
  /**
   * @param results One per item of this request, in the order of `Prepared.items`.
   * @returns JSON, or a `Blob` with its type where the answer is a file.
   */
  postprocess(state: S, results: readonly R[]): Answer | Promise<Answer>;
  dispose(): Promise<void>;
  /** The same task once more, answering with explanations; absent where the task has none. Disposed of by itself. */
  readonly explaining?: ExplainingTask;
  /** Answers requests of kind `"generate"`; absent where the task does not generate. */
  readonly generating?: GeneratingTask;
}

/** A task that writes texts in neutral words, for many requests at once. */
export interface GeneratingTask {
  readonly abilities: GenerationAbilities;
  /** Requests that it answers at the same time; predictions count among them. */
  readonly concurrency: number;
  /**
   * The answer, whole or, where the request says so, as a stream.
   *
   * @throws `INVALID_INPUT`, `NOT_SUPPORTED` or `QUEUE_FULL`.
   */
  answer(
    request: GenerationRequest,
    context: TaskContext,
  ): Promise<GenerationResult | AsyncIterable<GenerationEvent>>;
  /** What has been done since it was last asked; `undefined` where nothing has changed. */
  takeStatistics(): GenerationStatistics | undefined;
}

/** A task whose items are explanations. Its answer to a list of inputs is the list of its elements' explanations. */
export interface ExplainingTask extends OpenTask {
  /** Every parameter that it knows; those of predictions that say what is read are among them. */
  readonly parameters: ReadonlySet<string>;
  /** Those that predictions do not know. */
  readonly ownParameters: ReadonlySet<string>;
}

/** What a task answers: JSON, or a file with its media type. */
export type Answer = JsonValue | Blob;

/** What a task opens. */
export interface TaskModel {
  readonly folder: ModelFolder;
  readonly weights: Weights;
  /** Threads that one forward pass may use; onnxruntime's own default when absent. */
  readonly intraOpThreads?: number;
  /** Where it is computed; on the CPU when absent. */
  readonly device?: Device;
  /** How much may be generated at once. */
  readonly generation?: GenerationLimits;
  /** Hosts from which inputs given as URLs may be fetched; none when absent. */
  readonly urlHosts?: readonly string[];
  /**
   * What the repository says in the words of TorchServe's generalized handler. `encoder.encode` cuts to its `maxLength`
   * where a request names no length; `settings.generation` has what `mode: text_generation` means where a request does
   * not say.
   */
  readonly settings?: HandlerSettings;
  /** Takes what a person should read once at the start, from parts that every task shares; lost when absent. */
  readonly note?: (note: ModelDescription["notes"][number]) => void;
  /** Takes the session of a model that is one graph, once it is loaded: whoever asks for the graph's own outputs runs it, too. */
  readonly onSession?: (session: InferenceSession) => void;
}

/** A task as its file describes it; `registry.ts` has its name. */
export interface Task {
  /** What `inputs` may be, for JSON bodies. */
  readonly inputs: z.ZodType;
  readonly parameters: z.ZodObject;
  /** A body that every model of this task answers. */
  readonly example: JsonValue;
  /** Whether the answer to a list of inputs is the list of its elements' answers, so that a list may be split. */
  readonly answersListsByElement: boolean;
  /** What a request's cost is predicted from before it is prepared. */
  readonly measure: NonNullable<Batching["measure"]>;
  /** @throws `MODEL_INVALID` when the model's files cannot be loaded, or answer something else. */
  open(model: TaskModel): Promise<OpenTask>;
}
