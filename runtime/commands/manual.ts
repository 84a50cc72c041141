/**
 * The manual: what each command takes besides its name. Help is written from it, and `arguments.ts` reads by it.
 *
 * `cli.ts` has each command's usage and meaning in one line. A new command works without a page here; its help is then
 * those two lines.
 */
import type { OptionName } from "../options.ts";

export interface FlagRow {
  /** Without the dashes. */
  readonly flag: string;
  /** One letter that means the same. */
  readonly short?: string;
  /** What it takes, for the help: `<file>`; absent for a switch. */
  readonly value?: string;
  readonly meaning: string;
}

export interface ManualPage {
  /** What there is to know beyond the command's one line. */
  readonly about?: string;
  /** The command's own. */
  readonly flags: readonly FlagRow[];
  /** Those of `serve` that mean something here. */
  readonly options: readonly OptionName[] | "all";
  /** Command lines that work, each with what it does. */
  readonly examples: readonly (readonly [line: string, meaning: string])[];
}

const JSON_FLAG: FlagRow = { flag: "json", meaning: "Print JSON, for a script" };
const LOGGING = ["logLevel", "logFormat"] as const satisfies readonly OptionName[];
const HUB = ["endpoint", "token"] as const satisfies readonly OptionName[];
const CACHES = ["offline", "hubCache", "cache"] as const satisfies readonly OptionName[];
const LOADING = [
  "task",
  "dtype",
  "revision",
  "threads",
  "allowUrlInputs",
  "include",
  "exclude",
  ...HUB,
  ...CACHES,
  ...LOGGING,
] as const satisfies readonly OptionName[];

export const INIT: ManualPage = {
  about:
    "Writes handler.ts, handler.test.ts and requirements.json for the model's task, and a section of the README.\n" +
    "The task is told from the repository's files; the model is not loaded. What is there already is left alone.",
  flags: [
    { flag: "bare", meaning: "A handler without a model, whatever the repository holds" },
    { flag: "force", short: "f", meaning: "Write over files that are there" },
    JSON_FLAG,
  ],
  options: ["task", "dtype", ...LOGGING],
  examples: [
    ["hubserve init", "for the repository in the current folder"],
    ["hubserve init ./my-model --task text-classification", "where the files do not tell the task"],
  ],
};

export const PUSH: ManualPage = {
  about:
    "Publishes the handler: its file, the files that it imports by relative name, and requirements.json, as one commit.\n" +
    "First it is shown what would change. Needs HF_TOKEN with the right to write.",
  flags: [
    { flag: "include", value: "<file>", meaning: "Push this file too; may be repeated" },
    { flag: "message", short: "m", value: "<text>", meaning: "The commit's first line" },
    { flag: "pull-request", meaning: "Open a pull request instead of a commit" },
    { flag: "create", meaning: "Make the repository if there is none; it is private" },
    { flag: "public", meaning: "With --create: let everybody see it" },
    { flag: "dry-run", meaning: "Show what would change, and change nothing" },
    { flag: "yes", short: "y", meaning: "Do not ask; a script must say so" },
    { flag: "force", short: "f", meaning: "Push also what looks like a secret" },
    JSON_FLAG,
  ],
  options: ["revision", ...HUB, ...LOGGING],
  examples: [
    ["hubserve push owner/name", "the handler in the current folder"],
    [
      "hubserve push . owner/name --include labels.json -m 'Mend the labels'",
      "with a file that it reads",
    ],
    ["hubserve push owner/name --dry-run --json", "for a script: what would change"],
  ],
};

export const PULL: ManualPage = {
  about:
    "Downloads what serving needs into a plain folder: files, no links. A download that was broken off goes on where it\n" +
    "stopped, and files that you have changed are left alone.",
  flags: [
    { flag: "all", meaning: "Every file of the repository, weights of all formats too" },
    { flag: "force", short: "f", meaning: "Write over files that were changed here" },
    JSON_FLAG,
  ],
  options: ["dtype", "revision", "include", "exclude", ...HUB, ...LOGGING],
  examples: [
    ["hubserve pull owner/name", "into the folder ./name"],
    ["hubserve pull owner/name@v1.0 ./model --dtype fp32", "a tag, and its fp32 weights"],
  ],
};

export const DOCTOR: ManualPage = {
  about:
    "Looks at this machine, the Hub and, where one is named, a repository, and says how to mend what is wrong.\n" +
    "Nothing is downloaded but small files, and no model is loaded. Exit code 1 where something would fail.",
  flags: [JSON_FLAG],
  options: [
    "task",
    "dtype",
    "revision",
    "modelId",
    "modelDir",
    "host",
    "port",
    "workers",
    "minWorkers",
    "maxWorkers",
    "threads",
    ...HUB,
    ...CACHES,
    ...LOGGING,
  ],
  examples: [
    ["hubserve doctor", "this machine"],
    ["hubserve doctor owner/name --json", "and whether a model of the Hub can be served on it"],
  ],
};

