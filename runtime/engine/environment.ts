/**
 * The environment that workers get: the server's, without what is secret.
 *
 * A handler is other people's code, and so is what it imports. It gets neither the server's own secrets, the Hub's token and
 * the API keys, nor any other variable that looks like one, by its name or by its value; `--handler-env` names those that it
 * should have all the same. The rule is a sieve for what somebody forgot, no wall: a handler still reads files as the user
 * that it runs as.
 */

export interface EnvironmentOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Variables that hold secrets of the server's own, or say where they are. */
  readonly own: readonly string[];
  /** What the server's own secrets are: no variable may hold one, whatever its name. */
  readonly secrets: readonly string[];
  /** Variables that workers get though they look like secrets. */
  readonly passed: readonly string[];
}

export interface WorkerEnvironment {
  readonly env: Readonly<Record<string, string>>;
  /** Names of variables that were kept back for how they look, in order. */
  readonly withheld: readonly string[];
}

export function workerEnvironment(options: EnvironmentOptions): WorkerEnvironment {
  const [own, passed] = [new Set(options.own), new Set(options.passed)];
  const secrets = options.secrets.filter(({ length }) => length >= SHORTEST_SECRET);
  const env: Record<string, string> = {};
  const withheld: string[] = [];
  for (const [name, value] of Object.entries(options.env)) {
    if (value === undefined) continue;
    if (passed.has(name)) env[name] = value;
    else if (own.has(name)) continue;
    else if (looksSecret(name, value) || secrets.some((secret) => value.includes(secret)))
      withheld.push(name);
    else env[name] = value;
  }
  return { env, withheld: withheld.sort() };
}

/** Shorter ones would be found in values that have nothing to do with them. */
const SHORTEST_SECRET = 8;

/** Words of a name, between underscores, that stand for a secret. */
const SECRET_WORDS = new Set(
  (
    "TOKEN TOKENS SECRET SECRETS PASSWORD PASSWORDS PASSWD PASSPHRASE PASS PWD KEY KEYS APIKEY APIKEYS ACCESSKEY " +
    "CREDENTIAL CREDENTIALS CREDS AUTH AUTHORIZATION COOKIE COOKIES PRIVATE JWT PAT SAS DSN SALT WEBHOOK SIGNATURE HEADERS"
  ).split(" "),
);

/** What shells keep the folders in. */
const NOT_SECRET = new Set(["PWD", "OLDPWD"]);

/** Beginnings of tokens that the services that give them out have made recognizable, private keys, and JSON web tokens. */
const SECRET_VALUE =
  /^(?:hf_|sk-|sk_live_|ghp_|gho_|ghs_|github_pat_|glpat-|xox[abprs]-|AKIA|ASIA|AIza|npm_[A-Za-z\d]{30}|-----BEGIN|eyJ[\w-]{10,}\.)/;

/** A number is a limit, as in `MAX_BATCH_TOTAL_TOKENS`. */
const COUNT = /^\d+$/;

function looksSecret(name: string, value: string): boolean {
  if (NOT_SECRET.has(name) || value === "") return false;
  const words = name.toUpperCase().split(/[_.-]+/);
  if (words.at(-1) === "TOKENS" && COUNT.test(value)) return false;
  if (words.some((word) => SECRET_WORDS.has(word)) || /CONNECTION_?STRING/i.test(name)) return true;
  return SECRET_VALUE.test(value) || hasCredentials(value);
}

/** `postgres://user:password@host`: a URL, or what begins like one, with a password in it. */
function hasCredentials(value: string): boolean {
  const begin = value.indexOf("://");
  if (begin === -1) return false;
  const authority = value.slice(begin + 3).split(/[/?#\s]/, 1)[0] ?? "";
  const at = authority.lastIndexOf("@");
  return at > 0 && authority.slice(0, at).includes(":");
}
