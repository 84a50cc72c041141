/**
 * The `Repository…` calls of KServe and Triton: what is registered, and loading and unloading it.
 */
import type { UntypedServiceImplementation } from "@grpc/grpc-js";

import type { Models } from "../engine/models.ts";
import { RuntimeError } from "../errors.ts";
import type { RepositoryRights } from "../http/protocols/open-inference.ts";
import {
  listRepository,
  loadModel,
  notManaged,
  unloadModel,
  type Repository,
} from "../http/protocols/open-inference-repository.ts";
import { unary, type CallOptions } from "./calls.ts";

export interface RepositoryOptions extends CallOptions {
  readonly models: Models;
  /** Who may load and unload models; nobody where absent. Its key has been asked for before. */
  readonly repository?: RepositoryRights | undefined;
}

interface RepositoryIndexRequest {
  readonly ready: boolean;
}

/** KServe's and Triton's: see `inference-proto.ts`. */
interface RepositoryModelRequest {
  readonly model_name: string;
  readonly triton_model_name: string;
  readonly parameters: Readonly<Record<string, { readonly string_param?: string }>>;
}

/** The calls that change what is loaded. */
export const REPOSITORY_CHANGES = ["RepositoryModelLoad", "RepositoryModelUnload"] as const;

export function createRepositoryMethods(options: RepositoryOptions): UntypedServiceImplementation {
  const { models, repository: rights } = options;
  const change = (
    run: (repository: Repository, name: string, message: RepositoryModelRequest) => Promise<void>,
    outcome: object,
  ): UntypedServiceImplementation[string] =>
    unary(async (message: RepositoryModelRequest) => {
      if (rights === undefined) throw notManaged();
      const name = toName(message);
      await run({ models, launcher: rights.launcher }, name, message);
      return { model_name: name, ...outcome };
    }, options);
  const [load, unload] = REPOSITORY_CHANGES;
  return {
    RepositoryIndex: unary(
      ({ ready }: RepositoryIndexRequest) => ({ models: listRepository(models, ready) }),
      options,
    ),
    [load]: change(
      async (repository, name, message) => loadModel(repository, name, toSource(message)),
      { isLoaded: true },
    ),
    [unload]: change(unloadModel, { isUnloaded: true }),
  };
}

function toName({ model_name: first, triton_model_name: second }: RepositoryModelRequest): string {
  const name = second || first;
  if (name !== "") return name;
  throw new RuntimeError("INVALID_INPUT", "Cannot tell which model is meant: its name is empty");
}

/** Where to load it from, where that is said; as in REST there is no other parameter. */
function toSource({ parameters }: RepositoryModelRequest): string | undefined {
  const stray = Object.keys(parameters).find((name) => name !== "url");
  if (stray === undefined) return parameters["url"]?.string_param || undefined;
  const text = `there is no parameter "${stray.slice(0, 100)}", wanted "url" or none`;
  throw new RuntimeError("INVALID_INPUT", `Cannot load the model: ${text}`);
}
