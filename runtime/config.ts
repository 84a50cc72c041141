/**
 * The one door for configuration: flags over environment over files over defaults, checked, frozen. Of the files the
 * repository's own (`withFileSettings`) goes over the server's (`torchserve-config.ts`).
 *
 * Every value knows where it came from, so that a message can say which flag or variable to mend.
 */
import { readFileSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { RuntimeError } from "./errors.ts";
import { isFromKServe, readKServeArguments } from "./kserve-arguments.ts";
import { placeToWrite } from "./moved-files.ts";
import { nearestWord } from "./nearest-word.ts";
import {
  OPTION_NAMES,
  OPTIONS,
  variablesOf,
  type OptionName,
  type OptionRow,
  type OptionValues,
} from "./options.ts";
import { readConfigFile, type ConfigFile } from "./torchserve-config.ts";
import {
  readTorchServeVolume,
  settingsOfVolume,
  type TorchServeVolume,
} from "./torchserve-volume.ts";

/** A program's surroundings, read once by its main. */
export interface Surroundings {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly home: string;
}

export type Config = Omit<OptionValues, "hubCache" | "cache"> & {
  /** What to serve, as given after the command: a folder or a Hub reference. */
  readonly reference: string | undefined;
  /** The remaining words after the reference. */
  readonly words: readonly string[];
  readonly hubCache: string;
  readonly cache: string;
  /** Where each value came from: `"--port"`, `"PORT"`, `"model-config.yaml"`, `"default"`. */
  readonly origins: Readonly<Record<OptionName, string>>;
  /** TorchServe's `config.properties`, or a snapshot, where there is one. */
  readonly configFile: ConfigFile | undefined;
  /** What a person should know of how the configuration was read, and what was decided for them. */
  readonly notices: readonly Notice[];
  /** The environment, for the programs that are started. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
};

export interface Notice {
  readonly level: "info" | "warn";
  readonly text: string;
}

/** What a repository says about how to serve it, under the names of the options. */
export interface FileSettings {
  /** Its name, which becomes the origin of its values: `model-config.yaml`. */
  readonly file: string;
  readonly settings: { readonly [Name in OptionName]?: Exclude<OptionValues[Name], undefined> };
}

/** Reads the process's own surroundings. Only mains call it. */
export function readSurroundings(): Surroundings {
  return { args: process.argv.slice(2), env: process.env, cwd: process.cwd(), home: readHome() };
}

/** A container's user may have any number, and neither a name nor a home. */
function readHome(): string {
  try {
    return homedir();
  } catch {
    return "/";
  }
}

/**
 * Tells onnxruntime not to phone home. It reads the variable once, when it loads, so mains call this first.
 */
export function disableTelemetry(): void {
  process.env["ORT_DISABLE_TELEMETRY"] ??= "1";
}

/** Whether the module of that URL is the program that was started, and not imported by another. */
export function isMain(moduleUrl: string): boolean {
  const started = process.argv[1];
  return started !== undefined && realpathSync(started) === fileURLToPath(moduleUrl);
}

/**
 * Turns surroundings into a configuration.
 *
 * @throws RuntimeError `INVALID_OPTION` for an unknown flag, a bad value or a flag that takes no secret.
 */
export function readConfig({ args: given, env, cwd, home }: Surroundings): Config {
  const { args, warnings } = isFromKServe(given, env)
    ? readKServeArguments(given, KNOWN_FLAGS)
    : { args: given, warnings: [] };
  const { flags, words } = parseFlags(args);
  const values: Record<string, unknown> = {};
  const origins: Record<string, string> = {};
  const volume = findVolume(flags, words[0], { env, cwd });
  const configFile = volume ? volume.configFile : findConfigFile(flags, words[0], { env, cwd });
  const volumeSettings = volume && settingsOfVolume(volume);
  for (const name of OPTION_NAMES) {
    const { value, origin } = readOption(OPTIONS[name], flags.get(name), env, configFile, name);
    const isVolumes = origin === "default" && volumeSettings?.[name] !== undefined;
    values[name] = isVolumes ? volumeSettings[name] : value;
    origins[name] = isVolumes ? "the volume" : origin;
  }
  // Proof of the cast: the loop went over every name, and readOption returns what the row's own parse made.
  const read = values as OptionValues;

  const cacheHome = env["XDG_CACHE_HOME"] || join(home, ".cache");
  const hfHome = env["HF_HOME"] || join(cacheHome, "huggingface");
  const isCompat = isOn(env["API_INFERENCE_COMPAT"]);
  const isMounted = env["STORAGE_URI"] && origins["modelDir"] === "default";
  if (isMounted) origins["modelDir"] = "STORAGE_URI";
  const place = (name: "keyFile" | "snapshots"): string =>
    placeToWrite(read[name], origins[name] === "default", cwd);
  const config: Config = Object.freeze({
    ...read,
    // int8 is for processors.
    dtype: read.dtype ?? (read.device === "cpu" ? undefined : "fp32"),
    modelDir: volume ? undefined : isMounted ? MOUNTED_MODELS : read.modelDir,
    keyFile: place("keyFile"),
    snapshots: place("snapshots"),
    dialect: isCompat && origins["dialect"] === "default" ? "hf-inference" : read.dialect,
    token: read.token ?? readStoredToken(env["HF_TOKEN_PATH"] || join(hfHome, "token")),
    hubCache: read.hubCache ?? join(hfHome, "hub"),
    cache: read.cache ?? join(cacheHome, "hubserve"),
    reference: words[0],
    words: words.slice(1),
    origins: Object.freeze(origins) as Config["origins"], // every name was set in the loop above
    configFile,
    notices: [
      ...warnings.map((text) => ({ level: "warn" as const, text })),
      ...(volume ? [{ level: "info" as const, text: volume.found }] : []),
    ],
    env,
    cwd,
  });
  const conflict = findConflict(config);
  if (conflict !== undefined) throw new RuntimeError("INVALID_OPTION", conflict.sentence);
  return config;
}

/**
 * Lays a repository's settings under what flags and variables say and over the defaults.
 *
 * A bound on workers that cannot hold together with a given one yields to it: who starts the server is nearer to the
 * machine than who wrote the repository.
 */
export function withFileSettings(config: Config, { file, settings }: FileSettings): Config {
  const values: Record<string, unknown> = {};
  const origins: Record<string, string> = {};
  for (const name of OPTION_NAMES) {
    const value = settings[name];
    if (value === undefined || !yieldsToFile(config, name)) continue;
    // `--workers` says both bounds.
    const isBound = name === "minWorkers" || name === "maxWorkers";
    if (isBound && !yieldsToFile(config, "workers")) continue;
    values[name] = value;
    origins[name] = file;
  }
  // Proof of the cast: each value stands under its own option's name, as FileSettings' type asks.
  const merged = { ...config, ...values, origins: { ...config.origins, ...origins } } as Config;
  const conflict = findConflict(merged);
  const bounds = conflict && {
    [merged.origins[conflict.least] === file ? conflict.least : conflict.most]:
      merged.origins[conflict.least] === file ? merged[conflict.most] : merged[conflict.least],
  };
  return Object.freeze({ ...merged, ...bounds, origins: Object.freeze(merged.origins) });
}

/** What the server's own file says is for all models; what a model's file says of itself goes over it. */
function yieldsToFile({ origins, configFile }: Config, name: OptionName): boolean {
  const value = configFile?.values.get(name);
  const isFromFile = value?.isFromVariable === false && value.origin === origins[name];
  return origins[name] === "default" || isFromFile;
}

/** The options as a table for the help or, with `markdown`, for the README. */
export function describeOptions(): readonly {
  name: OptionName;
  row: OptionRow;
  variables: readonly string[];
}[] {
  return OPTION_NAMES.map((name) => ({
    name,
    row: OPTIONS[name],
    variables: variablesOf(OPTIONS[name]),
  }));
}

/** Where KServe's storage initializer puts what `storageUri` names. */
const MOUNTED_MODELS = "/mnt/models";

const KNOWN_FLAGS = OPTION_NAMES.map((name) => ({
  flag: OPTIONS[name].flag,
  takesValue: (OPTIONS[name] as OptionRow).value !== undefined,
}));

/** A TorchServe volume at `--model-dir`; whoever names a model or a configuration file wants that. */
function findVolume(
  flags: ReadonlyMap<OptionName, readonly string[]>,
  reference: string | undefined,
  { env, cwd }: Pick<Surroundings, "env" | "cwd">,
): TorchServeVolume | undefined {
  const read = (name: OptionName): unknown => readOption(OPTIONS[name], flags.get(name), env).value;
  const isNamed = reference !== undefined || (read("modelStore") ?? read("tsConfig")) !== undefined;
  const folder = read("modelDir") ?? (env["STORAGE_URI"] ? MOUNTED_MODELS : undefined);
  return isNamed || typeof folder !== "string"
    ? undefined
    : readTorchServeVolume(resolve(cwd, folder), env);
}

type WorkerOption = "workers" | "minWorkers" | "maxWorkers";

/** Two options that say opposite things, in a sentence for people. */
function findConflict(
  config: Config,
): { least: WorkerOption; most: WorkerOption; sentence: string } | undefined {
  const least = config.minWorkers === undefined ? "workers" : "minWorkers";
  const most = config.maxWorkers === undefined ? "workers" : "maxWorkers";
  const [fewest, highest] = [config[least], config[most]];
  if (fewest === undefined || highest === undefined || fewest <= highest) return undefined;
  const { origins } = config;
  const sentence = `Cannot use ${origins[least]}: found ${fewest}, wanted at most ${highest}, as ${origins[most]} says`;
  return { least, most, sentence };
}

function parseFlags(args: readonly string[]): {
  flags: Map<OptionName, readonly string[]>;
  words: string[];
} {
  const rows = OPTION_NAMES.map((name) => ({ name, row: OPTIONS[name] as OptionRow }));
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: Object.fromEntries(
      rows.map(({ row }) => [row.flag, { type: row.value === undefined ? "boolean" : "string" }]),
    ),
  });
  const flags = new Map<OptionName, readonly string[]>();
  const words: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    const found = rows.find(({ row }) => row.flag === token.name);
    if (found === undefined)
      throw unknownFlag(
        token.rawName,
        rows.map(({ row }) => row.flag),
      );
    const { name, row } = found;
    if (row.isSecret) {
      throw new RuntimeError(
        "INVALID_OPTION",
        `Cannot take "--${row.flag}": arguments can be read by every user of a machine; set the variable ${row.variables[0]}`,
      );
    }
    if (row.value !== undefined && token.value === undefined) {
      throw new RuntimeError(
        "INVALID_OPTION",
        `Cannot read "--${row.flag}": it takes a value, --${row.flag} ${row.value}`,
      );
    }
    flags.set(name, [...(flags.get(name) ?? []), token.value ?? "true"]);
  }
  return { flags, words };
}

