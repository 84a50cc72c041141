/**
 * A repository's own handler: the class found in what it exports, one instance made, `call` made safe.
 */
import { RuntimeError } from "../../errors.ts";
import type {
  CompiledBundle,
  InferenceRequest,
  JsonValue,
  ModelDescription,
} from "../../inference.ts";
import type { Log } from "../../observe/log.ts";
import { compileHandler, importCompiled, type CompiledHandler } from "./bundle.ts";
import type {
  BatchHooks,
  BatchMember,
  EndpointHandler,
  EndpointHandlerClass,
  HandlerOptions,
  LoadedHandler,
  LoadOptions,
  RequestContext,
} from "../contract.ts";
import { toCallContext } from "./context.ts";
import { toLoadError, WANTED_SHAPE } from "./failure.ts";
import { callBatchSafely } from "./batch.ts";
import { refusalOf, toHandlerError } from "./message.ts";
import { readHandlerSchemas, type ReadData } from "./schema.ts";

/** The names under which the class may be exported; the second is Hugging Face's older one. */
const CLASS_NAMES = ["EndpointHandler", "PreTrainedPipeline"] as const;

export interface CustomHandlerOptions extends LoadOptions {
  /** The handler's file, relative to the repository. */
  readonly file: string;
  /** The folder that the class is given, absolute: the repository's or its `model/`. */
  readonly modelPath: string;
}

/**
 * Loads the class, makes its one instance and awaits its `load()`.
 *
 * @throws {RuntimeError} `HANDLER_INVALID`, or the `RuntimeError` that the handler itself threw.
 */
export async function loadCustomHandler(
  {
    repository,
    file,
    modelPath,
    task,
    dependencies,
    bundle,
    intraOpThreads,
    handlerSettings,
  }: CustomHandlerOptions,
  log: Log,
): Promise<LoadedHandler> {
  const compiled = await compile({
    repository,
    file,
    ...(dependencies !== undefined && { dependencies }),
    ...(bundle?.file === file && { bundle }),
  });
  log.debug(`Compiled ${file}`, {
    files: compiled.files.length,
    ms: Math.round(compiled.compileMs),
  });
  for (const warning of compiled.warnings)
    log.warn(`Compiled the handler with a warning: ${warning}`);

  const { name, Handler } = findClass(compiled.module, file);
  const options: HandlerOptions = {
    ...(intraOpThreads !== undefined && { threads: intraOpThreads }),
    ...(handlerSettings !== undefined && { settings: handlerSettings.keys }),
  };
  const instance = await instantiate(Handler, modelPath, options, repository);
  if (typeof instance?.call !== "function") {
    const text = `Cannot load the handler: ${file} has ${name} without a method call; wanted: ${WANTED_SHAPE}`;
    throw new RuntimeError("HANDLER_INVALID", text);
  }
  try {
    await instance.load?.();
  } catch (error) {
    throw toLoadError(error, "its load()", repository);
  }

  const example = readExample(Handler, file);
  const schemas = readHandlerSchemas(Handler, file);
  const description: ModelDescription = {
    handler: "custom",
    handlerFile: file,
    ...(example !== undefined && { example }),
    ...(task !== undefined && { task }),
    ...(schemas.described && { schemas: schemas.described }),
    notes: [{ level: "info", text: `Found ${file} with ${name}` }, ...schemas.notes],
  };
  const takesBatches = typeof instance.callBatch === "function";
  return {
    description,
    batching: {
      kind: takesBatches ? "batch" : "single",
      concurrency: readConcurrency(Handler, file),
      splitsLists: false,
    },
    files: compiled.files,
    call: (request, context) => callSafely(instance, request, context, schemas.read),
    ...(takesBatches && {
      callBatch: (members: readonly BatchMember[], hooks: BatchHooks) =>
        callBatchSafely(instance, members, hooks, log, schemas.read),
    }),
    dispose: async () => await instance.dispose?.(),
  };
}

async function compile({
  bundle,
  ...options
}: {
  repository: string;
  file: string;
  dependencies?: string;
  bundle?: CompiledBundle;
}): Promise<CompiledHandler> {
  try {
    return await (bundle === undefined ? compileHandler(options) : importCompiled(bundle));
  } catch (error) {
    throw toLoadError(error, options.file, options.repository);
  }
}

