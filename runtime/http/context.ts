/**
 * What a request carries through the hall: the types that app, middleware and protocols share.
 */
import type { Context, Hono } from "hono";
import type { Waiting } from "../engine/engine.ts";
import type { Models } from "../engine/models.ts";
import type { RuntimeError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { RequestTrace } from "../observe/trace.ts";
import type { ResponseClass } from "./respond.ts";

export interface AppEnv {
  Variables: {
    /** The client's own `x-request-id`, or one made here. */
    requestId: string;
    /** On the engine's clock, in milliseconds. */
    startedAtMs: number;
    /**
     * The client's signal and the deadline, joined; asked once.
     *
     * @param timeoutMs The model's own limit; the server's when absent. Counted from the request's arrival.
     */
    waitFor: (timeoutMs: number | undefined) => Waiting;
    /** Keeps the deadline running beyond the handler's return: a stream has only begun then. */
    keepWaiting: () => void;
    /** Ends the deadline that `keepWaiting` kept. */
    stopWaiting: () => void;
    /** What the response will say, in lower case; see `respond.ts`. */
    responseHeaders: Record<string, string>;
    ResponseClass: ResponseClass;
    models: Models;
    log: Log;
    /** The pattern of its route, where the router's own says less. */
    route: string | undefined;
    /** The registered model that it is for, once that is known. */
    model: string | undefined;
    /** There where traces are collected. */
    trace: RequestTrace | undefined;
  };
}

export type AppContext = Context<AppEnv>;

/** A protocol's own error body. */
export type ErrorRenderer = (error: RuntimeError, c: AppContext) => Response;

/** A protocol, as `app.ts` puts it together with the others. */
export interface Face {
  readonly routes: Hono<AppEnv>;
  /** Whether a path is one of its own: failures there, and paths below that do not exist, are told in its words. */
  readonly speaks: (c: AppContext) => boolean;
  readonly renderError: ErrorRenderer;
  /** Answers a path that no route has; what `ROUTE_NOT_FOUND` says in its words where absent. */
  readonly answerUnrouted?: (c: AppContext) => Promise<Response> | undefined;
}
