/**
 * Which keys a route needs, told by the very rules that ask for them.
 */
import type { JsonValue } from "../../inference.ts";
import { isPublicProbe, type ApiKeys } from "../api-keys.ts";
import { inferenceRule, type TokenAuthority } from "../token-auth.ts";
import type { Fields } from "./components.ts";
import type { Operation } from "./operation.ts";

type Asked = Pick<Operation, "method" | "path">;

export interface Lock {
  /** By name, as `components.securitySchemes` has them. */
  readonly schemes: Fields;
  /** Any one of them is enough; none where the route is open. */
  readonly securityOf: (operation: Asked) => readonly JsonValue[];
}

export interface Keys {
  readonly apiKeys: ApiKeys | undefined;
  readonly tokens: TokenAuthority | undefined;
  /** Whose key is asked for to load and unload models. */
  readonly managementTokens: TokenAuthority | undefined;
}

/** @returns `undefined` where every route is open. */
export function describeLock({ apiKeys, tokens, managementTokens }: Keys): Lock | undefined {
  if (apiKeys === undefined && tokens === undefined && managementTokens === undefined)
    return undefined;
  return {
    schemes: {
      ...(apiKeys !== undefined && { bearerKey: BEARER_KEY, headerKey: HEADER_KEY }),
      ...(tokens !== undefined && { inferenceToken: tokenScheme("inference") }),
      ...(managementTokens !== undefined && { managementToken: tokenScheme("management") }),
    },
    securityOf(operation) {
      const asked = { req: { method: operation.method.toUpperCase(), path: operation.path } };
      const token = tokenFor(asked);
      const isPublic = apiKeys === undefined || isPublicProbe(asked);
      if (isPublic) return token === undefined ? [] : [{ [token]: [] }];
      // One header cannot hold both.
      if (token !== undefined) return [{ headerKey: [], [token]: [] }];
      return [{ bearerKey: [] }, { headerKey: [] }];
    },
  };

  function tokenFor(asked: { readonly req: { method: string; path: string } }): string | undefined {
    if (managementTokens !== undefined && asked.req.path.startsWith("/v2/repository/models/"))
      return "managementToken";
    return tokens !== undefined && inferenceRule(asked) !== undefined
      ? "inferenceToken"
      : undefined;
  }
}

const BEARER_KEY: Fields = {
  type: "http",
  scheme: "bearer",
  description: "One of the server's API keys.",
};
const HEADER_KEY: Fields = {
  type: "apiKey",
  in: "header",
  name: "x-api-key",
  description: "The same keys, for whoever needs `Authorization` for something else.",
};

function tokenScheme(kind: string): Fields {
  return {
    type: "http",
    scheme: "bearer",
    description: `The ${kind} key of the server's key file, as TorchServe has it.`,
  };
}
