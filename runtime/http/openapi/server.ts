/**
 * The routes that belong to no protocol, described: metrics, the description itself, what the playground asks.
 */
import { z } from "zod";

import { failures } from "./failures.ts";
import { json, success, type DescribeProtocol, type Operation, type Subject } from "./operation.ts";

const html = { "text/html": { schema: { type: "string" } } };

export const describeServer: DescribeProtocol = (subject) => {
  const OpenApi = z.looseObject({
    openapi: z.string(),
    info: z.looseObject({ title: z.string() }),
  });
  return [
    {
      ...at("/metrics", "metrics", "Metrics, in Prometheus's format"),
      parameters: [
        {
          name: "name[]",
          in: "query",
          description: "Only these metrics.",
          schema: { type: "array", items: { type: "string" } },
        },
      ],
      responses: {
        "200": success("The metrics", { "text/plain": { schema: { type: "string" } } }),
      },
    },
    {
      ...at("/openapi.json", "openapi", "This description"),
      responses: {
        "200": success("OpenAPI 3.1", json(subject.components.schema("OpenApi", OpenApi))),
      },
    },
    {
      ...at("/docs", "docs", "This description as a page"),
      responses: { "200": success("The page", html) },
    },
    ...(subject.server.hasPlayground ? playground(subject) : []),
  ];
};

function playground({ components }: Subject): readonly Operation[] {
  const listed = {
    name: z.string(),
    version: z.string(),
    isDefaultVersion: z.boolean(),
    isFirst: z.boolean(),
    state: z.string(),
    isReady: z.boolean(),
    detail: z.string(),
  };
  const list = z.object({ models: z.array(z.object(listed)) });
  const query = (name: string): { name: string; in: string; schema: { type: string } } => ({
    name,
    in: "query",
    schema: { type: "string" },
  });
  return [
    {
      ...at("/playground/models", "playgroundModels", "The models, as the playground lists them"),
      responses: { "200": success("The list", json(components.schema("Playground", list))) },
    },
    {
      ...at("/playground/model", "playgroundModel", "One model, as the playground shows it"),
      parameters: [query("name"), query("version")],
      responses: {
        "200": success("It", json(components.schema("PlaygroundModel", z.looseObject(listed)))),
        ...failures("HuggingFaceError", [404]),
      },
    },
  ];
}

function at(
  path: string,
  operationId: string,
  summary: string,
): Pick<Operation, "method" | "path" | "route" | "tag" | "operationId" | "summary"> {
  return { method: "get", path, route: path, tag: "Server", operationId, summary };
}
