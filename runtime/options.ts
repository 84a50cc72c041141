/**
 * Every option as one row: its flag, its variables, its type, unit, default and meaning.
 *
 * Help, environment, validation and the README's table all come from these rows; a new option is a new row.
 * Each option can also be set as `HUBSERVE_<FLAG>` (`--max-body-size` → `HUBSERVE_MAX_BODY_SIZE`); the other names
 * in `variables` are those that users of the Hub, of Inference Endpoints and of containers already know.
 */
import { splitKeys } from "./api-key-text.ts";
import { LOG_FORMATS, LOG_LEVELS } from "./observe/log.ts";
import {
  MIB,
  SECOND_MS,
  toText,
  toList,
  toSwitch,
  toChoice,
  toLogLevel,
  toCount,
  toDurationMs,
  toBytes,
  toHttpUrl,
  toUrlHosts,
  toAllowedUrls,
  toPortOrOff,
  toVariableNames,
  toInitMode,
  toModelName,
} from "./option-values.ts";
import { TERMINATION_LOG } from "./termination-log.ts";
import { ENVELOPES } from "./torchserve-modes.ts";
import { DEVICES, DTYPES } from "./weights.ts";

/** Which requests have a line in the log. */
const ACCESS_LOGS = ["off", "errors", "all"] as const;

const METRICS_MODES = ["prometheus", "log", "legacy"] as const;

/** One option. */
export interface OptionRow {
  /** Without the dashes. */
  readonly flag: string;
  /** What the flag takes, for the help: `<count>`; absent for a switch. */
  readonly value?: string;
  /** May be given several times. */
  readonly isList?: boolean;
  /** Environment variables besides `HUBSERVE_…`; the first that is set wins. */
  readonly variables: readonly string[];
  /** Secrets come from the environment or a file, as arguments can be read by every user of a machine. */
  readonly isSecret?: boolean;
  /** `undefined` where the option may be left unset. */
  readonly default: string | number | boolean | readonly string[] | undefined;
  /** The default in words, where the value would not tell. */
  readonly defaultText?: string;
  readonly group:
    | "What to serve"
    | "Where"
    | "Locks"
    | "Managing"
    | "How"
    | "Limits"
    | "The Hub"
    | "Output";
  readonly meaning: string;
  /** Throws a `RangeError` whose message says what was wanted. */
  readonly parse: (text: string) => unknown;
}

