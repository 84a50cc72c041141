/**
 * Where traces go, and which: OpenTelemetry's own variables, as every service that is traced knows them.
 *
 * A mistake in them is a warning, never the end of the server. What concerns the sending alone (TLS, compression, timeouts,
 * `OTEL_BSP_…`, `OTEL_SPAN_…LIMIT`) is read by OpenTelemetry itself.
 * Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and …/protocol/exporter/
 */

export interface TraceSettings {
  /** Where spans are posted: `http://collector:4318/v1/traces`. */
  readonly url: string;
  /** The same, for people: without credentials. */
  readonly shownUrl: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly serviceName: string;
  /** Of the resource, besides the service's name. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly sampler: SamplerChoice;
}

export interface SamplerChoice {
  readonly name: (typeof SAMPLERS)[number];
  /** For a `traceidratio`: from 0 to 1. */
  readonly ratio: number;
}

export const SAMPLERS = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
] as const;

/** The variables that may hold keys: handlers do not get them, and the log does not show them. */
export const SECRET_TRACE_VARIABLES = [
  "OTEL_EXPORTER_OTLP_HEADERS",
  "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
] as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** @returns No settings where nobody collects traces. */
export function readTraceSettings(env: Environment): {
  readonly settings: TraceSettings | undefined;
  readonly warnings: readonly string[];
} {
  const warnings: string[] = [];
  const warn = (text: string): void => void warnings.push(text);
  const read = (name: string): string | undefined => env[name]?.trim() || undefined;
  const isDisabled = read("OTEL_SDK_DISABLED")?.toLowerCase() === "true";
  const exporters = read("OTEL_TRACES_EXPORTER")?.split(",") ?? ["otlp"];
  if (isDisabled || !exporters.includes("otlp")) return { settings: undefined, warnings };
  const url = readUrl(read, warn);
  if (url === undefined) return { settings: undefined, warnings };

  const protocol =
    read("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") ?? read("OTEL_EXPORTER_OTLP_PROTOCOL");
  if (protocol !== undefined && protocol !== "http/json")
    warn(
      `Traces are sent as http/json, not as OTEL_EXPORTER_OTLP_PROTOCOL's "${protocol}": the endpoint must be the collector's HTTP port, usually 4318`,
    );
  const attributes = readPairs("OTEL_RESOURCE_ATTRIBUTES", read, warn);
  const { "service.name": named, ...rest } = attributes;
  const settings = {
    url: url.href,
    shownUrl: `${url.origin}${url.pathname}`,
    headers: readTraceHeaders(env, warn),
    serviceName: read("OTEL_SERVICE_NAME") ?? named ?? "hubserve",
    attributes: rest,
    sampler: readSampler(read, warn),
  };
  return { settings, warnings };
}

/** Those for all signals, and over them those for traces. */
export function readTraceHeaders(
  env: Environment,
  warn: (text: string) => void = () => undefined,
): Readonly<Record<string, string>> {
  const read = (name: string): string | undefined => env[name]?.trim() || undefined;
  const [all, own] = SECRET_TRACE_VARIABLES;
  return { ...readPairs(all, read, warn), ...readPairs(own, read, warn) };
}

type Read = (name: string) => string | undefined;
type Warn = (text: string) => void;

function readUrl(read: Read, warn: Warn): URL | undefined {
  const own = read("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
  const all = read("OTEL_EXPORTER_OTLP_ENDPOINT");
  const given = own ?? all;
  if (given === undefined) return undefined;
  const name =
    own === undefined ? "OTEL_EXPORTER_OTLP_ENDPOINT" : "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    warn(`Cannot send traces: ${name} is no URL such as http://collector:4318; there are none`);
    return undefined;
  }
  if (own === undefined) url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/traces`;
  return url;
}

/** `key=value,key=value`, percent-encoded. A mistake makes all of it void, as the specification has it. */
function readPairs(name: string, read: Read, warn: Warn): Record<string, string> {
  const pairs = (read(name) ?? "").split(",").filter((part) => part.trim() !== "");
  try {
    return Object.fromEntries(
      pairs.map((pair) => {
        const place = pair.indexOf("=");
        const key = decodeURIComponent(pair.slice(0, Math.max(0, place)).trim());
        if (key === "") throw new RangeError("a pair without a key");
        return [key, decodeURIComponent(pair.slice(place + 1).trim())];
      }),
    );
  } catch {
    warn(`Ignoring ${name}: wanted key=value,key=value with other characters percent-encoded`); // its value may be a secret
    return {};
  }
}

function readSampler(read: Read, warn: Warn): SamplerChoice {
  const given = read("OTEL_TRACES_SAMPLER")?.toLowerCase() ?? "parentbased_always_on";
  const name = SAMPLERS.find((each) => each === given);
  if (name === undefined) {
    warn(
      `Ignoring OTEL_TRACES_SAMPLER: found "${given}", wanted one of ${SAMPLERS.join(", ")}; all requests are traced`,
    );
    return { name: "parentbased_always_on", ratio: 1 };
  }
  const text = read("OTEL_TRACES_SAMPLER_ARG");
  if (text === undefined || !name.endsWith("traceidratio")) return { name, ratio: 1 };
  const ratio = Number(text);
  if (ratio >= 0 && ratio <= 1) return { name, ratio };
  warn(
    `Ignoring OTEL_TRACES_SAMPLER_ARG: found "${text}", wanted a number from 0 to 1; all requests are traced`,
  );
  return { name, ratio: 1 };
}
