/**
 * The gRPC port: its services put together, opened, shut, closed.
 *
 * Beside the Open Inference Protocol it has gRPC's own health service and reflection (v1 and v1alpha), so that `grpcurl` and
 * its like need no file. It speaks in the clear, as the HTTP ports do: what ends TLS stands in front.
 */
import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { loadSync, type PackageDefinition } from "@grpc/proto-loader";
import { protoPath as healthProto, service as healthService } from "grpc-health-check";

import type { Models } from "../engine/models.ts";
import { messageOf, RuntimeError } from "../errors.ts";
import type { ApiKeys } from "../http/api-keys.ts";
import type { AccessLog } from "../http/access-log.ts";
import type { RepositoryRights } from "../http/protocols/open-inference.ts";
import { repositoryRule, type TokenAuthority } from "../http/token-auth.ts";
import type { Log } from "../observe/log.ts";
import type { Metrics } from "../observe/metrics.ts";
import type { Tracing } from "../observe/trace.ts";
import { loadInferenceDefinitions } from "./definitions.ts";
import { createHall, type Lock } from "./hall.ts";
import { createHealth } from "./health.ts";
import { INFERENCE_SERVICE } from "./inference-proto.ts";
import { createInferenceService } from "./inference-service.ts";
import { REPOSITORY_CHANGES } from "./repository-methods.ts";

export interface GrpcOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly models: Models;
  readonly metrics: Pick<Metrics, "call">;
  /** Of which every call needs one, but for those of health; none where absent. */
  readonly apiKeys?: ApiKeys | undefined;
  /** Whose inference keys are asked for; none are where absent. */
  readonly tokens?: TokenAuthority | undefined;
  /** Who may load and unload models; nobody where absent. */
  readonly repository?: RepositoryRights | undefined;
  readonly maxMessageBytes: number;
  readonly requestTimeoutMs: number;
  readonly version: string;
  /** Where spans are made; nowhere when absent. */
  readonly tracing?: Tracing | undefined;
  /** Which calls have a line in the log; as HTTP's. */
  readonly accessLog?: AccessLog | undefined;
  /** Milliseconds on the engine's clock. */
  readonly now?: () => number;
  readonly log: Log;
}

export interface GrpcGate {
  /** `localhost:9000`: what clients call their target. */
  readonly url: string;
  readonly port: number;
  /** Lets nobody in any more; settles when those who are in have left. */
  shut(): Promise<void>;
  /** Cuts everybody off. */
  close(): Promise<void>;
}

/**
 * A connection's calls at one time. Each may hold a message of the largest size, so this bounds a client's memory here;
 * further calls wait in the client.
 */
const MOST_CALLS_PER_CONNECTION = 256;

/** A client that is gone without a word is noticed after both, and its work ended. */
const KEEPALIVE_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;

/** After that long a client is asked to connect anew, so that new replicas get their share; its calls are finished first. */
const CONNECTION_AGE_MS = 30 * 60_000;

/** @throws RuntimeError `PORT_UNAVAILABLE`. */
export async function openGrpcGate({
  host,
  port,
  apiKeys,
  tokens,
  metrics,
  tracing,
  accessLog,
  maxMessageBytes,
  now = () => performance.now(),
  log,
  ...options
}: GrpcOptions): Promise<GrpcGate> {
  setLogVerbosity(logVerbosity.NONE); // the library would print by itself; what goes wrong is told by our errors
  const hall = createHall({
    metrics,
    tracing,
    accessLog,
    apiKeys,
    lockOf(path) {
      if (isRepositoryChange(path)) return lock(options.repository?.tokens, repositoryRule.kind);
      return OPEN_METHODS.test(path) ? undefined : lock(tokens, "inference");
    },
    now,
    log,
  });
  const server = new Server({
    interceptors: [hall.interceptor],
    "grpc.max_receive_message_length": maxMessageBytes,
    "grpc.max_send_message_length": -1, // answers are the model's affair
    "grpc.max_concurrent_streams": MOST_CALLS_PER_CONNECTION,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
    "grpc.max_connection_age_ms": CONNECTION_AGE_MS,
  });
  const { messages, service } = loadInferenceDefinitions();
  server.addService(
    service,
    createInferenceService({ ...options, traceOf: hall.traceOf, now, log }),
  );
  const services = [INFERENCE_SERVICE];
  server.addService(healthService, createHealth({ ...options, services }));
  new ReflectionService({ ...messages, ...healthMessages() }).addToServer(server);

  const bound = await bind(server, host, port);
  return {
    url: `${isAnyAddress(host) ? "localhost" : hostOf(host)}:${bound}`,
    port: bound,
    async shut() {
      hall.endStreams();
      await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
    },
    close() {
      server.forceShutdown();
      return Promise.resolve();
    },
  };
}

function healthMessages(): PackageDefinition {
  return loadSync(healthProto, { keepCase: true, enums: String });
}

/** Health tells no secret, and whoever asks for it seldom has a key. */
const OPEN_METHODS = new RegExp(
  `^/(?:grpc\\.health\\.v1\\.Health/|${INFERENCE_SERVICE.replace(".", "\\.")}/Server(?:Live|Ready)$)`,
);

function isRepositoryChange(path: string): boolean {
  return REPOSITORY_CHANGES.some((name) => path === `/${INFERENCE_SERVICE}/${name}`);
}

function lock(authority: TokenAuthority | undefined, kind: Lock["kind"]): Lock | undefined {
  return authority && { authority, kind };
}

async function bind(server: Server, host: string, port: number): Promise<number> {
  const address = `${hostOf(host)}:${port}`;
  try {
    return await new Promise<number>((resolve, reject) => {
      server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
  } catch (error) {
    server.forceShutdown();
    throw toListenError(error, address);
  }
}

/** The library tells the system's code in its text only. */
function toListenError(error: unknown, address: string): RuntimeError {
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: "it is taken; name another with --grpc-port",
    EACCES:
      "this user may not take it; ports below 1024 need more rights, name another with --grpc-port",
    EADDRNOTAVAIL: "this machine does not have that address; name another with --grpc-host",
  };
  const text = messageOf(error);
  const code = /\bE[A-Z]{4,}\b/.exec(text)?.[0] ?? "";
  return new RuntimeError(
    "PORT_UNAVAILABLE",
    `Cannot listen on ${address} for gRPC: ${why[code] ?? (code || text)}`,
    { cause: error },
  );
}

function isAnyAddress(host: string): boolean {
  return ["0.0.0.0", "::", "127.0.0.1", "localhost"].includes(host);
}

/** An IPv6 address stands in brackets before a port. */
function hostOf(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
