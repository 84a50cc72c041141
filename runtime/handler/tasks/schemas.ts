/**
 * What a task takes, as JSON Schema (draft 2020-12): for the API's description and for forms.
 *
 * Made of the very schemas that check requests, so that the two cannot differ. What JSON Schema has no words for, such as a
 * file in place of base64, may be anything.
 */
import { z } from "zod";

import type { JsonValue, ModelDescription } from "../../inference.ts";
import type { Task } from "./task.ts";

export function describeSchemas({
  inputs,
  parameters,
}: Pick<Task, "inputs" | "parameters">): NonNullable<ModelDescription["schemas"]> {
  return { inputs: toJsonSchema(inputs), parameters: toJsonSchema(parameters) };
}

function toJsonSchema(schema: z.ZodType): JsonValue {
  const described = z.toJSONSchema(schema, {
    io: "input",
    unrepresentable: "any",
    override({ jsonSchema }) {
      // zod names the kind of its check ("includes") where JSON Schema wants a format's name; the pattern beside it says all.
      if (jsonSchema.pattern !== undefined) delete jsonSchema.format;
    },
  });
  const { $schema: _, ...rest } = described;
  return JSON.parse(JSON.stringify(rest)) as JsonValue; // out of JSON
}
