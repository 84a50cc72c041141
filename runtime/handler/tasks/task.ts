/**
 * What a task is: the row in `registry.ts`, and the same thing once its model is loaded.
 *
 * An open task answers in three steps, so that the items of one request, or of several, can share a forward pass:
 * `preprocess` makes items, `inference` answers any mixture of items, `postprocess` makes one request's answer of its
 * items' results. `../batch-answer.ts` joins the steps and chooses which items go together.
 */
import type { InferenceRequest, JsonValue } from "../../inference.ts";
import type { Log } from "../../observe/log.ts";
import type { Weights } from "../../weights.ts";
import type { ModelFolder } from "../config.ts";

/** One unit of a forward pass: a text, or a pair of texts, as the model reads it. */
export interface Item {
  /** Its length in tokens, special tokens included: what decides who shares a forward pass. */
  readonly tokens: number;
}

/** A request, made ready. */
export interface Prepared<I extends Item, S> {
  /** In the order of the request's inputs. */
  readonly items: readonly I[];
  /** What `postprocess` must know of the request. */
  readonly state: S;
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
  /** @throws `INVALID_INPUT` when the request is not what this task answers. */
  preprocess(request: InferenceRequest, log: Log): Prepared<I, S>;
  /** One forward pass. Pads the items to the longest of them; answers one result per item, in order. */
  inference(items: readonly I[]): Promise<readonly R[]>;
  /** @param results One per item of this request, in the order of `Prepared.items`. */
  postprocess(state: S, results: readonly R[]): JsonValue;
  dispose(): Promise<void>;
}

/** What a task opens. */
export interface TaskModel {
  readonly folder: ModelFolder;
  readonly weights: Weights;
  /** Threads that one forward pass may use; onnxruntime's own default when absent. */
  readonly intraOpThreads?: number;
}

/** A row of the registry. */
export interface Task {
  /** The Hub's name of the task (`pipeline_tag`). */
  readonly name: string;
  /** Other names that mean the same. */
  readonly aliases: readonly string[];
  /** Whether the answer to a list of inputs is the list of its elements' answers, so that a list may be split. */
  readonly answersListsByElement: boolean;
  /** @throws `MODEL_INVALID` when the model's files cannot be loaded, or answer something else. */
  open(model: TaskModel): Promise<OpenTask>;
}
