/**
 * Creates an Inference Endpoint of Hugging Face that runs hubserve's image, or updates the one of that name.
 *
 *     HF_TOKEN=hf_… npx tsx scripts/deploy-inference-endpoint.ts owner/name --image registry.example.com/hubserve:0.1.0
 *
 * `--dry-run` prints the request and sends nothing; deploy/inference-endpoints/README.md has the rest. The API is the one of
 * `huggingface_hub` 1.x (`create_inference_endpoint`, `update_inference_endpoint`), described at
 * https://api.endpoints.huggingface.cloud.
 */
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { z } from "zod";

const USAGE = `usage: HF_TOKEN=hf_… npx tsx scripts/deploy-inference-endpoint.ts <owner/name> --image <image> [options]
  --name <name>           of the endpoint; the repository's, where absent
  --namespace <name>      a user or an organization; the token's own, where absent
  --revision <revision>   branch, tag or commit of the repository
  --task <task>           custom
  --type <type>           protected, public, private: who may ask
  --vendor <vendor>       aws      --region <region>        us-east-1
  --accelerator <kind>    cpu      --instance-type <type>   intel-spr      --instance-size <size>   x2
  --min-replica <count>   1        --max-replica <count>    1
  --scale-to-zero <min>   minutes without a request; needs --min-replica 0
  --env <NAME=value>      for the container; may be repeated
  --secret <NAME>         likewise, its value taken from this program's environment
  --no-wait               return when the request is accepted
  --timeout <minutes>     the longest to wait until it runs (30)
  --dry-run               print the request, send nothing
A private registry's user and password come from REGISTRY_USERNAME and REGISTRY_PASSWORD.`;

const OPTIONS = {
  image: { type: "string" },
  name: { type: "string" },
  namespace: { type: "string" },
  revision: { type: "string" },
  task: { type: "string", default: "custom" },
  type: { type: "string", default: "protected" },
  vendor: { type: "string", default: "aws" },
  region: { type: "string", default: "us-east-1" },
  accelerator: { type: "string", default: "cpu" },
  "instance-type": { type: "string", default: "intel-spr" },
  "instance-size": { type: "string", default: "x2" },
  "min-replica": { type: "string", default: "1" },
  "max-replica": { type: "string", default: "1" },
  "scale-to-zero": { type: "string" },
  env: { type: "string", multiple: true },
  secret: { type: "string", multiple: true },
  "no-wait": { type: "boolean", default: false },
  timeout: { type: "string", default: "30" },
  "dry-run": { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** What a person has to mend on the command line. */
class UsageError extends Error {}

interface Plan {
  readonly name: string;
  readonly namespace: string | undefined;
  /** What creates it. */
  readonly request: Readonly<Record<string, unknown>> & {
    readonly compute: object;
    readonly model: object;
  };
  readonly isDryRun: boolean;
  readonly waits: boolean;
  readonly timeoutMs: number;
}

/** @throws UsageError */
function readPlan(args: readonly string[], env: Environment): Plan | undefined {
  const { values, positionals } = parse(args);
  if (values.help) return undefined;
  const [repository, ...more] = positionals;
  if (repository === undefined || !/^[\w.-]+\/[\w.-]+$/.test(repository) || more.length > 0)
    throw new UsageError("wanted one Hub repository, owner/name");
  if (values.image === undefined) throw new UsageError("wanted --image, where hubserve was pushed");
  const name = values.name ?? defaultName(repository);
  if (!/^[a-z][a-z0-9-]{2,30}[a-z0-9]$/.test(name)) {
    throw new UsageError(
      `--name is "${name}"; wanted 4 to 32 lower case letters, digits and dashes, a letter first`,
    );
  }
  const minReplica = toCount("--min-replica", values["min-replica"], 0);
  const maxReplica = toCount("--max-replica", values["max-replica"], 1);
  if (minReplica > maxReplica)
    throw new UsageError(`--min-replica is ${minReplica}, more than --max-replica, ${maxReplica}`);
  const idle = values["scale-to-zero"];
  if (idle !== undefined && minReplica > 0)
    throw new UsageError("--scale-to-zero needs --min-replica 0");
  const credentials = readCredentials(env);
  return {
    name,
    namespace: values.namespace,
    request: {
      name,
      type: toChoice("--type", values.type, ["protected", "public", "private"]),
      provider: { vendor: values.vendor, region: values.region },
      compute: {
        accelerator: toChoice("--accelerator", values.accelerator, ["cpu", "gpu"]),
        instanceType: values["instance-type"],
        instanceSize: values["instance-size"],
        scaling: {
          minReplica,
          maxReplica,
          ...(idle !== undefined && { scaleToZeroTimeout: toCount("--scale-to-zero", idle, 15) }),
        },
      },
      model: {
        repository,
        ...(values.revision !== undefined && { revision: values.revision }),
        task: values.task,
        framework: "custom",
        image: {
          custom: {
            url: values.image,
            port: 8080,
            healthRoute: "/health",
            ...(credentials !== undefined && { credentials }),
          },
        },
        // The platform mounts the repository there; hubserve would find it by itself, this says so.
        env: { HF_MODEL_DIR: "/repository", ...readPairs(values.env ?? []) },
        secrets: readSecrets(values.secret ?? [], env),
      },
    },
    isDryRun: values["dry-run"],
    waits: !values["no-wait"],
    timeoutMs: toCount("--timeout", values.timeout, 1) * 60_000,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** The repository's name, as far as a host's name may say it. */
function defaultName(repository: string): string {
  const name = repository.split("/")[1] ?? "";
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^[^a-z]+/g, "")
    .slice(0, 32)
    .replace(/-+$/, "");
}

function toCount(flag: string, text: string, least: number): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && count >= least) return count;
  throw new UsageError(`${flag} is "${text}"; wanted a whole number from ${least} on`);
}

function toChoice(flag: string, text: string, choices: readonly string[]): string {
  if (choices.includes(text)) return text;
  throw new UsageError(`${flag} is "${text}"; wanted one of ${choices.join(", ")}`);
}

function readPairs(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(pair) ?? [];
      if (name === undefined || value === undefined)
        throw new UsageError(`--env is "${pair}"; wanted NAME=value`);
      return [name, value];
    }),
  );
}