export const OPTIONS = {
  task: {
    flag: "task",
    value: "<task>",
    variables: ["HF_TASK", "TASK"],
    default: undefined as string | undefined,
    defaultText: "the model card's, else by architecture",
    group: "What to serve",
    meaning: "The task that the default handler serves",
    parse: toText,
  },
  dtype: {
    flag: "dtype",
    value: "<dtype>",
    variables: ["HF_DTYPE", "DTYPE"],
    default: undefined as (typeof DTYPES)[number] | undefined,
    defaultText: "int8 where the repository has it, else fp32",
    group: "What to serve",
    meaning: `The weights to use: ${DTYPES.join(", ")}`,
    parse: toChoice(DTYPES),
  },
  device: {
    flag: "device",
    value: "<device>",
    variables: [],
    default: "cpu" satisfies (typeof DEVICES)[number],
    group: "What to serve",
    meaning: `Where the default handler computes: ${DEVICES.join(", ")}; besides cpu the weights are fp32 unless --dtype says otherwise`,
    parse: toChoice(DEVICES),
  },
  revision: {
    flag: "revision",
    value: "<revision>",
    variables: ["HF_REVISION", "REVISION"],
    default: undefined as string | undefined,
    defaultText: "main",
    group: "What to serve",
    meaning: "Branch, tag or commit of the Hub repository",
    parse: toText,
  },
  modelId: {
    flag: "model-id",
    value: "<owner/name>",
    variables: ["HF_MODEL_ID", "MODEL_ID"],
    default: undefined as string | undefined,
    group: "What to serve",
    meaning: "The Hub repository, when no reference is given",
    parse: toText,
  },
  modelDir: {
    flag: "model-dir",
    value: "<folder>",
    variables: ["HF_MODEL_DIR", "MODEL_DIR"],
    default: undefined as string | undefined,
    group: "What to serve",
    meaning:
      "The local folder, when no reference is given; it wins over a Hub repository unless it is empty",
    parse: toText,
  },
  modelName: {
    flag: "model-name",
    value: "<name>",
    variables: [],
    default: undefined as string | undefined,
    defaultText: "the repository's, the folder's or the archive's own",
    group: "What to serve",
    meaning: "What the one model that is served is called in paths, answers and metrics",
    parse: toModelName,
  },
  waitForFiles: {
    flag: "wait-for-files",
    variables: ["MODEL_INIT_MODE"],
    default: false,
    group: "What to serve",
    meaning:
      "Wait until the local folder is there and its files have stopped growing, up to `--startup-timeout`, as KServe's " +
      "modelcars need; its `MODEL_INIT_MODE=async` says the same",
    parse: toInitMode,
  },
  host: {
    flag: "host",
    value: "<address>",
    variables: [],
    default: "0.0.0.0",
    group: "Where",
    meaning: "The address to listen on",
    parse: toText,
  },
  port: {
    flag: "port",
    value: "<port>",
    variables: ["PORT"],
    default: 8080,
    group: "Where",
    meaning: "The port to listen on; 0 takes a free one",
    parse: toCount(0, 65_535),
  },
  grpcPort: {
    flag: "grpc-port",
    value: "<port>",
    variables: [], // GRPC_PORT is what Kubernetes sets for a service called grpc: an address
    default: undefined as number | "off" | undefined,
    defaultText: "off",
    group: "Where",
    meaning:
      "One more port for the Open Inference Protocol over gRPC, with health and reflection; 0 takes a free one",
    parse: toPortOrOff,
  },
  grpcHost: {
    flag: "grpc-host",
    value: "<address>",
    variables: [],
    default: undefined as string | undefined,
    defaultText: "as `--host`",
    group: "Where",
    meaning: "The address that the gRPC port listens on",
    parse: toText,
  },
  corsAllowedOrigin: {
    flag: "cors-allowed-origin",
    value: "<origin>",
    variables: [],
    default: undefined as string | undefined,
    defaultText: "none",
    group: "Where",
    meaning: "The origin whose pages in browsers may send requests; `*` is every one",
    parse: toText,
  },
  corsAllowedMethods: {
    flag: "cors-allowed-methods",
    value: "<methods>",
    variables: [],
    default: undefined as string | undefined,
    defaultText: "none",
    group: "Where",
    meaning: "The methods that they may use: `GET, POST, OPTIONS`",
    parse: toText,
  },
  corsAllowedHeaders: {
    flag: "cors-allowed-headers",
    value: "<headers>",
    variables: [],
    default: undefined as string | undefined,
    defaultText: "none",
    group: "Where",
    meaning: "The headers that they may send: `Content-Type`",
    parse: toText,
  },
  noPlayground: {
    flag: "no-playground",
    variables: [],
    default: false,
    group: "Where",
    meaning:
      "Answer `GET /` with JSON to browsers too, in place of the page on which the model can be tried",
    parse: toSwitch,
  },
  apiKeys: {
    flag: "api-key",
    value: "<keys>",
    variables: ["HUBSERVE_API_KEYS"],
    isSecret: true,
    default: undefined as readonly string[] | undefined,
    defaultText: "none: everybody may ask",
    group: "Locks",
    meaning:
      "Keys of which every request on every port must have one, but for probes of its health; several with commas " +
      "between them",
    parse: splitKeys,
  },
  apiKeyFile: {
    flag: "api-key-file",
    value: "<file>",
    variables: [],
    default: undefined as string | undefined,
    defaultText: "none",
    group: "Locks",
    meaning:
      "A file with such keys, one on each line, which is read again when it has changed; `#` begins a comment",
    parse: toText,
  },
  sandbox: {
    flag: "sandbox",
    variables: [],
    default: false,
    group: "Locks",
    meaning:
      "Run handlers under Node's permission model: no files but the repository's and the packages', no programs, no " +
      "threads; a seat belt, no jail",
    parse: toSwitch,
  },
  handlerEnv: {
    flag: "handler-env",
    value: "<names>",
    isList: true,
    variables: [],
    default: [],
    defaultText: "none",
    group: "Locks",
    meaning:
      "Environment variables that handlers get though they look like secrets: `WEATHER_API_KEY`; may be repeated",
    parse: toVariableNames,
  },
  modelStore: {
    flag: "model-store",
    value: "<folder>",
    variables: [],
    default: undefined as string | undefined,
    group: "Managing",
    meaning:
      "The folder whose archives and folders can be registered while the server runs, and where fetched ones are kept",
    parse: toText,
  },
  models: {
    flag: "models",
    value: "<list>",
    isList: true,
    variables: [],
    default: [],
    defaultText: "none",
    group: "Managing",
    meaning:
      "What to serve from the start: archives and folders of the model store, Hub repositories; `name=` before one " +
      "names it, `all` is the whole store; may be repeated",
    parse: toList,
  },
  tsConfig: {
    flag: "ts-config",
    value: "<file>",
    variables: ["TS_CONFIG_FILE"],
    default: undefined as string | undefined,
    defaultText: "the last snapshot, else `./config.properties` where there is one",
    group: "Managing",
    meaning: "TorchServe's `config.properties`; flags and variables go over it",
    parse: toText,
  },
  snapshots: {
    flag: "snapshots",
    value: "<folder>",
    variables: [],
    default: "logs/config",
    group: "Managing",
    meaning:
      "With `--model-store`: where it is written down what is served, after each change, and read again at the next start",
    parse: toText,
  },
  noConfigSnapshots: {
    flag: "no-config-snapshots",
    variables: [],
    default: false,
    group: "Managing",
    meaning: "Neither write such snapshots nor read them",
    parse: toSwitch,
  },
  managementPort: {
    flag: "management-port",
    value: "<port>",
    variables: [],
    default: undefined as number | "off" | undefined,
    defaultText: "8081 with `--model-store` or `--enable-model-api`, else off",
    group: "Managing",
    meaning:
      "The port of TorchServe's Management API, or off; 0 takes a free one, that of `--port` shares it",
    parse: toPortOrOff,
  },
  managementHost: {
    flag: "management-host",
    value: "<address>",
    variables: [],
    default: "127.0.0.1",
    group: "Managing",
    meaning: "The address that the management port listens on",
    parse: toText,
  },
  metricsPort: {
    flag: "metrics-port",
    value: "<port>",
    variables: [],
    default: undefined as number | "off" | undefined,
    defaultText: "8082 with `--model-store` or `--enable-model-api`, else off",
    group: "Managing",
    meaning:
      "One more port for `/metrics`, which the main port has too, or off; 0 takes a free one",
    parse: toPortOrOff,
  },
  metricsHost: {
    flag: "metrics-host",
    value: "<address>",
    variables: [],
    default: "127.0.0.1",
    group: "Managing",
    meaning: "The address that the metrics port listens on",
    parse: toText,
  },
  enableModelApi: {
    flag: "enable-model-api",
    variables: [],
    default: false,
    group: "Managing",
    meaning: "Let clients of the management port register and remove models",
    parse: toSwitch,
  },
  disableTokenAuth: {
    flag: "disable-token-auth",
    variables: [],
    default: false,
    group: "Managing",
    meaning: "Let everybody who reaches the management port use it, without a key",
    parse: toSwitch,
  },
  tokenAuth: {
    flag: "token-auth",
    variables: [],
    default: false,
    group: "Managing",
    meaning: "Ask for a key on the main port and the gRPC port too; health needs none",
    parse: toSwitch,
  },
  tokenExpirationMs: {
    flag: "token-expiration",
    value: "<duration>",
    variables: [],
    default: 60 * 60 * SECOND_MS,
    defaultText: "60m",
    group: "Managing",
    meaning: "How long a key is good for; `GET /token` on the management port makes a new one",
    parse: toDurationMs,
  },
  keyFile: {
    flag: "key-file",
    value: "<path>",
    variables: [],
    default: "key_file.json",
    group: "Managing",
    meaning:
      "Where the keys are written for their owner alone to read; the file goes when the server does",
    parse: toText,
  },
  allowedUrls: {
    flag: "allowed-urls",
    value: "<patterns>",
    isList: true,
    variables: [],
    default: [],
    defaultText: "none",
    group: "Managing",
    meaning:
      "URLs from which models may be registered, as TorchServe's patterns: `https://models.example.com/.*`; may be " +
      "repeated",
    parse: toAllowedUrls,
  },
  dialect: {
    flag: "dialect",
    value: "<dialect>",
    variables: [],
    default: "auto",
    group: "How",
    meaning:
      "The shape of answers on `POST /`: auto (by the client's user agent), toolkit (Inference Endpoints) or " +
      "hf-inference (Hugging Face's clients)",
    parse: toChoice(["auto", "toolkit", "hf-inference"]),
  },
  compat: {
    flag: "compat",
    value: "<server>",
    variables: [],
    default: undefined as "torchserve" | undefined,
    defaultText: "none",
    group: "How",
    meaning:
      "torchserve: keep its statuses, headers and sentences even where they mislead, for clients that rely on them",
    parse: toChoice(["torchserve"]),
  },
  serviceEnvelope: {
    flag: "service-envelope",
    value: "<envelope>",
    variables: [],
    default: undefined as (typeof ENVELOPES)[number] | undefined,
    defaultText: "none",
    group: "How",
    meaning: `What wraps bodies and answers on TorchServe's routes, as its service_envelope: ${ENVELOPES.join(", ")}`,
    parse: toChoice(ENVELOPES),
  },
  metricsMode: {
    flag: "metrics-mode",
    value: "<mode>",
    variables: [],
    default: "prometheus" satisfies (typeof METRICS_MODES)[number],
    group: "Output",
    meaning:
      "log or legacy: TorchServe's metrics as lines of the log besides, as its metrics_mode; `/metrics` is there in each",
    parse: toChoice(METRICS_MODES),
  },
  metricsConfig: {
    flag: "metrics-config",
    value: "<file>",
    variables: [],
    default: undefined as string | undefined,
    defaultText: "none",
    group: "Output",
    meaning: "A `metrics.yaml` of TorchServe's, which declares what handlers measure",
    parse: toText,
  },
  modelMetricsAutoDetect: {
    flag: "model-metrics-auto-detect",
    variables: [],
    default: false,
    group: "Output",
    meaning:
      "With --compat torchserve: show also what handlers measure without a declaration; always so otherwise",
    parse: toSwitch,
  },
  workers: {
    flag: "workers",
    value: "<count>",
    variables: ["WORKERS"],
    default: undefined as number | undefined,
    defaultText: "by the CPUs and the memory there are",
    group: "How",
    meaning: "Child processes that each hold the model; sets both bounds that follow",
    parse: toCount(1, 256),
  },
  minWorkers: {
    flag: "min-workers",
    value: "<count>",
    variables: [],
    default: undefined as number | undefined,
    defaultText: "as `--workers`",
    group: "How",
    meaning: "Workers that are kept when there is little to do",
    parse: toCount(1, 256),
  },
  maxWorkers: {
    flag: "max-workers",
    value: "<count>",
    variables: [],
    default: undefined as number | undefined,
    defaultText: "as `--workers`",
    group: "How",
    meaning: "Workers that are started at most when requests wait long",
    parse: toCount(1, 256),
  },
  threads: {
    flag: "threads",
    value: "<count>",
    variables: [],
    default: undefined as number | undefined,
    defaultText: "the CPUs over the workers",
    group: "How",
    meaning: "Threads that one inference of the default handler may use",
    parse: toCount(1, 1024),
  },
  batchSize: {
    flag: "batch-size",
    value: "<count>",
    variables: [],
    default: undefined as number | undefined,
    defaultText: "learned from the model's own timings",
    group: "How",
    meaning: "The most requests that are computed together; 1 computes each alone",
    parse: toCount(1, 1024),
  },
  maxBatchDelayMs: {
    flag: "max-batch-delay",
    value: "<duration>",
    variables: [],
    default: 0,
    defaultText: "0s",
    group: "How",
    meaning: "How long a request may wait for others to be computed with, while a worker is idle",
    parse: toDurationMs,
  },
  dev: {
    flag: "dev",
    variables: [],
    default: false,
    group: "How",
    meaning:
      "Load a local folder anew whenever its files are saved, with no request lost: for authors while they write",
    parse: toSwitch,
  },
  noWarmUp: {
    flag: "no-warm-up",
    variables: [],
    default: false,
    group: "How",
    meaning:
      "Say ready as soon as the model is loaded, before it has answered its own example; the first requests are slower then",
    parse: toSwitch,
  },
  maxConcurrentSequences: {
    flag: "max-concurrent-sequences",
    value: "<count>",
    variables: [],
    default: 32,
    group: "How",
    meaning: "The most texts that one worker of a model that generates writes at the same time",
    parse: toCount(1, 1024),
  },
  maxTotalTokens: {
    flag: "max-total-tokens",
    value: "<count>",
    variables: ["MAX_BATCH_TOTAL_TOKENS"],
    default: undefined as number | undefined,
    defaultText: "what the memory holds",
    group: "Limits",
    meaning:
      "The most tokens, prompts and answers together, of the texts that one worker writes at the same time; others wait",
    parse: toCount(16, 100_000_000),
  },
  jobQueueSize: {
    flag: "job-queue-size",
    value: "<count>",
    variables: [],
    default: 100,
    group: "Limits",
    meaning: "Requests that may wait for a worker; further ones get a 429",
    parse: toCount(0, 1_000_000),
  },
  requestTimeoutMs: {
    flag: "request-timeout",
    value: "<duration>",
    variables: [],
    default: 120 * SECOND_MS,
    defaultText: "120s",
    group: "Limits",
    meaning: "The longest a request may take, waiting included; then it gets a 504",
    parse: toDurationMs,
  },
  startupTimeoutMs: {
    flag: "startup-timeout",
    value: "<duration>",
    variables: [],
    default: 600 * SECOND_MS,
    defaultText: "600s",
    group: "Limits",
    meaning: "The longest a worker may take to load the model",
    parse: toDurationMs,
  },
  workerMaxRssBytes: {
    flag: "worker-max-rss",
    value: "<size>",
    variables: [],
    default: undefined as number | undefined,
    defaultText: "none",
    group: "Limits",
    meaning: "The memory one worker may hold; one that holds more is replaced",
    parse: toBytes,
  },
  maxBodyBytes: {
    flag: "max-body-size",
    value: "<size>",
    variables: ["MAX_FILE_SIZE"],
    default: 64 * MIB,
    defaultText: "64MiB",
    group: "Limits",
    meaning: "The largest request body; a larger one gets a 413",
    parse: toBytes,
  },
  maxHeaderBytes: {
    flag: "max-header-size",
    value: "<size>",
    variables: [],
    default: 16 * 1024,
    defaultText: "16KiB",
    group: "Limits",
    meaning: "The largest head of a request, its URL and headers together; a larger one gets a 431",
    parse: toBytes,
  },
  headerTimeoutMs: {
    flag: "header-timeout",
    value: "<duration>",
    variables: [],
    default: 20 * SECOND_MS,
    defaultText: "20s",
    group: "Limits",
    meaning: "The longest a client may take to send a request's head; then it gets a 408",
    parse: toDurationMs,
  },
  receiveTimeoutMs: {
    flag: "receive-timeout",
    value: "<duration>",
    variables: [],
    default: 300 * SECOND_MS,
    defaultText: "300s",
    group: "Limits",
    meaning: "The longest a client may take to send a whole request; then it gets a 408",
    parse: toDurationMs,
  },
  maxConnections: {
    flag: "max-connections",
    value: "<count>",
    variables: [],
    default: 10_000,
    group: "Limits",
    meaning:
      "The most connections that one port has at the same time; further ones are closed at once",
    parse: toCount(1, 1_000_000),
  },
  maxGrpcMessageBytes: {
    flag: "max-grpc-message-size",
    value: "<size>",
    variables: [],
    default: undefined as number | undefined,
    defaultText: "as `--max-body-size`",
    group: "Limits",
    meaning:
      "The largest message that a gRPC client may send; a larger one gets RESOURCE_EXHAUSTED",
    parse: toBytes,
  },
  allowUrlInputs: {
    flag: "allow-url-inputs",
    value: "<hosts>",
    isList: true,
    variables: [],
    default: [],
    defaultText: "none",
    group: "Limits",
    meaning:
      "Hosts from which images and sounds given as URLs are fetched: `example.com`, `*.example.com`, " +
      "`http://localhost:9000`; may be repeated",
    parse: toUrlHosts,
  },
  drainDelayMs: {
    flag: "drain-delay",
    value: "<duration>",
    variables: [],
    default: 0,
    defaultText: "0s",
    group: "Limits",
    meaning: "After SIGTERM: how long to go on accepting requests while health already says 503",
    parse: toDurationMs,
  },
  drainTimeoutMs: {
    flag: "drain-timeout",
    value: "<duration>",
    variables: [],
    default: 30 * SECOND_MS,
    defaultText: "30s",
    group: "Limits",
    meaning: "After SIGTERM: how long running requests may take to finish",
    parse: toDurationMs,
  },
  endpoint: {
    flag: "endpoint",
    value: "<url>",
    variables: ["HF_ENDPOINT"],
    default: "https://huggingface.co",
    group: "The Hub",
    meaning: "The Hub to download from",
    parse: toHttpUrl,
  },
  token: {
    flag: "token",
    value: "<token>",
    variables: ["HF_TOKEN", "HF_HUB_TOKEN", "HUGGING_FACE_HUB_TOKEN"],
    isSecret: true,
    default: undefined as string | undefined,
    defaultText: "the one that `hf auth login` stored",
    group: "The Hub",
    meaning:
      "For private and gated repositories; only as a variable, since arguments can be seen by others",
    parse: (text) => text.trim() || undefined,
  },
  offline: {
    flag: "offline",
    variables: ["HF_HUB_OFFLINE"],
    default: false,
    group: "The Hub",
    meaning: "Use what the cache holds and never ask the Hub",
    parse: toSwitch,
  },
  include: {
    flag: "include",
    value: "<pattern>",
    isList: true,
    variables: [],
    default: [],
    group: "The Hub",
    meaning: "Download exactly the files that match; may be repeated",
    parse: toList,
  },
  exclude: {
    flag: "exclude",
    value: "<pattern>",
    isList: true,
    variables: [],
    default: [],
    group: "The Hub",
    meaning: "Do not download the files that match; may be repeated",
    parse: toList,
  },
  hubCache: {
    flag: "hub-cache",
    value: "<folder>",
    variables: ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"],
    default: undefined as string | undefined,
    defaultText: "`$HF_HOME/hub`, else `~/.cache/huggingface/hub`",
    group: "The Hub",
    meaning: "Where downloads are kept, shared with Python's tools",
    parse: toText,
  },
  cache: {
    flag: "cache",
    value: "<folder>",
    variables: [],
    default: undefined as string | undefined,
    defaultText: "`~/.cache/hubserve`",
    group: "The Hub",
    meaning: "Where the packages of `requirements.json` are kept",
    parse: toText,
  },
  logLevel: {
    flag: "log-level",
    value: "<level>",
    variables: ["LOG_LEVEL"],
    default: "info",
    group: "Output",
    meaning: `The least severe lines to print: ${LOG_LEVELS.join(", ")}`,
    parse: toLogLevel,
  },
  terminationLog: {
    flag: "termination-log",
    value: "<file>",
    variables: [],
    default: TERMINATION_LOG,
    group: "Output",
    meaning:
      "Where the reason is written when nothing can be served, if there is such a file: Kubernetes shows it in the pod's " +
      "status",
    parse: toText,
  },
  logFormat: {
    flag: "log-format",
    value: "<format>",
    variables: ["LOG_FORMAT"],
    default: "auto",
    group: "Output",
    meaning:
      "Lines for people (text), for machines (json), or by whether a terminal reads them (auto)",
    parse: toChoice(LOG_FORMATS),
  },
  accessLog: {
    flag: "access-log",
    value: "<which>",
    variables: [],
    default: "errors",
    group: "Output",
    meaning:
      "Requests that have a line in the log, without their bodies: all, errors (those at which the server failed) or off; " +
      "with `--log-level debug` errors shows the others too",
    parse: toChoice(ACCESS_LOGS),
  },
} as const satisfies Record<string, OptionRow>;

