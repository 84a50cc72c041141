/**
 * `config.properties`: TorchServe's configuration, as the file layer of ours.
 *
 * Each key that means something here becomes the text of an option, which the option's own row reads; all others are
 * named in one warning. With `enable_envvars_config=true` each key may also come from a variable `TS_<KEY>`.
 * To add a key: a row in `KEYS`. Source: `ConfigManager.java` of TorchServe 0.12.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { z } from "zod";
import { messageOf, RuntimeError, systemCodeOf } from "./errors.ts";
import { nearestWord } from "./nearest-word.ts";
import type { OptionName } from "./options.ts";
import { parseProperties } from "./properties.ts";

/** What the file says of one option. */
export interface FileValue {
  readonly text: string;
  /** `"job_queue_size in config.properties"`, or the variable that went over it. */
  readonly origin: string;
  readonly isFromVariable: boolean;
}

/** How one version of a model is to be served, in TorchServe's words; times in its units. */
const Served = z.looseObject({
  defaultVersion: z.boolean().optional(),
  marName: z.string(),
  minWorkers: z.int().min(0).optional(),
  maxWorkers: z.int().min(0).optional(),
  batchSize: z.int().min(1).optional(),
  maxBatchDelay: z.number().min(0).optional(),
  responseTimeout: z.number().positive().optional(),
  startupTimeout: z.number().positive().optional(),
});
export type ServedVersion = z.infer<typeof Served>;

const ServedModels = z.record(z.string(), z.record(z.string(), Served));
/** Name → version → how it is served. */
export type ServedModels = z.infer<typeof ServedModels>;

/** Name → version → its share of the requests that name none. */
const SharedOut = z.record(z.string(), z.record(z.string(), z.number().min(0)));

const Snapshot = z.looseObject({ models: ServedModels, traffic: SharedOut.optional() });

export interface ConfigFile {
  /** As it was named, or found. */
  readonly path: string;
  readonly values: ReadonlyMap<OptionName, FileValue>;
  /** `models`: how those that are loaded are served. */
  readonly models: ServedModels | undefined;
  /** `model_snapshot`: what was served when it was written, to be served again. */
  readonly snapshot: ServedModels | undefined;
  /** How the snapshot's requests were shared out; hubserve's own key in it. */
  readonly traffic: z.infer<typeof SharedOut> | undefined;
  /** Everything in the file, as it stands there: what a snapshot repeats. */
  readonly properties: ReadonlyMap<string, string>;
  /** What a person should know. */
  readonly warnings: readonly string[];
}