function readSecrets(names: readonly string[], env: Environment): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => {
      const value = env[name];
      if (value !== undefined && value !== "") return [name, value];
      throw new UsageError(`--secret names ${name}, and there is no such variable`);
    }),
  );
}

function readCredentials(env: Environment): { username: string; password: string } | undefined {
  const [username, password] = [env["REGISTRY_USERNAME"], env["REGISTRY_PASSWORD"]];
  if (!username && !password) return undefined;
  if (username && password) return { username, password };
  throw new UsageError("REGISTRY_USERNAME and REGISTRY_PASSWORD come together");
}

const Endpoint = z.looseObject({
  status: z.looseObject({
    state: z.string(),
    message: z.string().optional(),
    url: z.string().optional(),
  }),
});
type Endpoint = z.infer<typeof Endpoint>;

const Account = z.looseObject({ name: z.string() });

/** Longer explanations are no explanations. */
const LONGEST_REASON = 500;

interface Api {
  readonly send: (method: string, url: string, body?: unknown) => Promise<Response>;
}

function createApi(token: string): Api {
  return {
    send: (method, url, body) =>
      fetch(url, {
        method,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(60_000),
      }).catch((error: unknown) => {
        const why = error instanceof Error ? ((error.cause as Error | undefined) ?? error) : error;
        throw new Error(`Cannot reach ${new URL(url).origin}: ${String(why)}`, { cause: error });
      }),
  };
}

/** @throws Error with what the API said, where it refuses. */
async function read<S extends z.ZodType>(
  response: Response,
  what: string,
  schema: S,
): Promise<z.output<S>> {
  const text = await response.text();
  if (!response.ok) {
    const [, said = text] = /"(?:error|message)"\s*:\s*"((?:[^"\\]|\\.)*)"/.exec(text) ?? [];
    const hint =
      response.status === 401 || response.status === 403
        ? "; the token needs the right to manage endpoints of this namespace"
        : "";
    const reason = said.slice(0, LONGEST_REASON);
    throw new Error(`Cannot ${what}: the API answered ${response.status} (${reason})${hint}`);
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    const shown = text.slice(0, LONGEST_REASON);
    throw new Error(`Cannot ${what}: the API answered with what is no such thing: ${shown}`, {
      cause: error,
    });
  }
}