/** Finds the class among named exports, then as or in the default export, which is what CommonJS arrives as. */
function findClass(
  module: Readonly<Record<string, unknown>>,
  file: string,
): { name: string; Handler: EndpointHandlerClass } {
  const fallback = module["default"];
  for (const holder of [module, fallback]) {
    if (!isHolder(holder)) continue;
    for (const name of CLASS_NAMES) {
      if (holder[name] === undefined) continue;
      return { name: `a class ${name}`, Handler: assertClass(holder[name], name, file) };
    }
  }
  // A compiled CommonJS module keeps its own `default` inside.
  const inner = isHolder(fallback) ? (fallback["default"] ?? fallback) : fallback;
  if (isClass(inner)) return { name: "a default class", Handler: inner };
  const found = describeExports(module);
  throw new RuntimeError(
    "HANDLER_INVALID",
    `Cannot load the handler: ${file} exports ${found} and no class EndpointHandler; wanted: ${WANTED_SHAPE}`,
  );
}

function assertClass(value: unknown, name: string, file: string): EndpointHandlerClass {
  if (isClass(value)) return value;
  const found = typeof value === "object" ? "an object" : `a ${typeof value}`;
  const text = `Cannot load the handler: ${name} in ${file} is ${found} and no class; wanted: ${WANTED_SHAPE}`;
  throw new RuntimeError("HANDLER_INVALID", text);
}

/** Whether `new` can be used on it; whether its instances have a `call` shows once there is one. */
function isClass(value: unknown): value is EndpointHandlerClass {
  return typeof value === "function" && typeof value.prototype === "object";
}

function isHolder(value: unknown): value is Readonly<Record<string, unknown>> {
  return (typeof value === "object" || typeof value === "function") && value !== null;
}

function describeExports(module: Readonly<Record<string, unknown>>): string {
  const fallback = module["default"];
  const isCommonJs = Object.keys(module).join() === "default" && typeof fallback === "object";
  const names = Object.keys(isCommonJs && fallback !== null ? fallback : module);
  if (names.length === 0) return "nothing";
  const shown = names.slice(0, 5).map((name) => (name === "default" ? "a default" : `"${name}"`));
  return `${shown.join(", ")}${names.length > shown.length ? ", …" : ""}`;
}

async function instantiate(
  Handler: EndpointHandlerClass,
  modelPath: string,
  options: HandlerOptions,
  repository: string,
): Promise<EndpointHandler | undefined> {
  try {
    // A constructor may return a promise of the instance, and that may bring nothing.
    return await Promise.resolve(new Handler(modelPath, options));
  } catch (error) {
    throw toLoadError(error, "its constructor", repository);
  }
}

/** @throws `HANDLER_INVALID` when `static concurrency` is no whole number of at least 1. */
function readConcurrency({ concurrency = 1 }: EndpointHandlerClass, file: string): number {
  if (Number.isInteger(concurrency) && concurrency >= 1) return concurrency;
  const text = `static concurrency in ${file} is ${String(concurrency)}; wanted a whole number of at least 1`;
  throw new RuntimeError("HANDLER_INVALID", `Cannot load the handler: ${text}`);
}

/** @throws `HANDLER_INVALID` when `static example` is no body that a client could send. */
function readExample({ example }: EndpointHandlerClass, file: string): JsonValue | undefined {
  if (example === undefined) return undefined;
  const isObject = typeof example === "object" && example !== null && !Array.isArray(example);
  try {
    // As a client would send it.
    if (isObject) return JSON.parse(JSON.stringify(example)) as JsonValue;
  } catch {
    // It holds what JSON cannot: the sentence below says what was wanted.
  }
  const text = `static example in ${file} is no JSON object; wanted a request's body, { inputs: … }`;
  throw new RuntimeError("HANDLER_INVALID", `Cannot load the handler: ${text}`);
}

async function callSafely(
  instance: EndpointHandler,
  request: InferenceRequest,
  context: RequestContext,
  read: ReadData,
): Promise<unknown> {
  const refusal = refusalOf(request.kind, instance);
  if (refusal !== undefined) throw refusal;
  try {
    const data = await read(request);
    return request.kind === "explain"
      ? await instance.explain?.(data, toCallContext(context))
      : await instance.call(data, toCallContext(context));
  } catch (error) {
    throw toHandlerError(error, context.signal);
  }
}