export interface ConfigFileOptions {
  /** The file that was named; without it a snapshot, then `config.properties`, is looked for. */
  readonly named: string | undefined;
  /** Where snapshots lie; `undefined` where none is wanted. */
  readonly snapshots: string | undefined;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

const DEFAULT_FILE = "config.properties";

type Setting = readonly [option: OptionName, text: string];

/** A key's meaning: the options that it sets. */
const KEYS: Readonly<Record<string, (value: string) => readonly Setting[]>> = {
  inference_address: (value) => {
    const { host, port } = parseAddress(value, 8080);
    return [
      ["host", host],
      ["port", port],
    ];
  },
  management_address: (value) => {
    const { host, port } = parseAddress(value, 8081);
    return [
      ["managementHost", host],
      ["managementPort", port],
    ];
  },
  metrics_address: (value) => {
    const { host, port } = parseAddress(value, 8082);
    return [
      ["metricsHost", host],
      ["metricsPort", port],
    ];
  },
  enable_metrics_api: (value) => (isTrue(value) ? [] : [["metricsPort", "off"]]),
  cors_allowed_origin: (value) => [["corsAllowedOrigin", value]],
  cors_allowed_methods: (value) => [["corsAllowedMethods", value]],
  cors_allowed_headers: (value) => [["corsAllowedHeaders", value]],
  model_store: (value) => [["modelStore", value]],
  load_models: (value) => [["models", value]],
  job_queue_size: (value) => [["jobQueueSize", value]],
  max_request_size: (value) => [["maxBodyBytes", value]],
  default_workers_per_model: (value) => (value === "0" ? [] : [["workers", value]]),
  default_response_timeout: (value) => [["requestTimeoutMs", `${whole(value, "seconds")}s`]],
  default_startup_timeout: (value) => [["startupTimeoutMs", `${whole(value, "seconds")}s`]],
  enable_model_api: (value) => [["enableModelApi", String(isTrue(value))]],
  disable_token_authorization: (value) => [["disableTokenAuth", String(isTrue(value))]],
  token_expiration_min: (value) => [["tokenExpirationMs", `${whole(value, "minutes")}m`]],
  allowed_urls: (value) => [["allowedUrls", value]],
  service_envelope: (value) => [["serviceEnvelope", value]],
  metrics_mode: (value) => [["metricsMode", value.toLowerCase()]],
  metrics_config: (value) => [["metricsConfig", value]],
  model_metrics_auto_detect: (value) => [["modelMetricsAutoDetect", String(isTrue(value))]],
};

/** Read by this file itself, or written into snapshots by TorchServe for nobody. */
const OWN_KEYS: ReadonlySet<string> = new Set([
  "models",
  "model_snapshot",
  "enable_envvars_config",
  "use_env_allowed_urls",
  "tsConfigFile",
  "version",
  "python",
]);

/** Finds and reads the file. @throws RuntimeError `INVALID_OPTION` for one that is named and not there, or is wrong. */
export function readConfigFile(options: ConfigFileOptions): ConfigFile | undefined {
  const path = findFile(options);
  return path === undefined ? undefined : parseConfigFile(path, readText(path), options.env);
}

/** `path` is for messages. */
export function parseConfigFile(
  path: string,
  text: string,
  env: ConfigFileOptions["env"],
): ConfigFile {
  const file = basename(path);
  const properties = readProperties(file, text);
  const values = new Map<OptionName, FileValue>();
  const set = (key: string, value: string, origin: string, isFromVariable: boolean): void => {
    try {
      for (const [option, settled] of KEYS[key]?.(value) ?? [])
        values.set(option, { text: settled, origin, isFromVariable });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new RuntimeError(
        "INVALID_OPTION",
        `Cannot read ${origin}: found "${clip(value)}", wanted ${error.message}`,
      );
    }
  };
  const resolved = new Map<string, string>();
  for (const [key, value] of properties) {
    const plain = resolveVariables(`${key} in ${file}`, value, env).trim();
    resolved.set(key, plain);
    if (plain !== "") set(key, plain, `${key} in ${file}`, false);
  }
  if (isTrue(resolved.get("enable_envvars_config"))) {
    for (const key of [...Object.keys(KEYS), "models", "model_snapshot"]) {
      const variable = `TS_${key.toUpperCase()}`;
      const value = env[variable];
      if (value === undefined || value === "") continue;
      if (key === "allowed_urls" && !isTrue(resolved.get("use_env_allowed_urls"))) continue;
      resolved.set(key, value);
      set(key, value, variable, true);
    }
  }
  const snapshot = parseJson(`model_snapshot in ${file}`, resolved.get("model_snapshot"), Snapshot);
  return {
    path,
    values,
    models: parseJson(`models in ${file}`, resolved.get("models"), ServedModels),
    snapshot: snapshot?.models,
    traffic: snapshot?.traffic,
    properties,
    warnings: nameIgnored(file, [...properties.keys()]),
  };
}

/** The newest snapshot of a folder. Their names begin with the time, so the last by name is the newest. */
export function findLastSnapshot(folder: string): string | undefined {
  if (!existsSync(folder)) return undefined;
  const last = readdirSync(folder)
    .filter((name) => /^\d{17}-(?:startup|snapshot|shutdown)\.cfg$/.test(name))
    .sort()
    .at(-1);
  return last === undefined ? undefined : join(folder, last);
}

function findFile({ named, snapshots, cwd }: ConfigFileOptions): string | undefined {
  if (named !== undefined) return resolve(cwd, named);
  const snapshot = snapshots === undefined ? undefined : findLastSnapshot(snapshots);
  const usual = join(cwd, DEFAULT_FILE);
  return snapshot ?? (existsSync(usual) ? usual : undefined);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const reason = systemCodeOf(error) ?? messageOf(error);
    throw new RuntimeError("INVALID_OPTION", `Cannot read ${path}: ${reason}`, { cause: error });
  }
}

