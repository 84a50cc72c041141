/**
 * What the playground's page is told: the models there are, and one of them as a person wants to know it.
 *
 * Types only: the server writes it, the page reads it.
 */
import type { GenerationAbilities } from "../../generation.ts";
import type { JsonValue, ModelDescription } from "../../inference.ts";

/** `GET /playground/models`. */
export interface ModelIndex {
  /** Every version of every model, in the order in which they were registered. */
  readonly models: readonly ListedModel[];
}

export interface ListedModel {
  readonly name: string;
  readonly version: string;
  /** Whether a request that names no version goes there. */
  readonly isDefaultVersion: boolean;
  /** Whether `POST /`, which names no model, goes there. */
  readonly isFirst: boolean;
  readonly state: string;
  readonly isReady: boolean;
  /** What is going on, in a few words. */
  readonly detail: string;
}

/** `GET /playground/model?name=…&version=…`. What is not known, or not yet, is absent. */
export interface ShownModel extends ListedModel {
  /** The commit, for a model from the Hub. */
  readonly revision?: string;
  readonly handler?: ModelDescription["handler"];
  readonly task?: string;
  readonly dtype?: string;
  readonly modelType?: string;
  readonly example?: JsonValue;
  readonly schemas?: NonNullable<ModelDescription["schemas"]>;
  readonly signature?: NonNullable<ModelDescription["signature"]>;
  readonly generation?: GenerationAbilities;
  /** The beginning of the repository's README, its front matter left out: Markdown, to be shown as plain text. */
  readonly card?: string;
}
