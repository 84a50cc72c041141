/**
 * The models of this server as OpenAI lists them, with KServe V1's list in the same object: both read `GET /v1/models`.
 */
import type { Model, Models } from "../../engine/models.ts";

/** As OpenAI describes a model. */
export interface ModelCard {
  readonly id: string;
  readonly object: "model";
  /** In seconds since 1970. */
  readonly created: number;
  readonly owned_by: string;
}

export interface ModelList {
  /** KServe V1's: the names. */
  readonly models: readonly string[];
  readonly object: "list";
  readonly data: readonly ModelCard[];
}

/**
 * Each name once, in the order in which they were registered, whether it is ready or not.
 *
 * @param created In seconds since 1970.
 */
export function listModels({ list }: Models, created: number): ModelList {
  const models = [...new Set(list.map(({ name }) => name))];
  return { models, object: "list", data: models.map((name) => toCard({ name }, created)) };
}

/** A model's owner is what stands before the slash on the Hub. */
export function toCard({ name }: Pick<Model, "name">, created: number): ModelCard {
  const slash = name.indexOf("/");
  const owner = slash > 0 ? name.slice(0, slash) : "hubserve";
  return { id: name, object: "model", created, owned_by: owner };
}