/** Creates it, or changes the one of that name. */
async function createOrUpdate(
  { name, request }: Plan,
  url: string,
  api: Api,
): Promise<{ endpoint: Endpoint; done: string }> {
  const found = await api.send("GET", `${url}/${name}`);
  if (found.status === 404) {
    const response = await api.send("POST", url, request);
    return { endpoint: await read(response, `create "${name}"`, Endpoint), done: "Created" };
  }
  await read(found, `look for "${name}"`, Endpoint);
  // Where it stands and what it is called cannot be changed.
  const { compute, model } = request;
  const response = await api.send("PUT", `${url}/${name}`, { compute, model });
  return { endpoint: await read(response, `update "${name}"`, Endpoint), done: "Updated" };
}

const DONE = ["running", "scaledToZero", "paused"];
const FAILED = ["failed", "updateFailed"];

/** Settles when it runs. */
async function waitUntilRunning(
  { name, timeoutMs }: Plan,
  url: string,
  api: Api,
  lookEveryMs: number,
): Promise<Endpoint> {
  const deadlineMs = performance.now() + timeoutMs;
  let shown = "";
  for (;;) {
    const response = await api.send("GET", `${url}/${name}`);
    const endpoint = await read(response, `look after "${name}"`, Endpoint);
    const { state, message = "" } = endpoint.status;
    if (FAILED.includes(state)) throw new Error(`Cannot start "${name}": ${message || state}`);
    if (DONE.includes(state)) return endpoint;
    const line = `${state}${message && `: ${message}`}`;
    if (line !== shown) console.log((shown = line));
    if (performance.now() > deadlineMs)
      throw new Error(
        `Cannot start "${name}": it is still ${state} after ${timeoutMs / 60_000} min`,
      );
    await delay(lookEveryMs);
  }
}

/** Without what must not be read over somebody's shoulder. */
function redacted(request: Plan["request"]): string {
  const hide = (key: string, value: unknown): unknown =>
    (key === "secrets" || key === "credentials") && typeof value === "object" && value !== null
      ? Object.fromEntries(Object.keys(value).map((name) => [name, "…"]))
      : value;
  return JSON.stringify(request, hide, 2);
}

async function main(args: readonly string[], env: Environment): Promise<void> {
  const plan = readPlan(args, env);
  if (plan === undefined) return console.log(USAGE);
  const base = (env["HF_ENDPOINTS_API"] || "https://api.endpoints.huggingface.cloud/v2").replace(
    /\/+$/,
    "",
  );
  if (plan.isDryRun) {
    const url = `${base}/endpoint/${plan.namespace ?? "<namespace>"}`;
    console.log(`POST ${url}\n${redacted(plan.request)}`);
    console.log(`or, where it exists already, PUT ${url}/${plan.name} with "compute" and "model"`);
    return;
  }
  const token = env["HF_TOKEN"];
  if (!token) throw new UsageError("wanted HF_TOKEN, a token that may manage endpoints");
  const api = createApi(token);
  const hub = (env["HF_ENDPOINT"] || "https://huggingface.co").replace(/\/+$/, "");
  const namespace =
    plan.namespace ??
    (await read(await api.send("GET", `${hub}/api/whoami-v2`), "ask whose token it is", Account))
      .name;
  const url = `${base}/endpoint/${encodeURIComponent(namespace)}`;
  const { endpoint, done } = await createOrUpdate(plan, url, api);
  console.log(`${done} ${namespace}/${plan.name}: ${endpoint.status.state}`);
  if (!plan.waits) return;
  const lookEveryMs = Number(env["LOOK_EVERY_MS"] || 5000);
  const { status } = await waitUntilRunning(plan, url, api, lookEveryMs);
  console.log(
    `${plan.name} is ${status.state}${status.url === undefined ? "" : `: ${status.url}`}`,
  );
}

main(process.argv.slice(2), process.env).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  if (error instanceof UsageError) console.error(USAGE);
  process.exitCode = error instanceof UsageError ? 2 : 1;
});