export type OptionName = keyof typeof OPTIONS;

/** The value of each option, as its row's `parse` makes it. */
export type OptionValues = {
  readonly [Name in OptionName]:
    | ReturnType<(typeof OPTIONS)[Name]["parse"]>
    | Unset<(typeof OPTIONS)[Name]["default"]>;
};

type Unset<Default> = undefined extends Default ? undefined : never;

export const OPTION_NAMES = Object.keys(OPTIONS) as readonly OptionName[]; // own literal: its keys are the names

/** Every variable that sets an option, the one that wins first. */
export function variablesOf(option: OptionRow): readonly string[] {
  return [`HUBSERVE_${option.flag.toUpperCase().replaceAll("-", "_")}`, ...option.variables];
}

/** How an option is given: `--port <port>`, or its variable where it takes no flag. */
export function spellingOf(row: OptionRow): string {
  if (row.isSecret) return row.variables[0] ?? "";
  return row.value === undefined ? `--${row.flag}` : `--${row.flag} ${row.value}`;
}

/** The variables to show beside it; the `HUBSERVE_…` one goes without saying. */
export function otherNamesOf(row: OptionRow): readonly string[] {
  return row.isSecret ? row.variables.slice(1) : row.variables;
}

/** The default in words; empty where there is none worth naming. */
export function defaultTextOf(row: OptionRow): string {
  if (row.defaultText !== undefined) return row.defaultText;
  return typeof row.default === "string" || typeof row.default === "number"
    ? String(row.default)
    : "";
}