function unknownFlag(rawName: string, known: readonly string[]): RuntimeError {
  const near = nearestWord(rawName.replace(/^-+/, ""), known);
  const advice =
    near === undefined ? "`hubserve help options` lists them" : `did you mean "--${near}"`;
  return new RuntimeError(
    "INVALID_OPTION",
    `Cannot read the options: "${rawName}" is not one; ${advice}`,
  );
}

/** The server's own file; snapshots are of what a model store serves, so nobody who names a model wants one. */
function findConfigFile(
  flags: ReadonlyMap<OptionName, readonly string[]>,
  reference: string | undefined,
  { env, cwd }: Pick<Surroundings, "env" | "cwd">,
): ConfigFile | undefined {
  const read = <Name extends OptionName>(name: Name): OptionValues[Name] =>
    // Proof of the cast: readOption returns what the row's own parse made.
    readOption(OPTIONS[name], flags.get(name), env).value as OptionValues[Name];
  const isGiven = (name: OptionName): boolean =>
    readOption(OPTIONS[name], flags.get(name), env).origin !== "default";
  const hasSnapshots = reference === undefined && !read("noConfigSnapshots");
  return readConfigFile({
    named: read("tsConfig"),
    snapshots: hasSnapshots
      ? resolve(cwd, placeToWrite(read("snapshots"), !isGiven("snapshots"), cwd))
      : undefined,
    cwd,
    env,
  });
}