export const BENCH: ManualPage = {
  about:
    "Sends requests to a server, or starts one for a repository, and prints how fast it answers: requests a second,\n" +
    "latencies as the client sees them, and the server's own times. The payload is the model's example unless you name one.",
  flags: [
    {
      flag: "concurrency",
      short: "c",
      value: "<count>",
      meaning: "Connections at once (default: 8)",
    },
    {
      flag: "duration",
      short: "d",
      value: "<duration>",
      meaning: "How long to measure (default: 10s)",
    },
    {
      flag: "requests",
      short: "n",
      value: "<count>",
      meaning: "Stop after so many requests instead",
    },
    { flag: "warm-up", value: "<count>", meaning: "Requests before the clock starts (default: 8)" },
    {
      flag: "payload",
      short: "p",
      value: "<json>",
      meaning: "The body: JSON, or @file with JSON, an image or a sound",
    },
    { flag: "path", value: "<path>", meaning: "Where to send it (default: /)" },
    JSON_FLAG,
  ],
  options: ["workers", "batchSize", "maxBatchDelayMs", ...LOADING],
  examples: [
    ["hubserve bench", "the server on http://localhost:8080"],
    ["hubserve bench http://localhost:8080 -c 32 -d 30s", "more clients, longer"],
    ["hubserve bench ./my-model --workers 2", "starts a server, measures it and ends it"],
  ],
};

export const TYPES: ManualPage = {
  about:
    "With them comes the type of a function that asks it. A server is asked for its /openapi.json, with the key in\n" +
    "HUBSERVE_API_KEY where it wants one; a reference is loaded. Without either: the current folder.",
  flags: [
    {
      flag: "model",
      value: "<name>",
      meaning: "Which of a server's models; its first one otherwise",
    },
  ],
  options: ["dialect", ...LOADING],
  examples: [
    ["hubserve types > client.d.ts", "of the repository in the current folder"],
    ["hubserve types http://localhost:8080 > client.d.ts", "of a running server's model"],
  ],
};

/** By the command's name. */
export const MANUAL: Readonly<Record<string, ManualPage>> = {
  serve: {
    about: "Without a reference: HF_MODEL_DIR, HF_MODEL_ID, /repository, the current folder.",
    flags: [],
    options: "all",
    examples: [
      ["hubserve owner/name", "a model of the Hub on port 8080"],
      ["hubserve . --dev", "the current folder, loaded anew on each save"],
      ["HF_MODEL_ID=owner/name hubserve --port 9000", "from the environment"],
    ],
  },
  call: {
    about:
      "A payload is JSON, @file with JSON, an image or a sound, or - for JSON on stdin. The handler runs in this very\n" +
      "process, so a debugger reaches it.",
    flags: [
      { flag: "watch", meaning: "Run again on each save" },
      { flag: "json", meaning: "Print the answer on one line, for a script" },
    ],
    options: LOADING,
    examples: [
      [`hubserve call '{"inputs": "I love you"}'`, "the handler in the current folder"],
      ["hubserve call owner/name @cat.png", "a model of the Hub on a picture"],
    ],
  },
  init: INIT,
  push: PUSH,
  pull: PULL,
  doctor: DOCTOR,
  bench: BENCH,
  types: TYPES,
  describe: {
    flags: [JSON_FLAG],
    options: [],
    examples: [["hubserve describe http://localhost:8080 --json", "what it serves, for a script"]],
  },
  config: {
    about: "Takes every option of `hubserve serve`, and reads the same variables and files.",
    flags: [JSON_FLAG],
    options: "all",
    examples: [["PORT=9000 hubserve config", "shows 9000 beside its origin, PORT"]],
  },
  archive: {
    flags: [
      { flag: "model-name", value: "<name>", meaning: "What the archive and the model are called" },
      { flag: "version", short: "v", value: "<version>", meaning: "The model's version" },
      { flag: "handler", value: "<file>", meaning: "The handler, or one of TorchServe's by name" },
      { flag: "serialized-file", value: "<file>", meaning: "The weights" },
      { flag: "model-file", value: "<file>", meaning: "The model's own code" },
      {
        flag: "extra-files",
        value: "<list>",
        meaning: "Further files and folders; may be repeated",
      },
      { flag: "requirements-file", short: "r", value: "<file>", meaning: "What the handler needs" },
      { flag: "config-file", short: "c", value: "<file>", meaning: "Its model-config.yaml" },
      {
        flag: "runtime",
        value: "<runtime>",
        meaning: "node, or python for TorchServe (default: node)",
      },
      {
        flag: "archive-format",
        value: "<format>",
        meaning: "default (.mar), zip-store, tgz or no-archive",
      },
      { flag: "export-path", value: "<folder>", meaning: "Where the archive goes (default: .)" },
      { flag: "force", short: "f", meaning: "Write over an archive that is there" },
      JSON_FLAG,
    ],
    options: [],
    examples: [
      [
        "hubserve archive --model-name mine --version 1.0 --handler handler.ts --extra-files .",
        "mine.mar",
      ],
    ],
  },
  start: {
    about:
      "Takes the options of `hubserve serve` and the flags of `torchserve --start`. The log is in logs/hubserve.log.",
    flags: [{ flag: "foreground", meaning: "Do not go into the background" }],
    options: "all",
    examples: [["hubserve start --model-store models --models all", "everything in a store"]],
  },
  stop: { flags: [], options: ["cache"], examples: [["hubserve stop", "ends what `start` began"]] },
};