function readProperties(file: string, text: string): ReadonlyMap<string, string> {
  try {
    return parseProperties(text);
  } catch (error) {
    throw new RuntimeError("INVALID_OPTION", `Cannot read ${file}: wanted ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** `$$NAME$$` → the variable's value; one that is not set is an error, as in TorchServe. */
function resolveVariables(origin: string, value: string, env: ConfigFileOptions["env"]): string {
  return value.replaceAll(/\$\$([^$]+)\$\$/g, (_match, name: string) => {
    const found = env[name];
    if (found !== undefined) return found;
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot read ${origin}: Invalid Environment Variable ${clip(name)}`,
    );
  });
}

function parseJson<S extends z.ZodType>(
  origin: string,
  text: string | undefined,
  schema: S,
): z.output<S> | undefined {
  if (text === undefined || text.trim() === "") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot read ${origin}: it is no JSON (${messageOf(error)})`,
      { cause: error },
    );
  }
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const [issue] = error.issues;
  const where = clip(issue?.path.join(".") ?? "");
  throw new RuntimeError(
    "INVALID_OPTION",
    `Cannot read ${origin}: ${where === "" ? "it" : `"${where}"`} does not fit (${issue?.message ?? "unknown"})`,
  );
}

/** TorchServe's addresses: `http://host:port`, the port as it is by default where there is none. */
function parseAddress(text: string, usual: number): { host: string; port: string } {
  const [, host, port] = /^http:\/\/(\[[\da-fA-F:.]+\]|[^:/[\]]+)(?::(\d+))?\/?$/.exec(text) ?? [];
  if (host === undefined) {
    const why = text.startsWith("https:") ? ", as TLS is left to a proxy" : "";
    throw new RangeError(`an address such as http://127.0.0.1:${usual}${why}`);
  }
  return { host: host.replace(/^\[(.*)\]$/, "$1"), port: port ?? String(usual) };
}

function whole(text: string, unit: string): string {
  if (!/^\d+$/.test(text)) throw new RangeError(`a whole number of ${unit}`);
  return text;
}

/** As much of a value as a sentence repeats. */
function clip(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}

/** As Java's `Boolean.parseBoolean`. */
function isTrue(text: string | undefined): boolean {
  return text?.trim().toLowerCase() === "true";
}

/** Keys of TorchServe's that mean nothing here, so that they are not taken for mistakes. */
const WITHOUT_MEANING = [
  ["async_logging", "blacklist_env_vars", "certificate_file", "keystore", "keystore_pass"],
  ["keystore_type", "private_key_file", "cpu_launcher_args", "cpu_launcher_enable", "debug"],
  ["decode_input_request", "default_service_handler", "disable_system_metrics", "vmargs"],
  ["enable_grpc_ssl", "grpc_inference_address", "grpc_inference_port", "grpc_management_address"],
  ["grpc_inference_max_connection_age_ms", "grpc_inference_max_connection_age_grace_ms"],
  ["grpc_management_max_connection_age_ms", "grpc_management_max_connection_age_grace_ms"],
  ["grpc_management_port", "initial_distribution_port", "initial_worker_port", "io_ratio"],
  ["install_py_dep_per_model", "ipex_enable", "ipex_gpu_enable", "limit_max_image_pixels"],
  ["max_response_size", "metric_time_interval", "model_server_home", "netty_client_threads"],
  ["number_of_gpu"],
  ["number_of_netty_threads", "NUM_WORKERS", "plugins_path", "prefer_direct_buffer"],
  ["snapshot_store", "system_metrics_cmd", "ts_header_key_sequence_end", "use_native_io"],
  ["ts_header_key_sequence_id", "ts_header_key_sequence_start", "ts_open_inference_protocol"],
  ["unregister_model_timeout", "workflow_store"],
].flat();

function nameIgnored(file: string, keys: readonly string[]): readonly string[] {
  const ignored = keys.filter((key) => !Object.hasOwn(KEYS, key) && !OWN_KEYS.has(key));
  if (ignored.length === 0) return [];
  const known = [...Object.keys(KEYS), ...OWN_KEYS];
  const names = ignored.map((key) => {
    const near = WITHOUT_MEANING.includes(key) ? undefined : nearestWord(key, known);
    return near === undefined ? clip(key) : `${key} (did you mean ${near})`;
  });
  const what = names.length === 1 ? "it changes" : "they change";
  return [`Ignoring ${names.join(", ")} in ${file}: ${what} nothing in hubserve`];
}
