/**
 * OpenAI's protocol, at `/v1/…` and, as KServe serves it, at `/openai/v1/…`.
 *
 * This file is the face: paths, the list of models, the words in which failures are told (`openai-errors.ts`). What a route
 * answers stands in a file of its own. To add a route: write its `OpenAIRoute`, and name it in `ROUTES`.
 *
 * `/v1/models/{name}` is KServe V1's path too, and stands in `kserve-v1.ts`, which answers both readers.
 */
import { Hono } from "hono";

import { RuntimeError } from "../../errors.ts";
import type { AppContext, AppEnv, Face } from "../context.ts";
import { onlyMethods } from "../middleware.ts";
import { respondJson } from "../respond.ts";
import { answerEmbeddings } from "./openai-embeddings.ts";
import { answerChat } from "./openai-chat.ts";
import { answerCompletion } from "./openai-completions.ts";
import { renderOpenAIError } from "./openai-errors.ts";
import { listModels, toCard } from "./openai-models.ts";
import { findName, readCall, type OpenAIRoute } from "./openai-request.ts";
import { answerRerank } from "./openai-rerank.ts";

/** What is posted, by what follows the prefix. */
const ROUTES: Readonly<Record<string, OpenAIRoute>> = {
  completions: (call) => answerCompletion(call),
  "chat/completions": (call) => answerChat(call),
  embeddings: answerEmbeddings,
  rerank: answerRerank,
};

const PREFIXES = ["/v1", "/openai/v1"] as const;

export interface OpenAIOptions {
  readonly maxBodyBytes: number;
  /** When the models of this server were made, as far as OpenAI's clients are told. */
  readonly startedAt?: Date;
}

export function createOpenAIFace({ maxBodyBytes, startedAt = new Date() }: OpenAIOptions): Face {
  const created = Math.floor(startedAt.getTime() / 1000);
  const routes = new Hono<AppEnv>({ strict: false });
  for (const prefix of PREFIXES) {
    for (const [name, answer] of Object.entries(ROUTES)) {
      const path = `${prefix}/${name}`;
      routes.post(path, async (c) => answer(await readCall(c, maxBodyBytes)));
      routes.all(path, onlyMethods("POST"));
    }
    routes.get(`${prefix}/models`, (c) => respondJson(c, listModels(c.get("models"), created)));
    routes.all(`${prefix}/models`, onlyMethods("GET", "HEAD"));
  }
  const ofOne = "/openai/v1/models/:model{.+}";
  routes.get(ofOne, (c) => {
    const name = findName(nameIn(c), c.get("models"));
    return respondJson(c, toCard({ name }, created));
  });
  routes.all(ofOne, onlyMethods("GET", "HEAD"));

  return {
    routes,
    renderError: renderOpenAIError,
    speaks,
    answerUnrouted: (c) =>
      speaks(c) ? Promise.resolve(renderOpenAIError(nobodyKnows(c), c)) : undefined,
  };
}

/** What is KServe V1's below `/v1` is not told in OpenAI's words. */
function speaks({ req: { path } }: AppContext): boolean {
  return /^\/(?:openai\/)?v1(?:\/|$)/.test(path) && !path.startsWith("/v1/models/");
}

/** The path is read anew: Hono leaves an encoded slash encoded. */
function nameIn(c: AppContext): string {
  const { pathname } = new URL(c.req.url);
  const name = pathname.replace(/^\/openai\/v1\/models\//, "").replace(/\/$/, "");
  try {
    return decodeURIComponent(name);
  } catch {
    return name; // a stray percent sign; it will name no model
  }
}

function nobodyKnows({ req }: AppContext): RuntimeError {
  const prefix = req.path.startsWith("/openai") ? "/openai/v1" : "/v1";
  const known = [
    ...Object.keys(ROUTES).map((name) => `POST ${prefix}/${name}`),
    `GET ${prefix}/models`,
  ];
  return new RuntimeError(
    "ROUTE_NOT_FOUND",
    `Cannot answer: there is no ${req.method} ${req.path} here; try ${known.join(", ")}`,
  );
}
