/**
 * gRPC's own health service (`grpc.health.v1.Health`), which load balancers and Kubernetes ask.
 *
 * The server as a whole, named `""`, and the inference service serve as long as some model is ready; nothing serves once the
 * server is about to end. The package's own implementation is told of changes; this one looks, as readiness is a question
 * to the engines.
 */
import {
  status as Status,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";

import type { Models } from "../engine/models.ts";

interface HealthRequest {
  readonly service: string;
}

interface HealthResponse {
  readonly status: "SERVING" | "NOT_SERVING" | "SERVICE_UNKNOWN";
}

export interface HealthOptions {
  readonly models: Models;
  /** Full names of services. */
  readonly services: readonly string[];
  /** How often readiness is looked at while somebody watches, in milliseconds. */
  readonly watchIntervalMs?: number;
}

/** For the service of `grpc-health-check`. */
export function createHealth({
  models,
  services,
  watchIntervalMs = 500,
}: HealthOptions): UntypedServiceImplementation {
  const known = new Set(["", ...services]);
  const isServing = (): boolean => models.list.some(({ isReady }) => isReady);
  const statusOf = (service: string): HealthResponse["status"] => {
    if (!known.has(service)) return "SERVICE_UNKNOWN";
    return isServing() ? "SERVING" : "NOT_SERVING";
  };

  return {
    check(
      { request }: ServerUnaryCall<HealthRequest, HealthResponse>,
      respond: sendUnaryData<HealthResponse>,
    ) {
      const found = statusOf(request.service);
      if (found !== "SERVICE_UNKNOWN") return respond(null, { status: found });
      const named = [...known].map((name) => `"${name}"`).join(" or ");
      const details = `Cannot tell the health of this service: wanted ${named}`;
      respond({ code: Status.NOT_FOUND, details });
    },
    list(
      _call: ServerUnaryCall<object, object>,
      respond: sendUnaryData<{ statuses: Record<string, HealthResponse> }>,
    ) {
      const statuses = [...known].map((name) => [name, { status: statusOf(name) }] as const);
      respond(null, { statuses: Object.fromEntries(statuses) });
    },
    /** Says the status at once, and again whenever it is another; goes on until the client leaves. */
    watch(call: ServerWritableStream<HealthRequest, HealthResponse>) {
      let said: HealthResponse["status"] | undefined;
      const look = (): void => {
        const found = statusOf(call.request.service);
        if (found === said) return;
        said = found;
        call.write({ status: found });
      };
      look();
      const timer = setInterval(look, watchIntervalMs).unref();
      call.once("cancelled", () => clearInterval(timer));
    },
  };
}