function readOption(
  row: OptionRow,
  flagged: readonly string[] | undefined,
  env: Surroundings["env"],
  file?: ConfigFile,
  name?: OptionName,
): { value: unknown; origin: string } {
  if (flagged !== undefined) {
    const origin = `--${row.flag}`;
    const parsed = flagged.map((text) => parseValue(row, text, origin));
    return { value: row.isList ? parsed.flat() : parsed.at(-1), origin };
  }
  for (const variable of variablesOf(row)) {
    const text = env[variable];
    // An empty variable is how compose files and manifests spell "not set".
    if (text === undefined || text === "") continue;
    return { value: parseValue(row, text, variable), origin: variable };
  }
  const filed = name === undefined ? undefined : file?.values.get(name);
  if (filed !== undefined)
    return { value: parseValue(row, filed.text, filed.origin), origin: filed.origin };
  return { value: row.default, origin: "default" };
}

function parseValue(row: OptionRow, text: string, origin: string): unknown {
  try {
    return row.parse(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const found = row.isSecret ? "a value that does not fit" : `"${text}"`;
    throw new RuntimeError(
      "INVALID_OPTION",
      `Cannot read ${origin}: found ${found}, wanted ${error.message}`,
    );
  }
}

/** The token that `hf auth login` stored, or `undefined`. */
function readStoredToken(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim() || undefined;
  } catch {
    return undefined; // not logged in: public repositories need no token
  }
}

function isOn(text: string | undefined): boolean {
  return text !== undefined && ["1", "true", "yes", "on"].includes(text.trim().toLowerCase());
}
