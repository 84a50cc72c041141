/**
 * A conversation as OpenAI's clients send it, made one that chat templates read.
 *
 * Text parts are joined; parts that are no text are refused. The arguments of earlier tool calls come as text that holds JSON and
 * become what it says, as templates print them anew. Everything else of a message stays: a template may know it.
 */
import { z } from "zod";

import type { ChatMessage } from "../../generation.ts";
import type { JsonValue } from "../../inference.ts";
import { OpenAIRefusal } from "./openai-errors.ts";
import { isObject, kindOf } from "./openai-request.ts";

const role = `a role such as "user"`;
const content = "a text, a list of parts, or null";
const calls = "a list of calls";

const Part = z.looseObject({ type: z.string(content) }, content);
const Call = z.looseObject(
  {
    id: z.string(calls).nullish(),
    function: z.looseObject({ name: z.string(calls), arguments: z.unknown() }, calls),
  },
  calls,
);

/** For `z.object({ messages: Messages })`. */
export const Messages = z
  .array(
    z.looseObject(
      {
        role: z.string(role).min(1, role).max(64, role),
        content: z.union([z.string(), z.array(Part)], content).nullish(),
        tool_calls: z.array(Call, calls).nullish(),
      },
      "a message with a role and content",
    ),
    "a list of messages",
  )
  .min(1, "at least one message");

/** @throws OpenAIRefusal for what is no text. */
export function toMessages(messages: z.output<typeof Messages>, action: string): ChatMessage[] {
  return messages.map((message, index): ChatMessage => {
    const { role: said, content: given, tool_calls, ...rest } = message;
    const hasCalls = tool_calls !== undefined && tool_calls !== null && tool_calls.length > 0;
    return {
      ...(rest as Readonly<Record<string, JsonValue>>), // came out of a JSON body
      role: said,
      // Templates that know calls look whether there is a text besides; others want one.
      content: toText(given, `messages[${index}].content`, action) ?? (hasCalls ? null : ""),
      ...(hasCalls && { tool_calls: tool_calls.map(withArguments) }),
    };
  });
}

function toText(
  given: z.output<typeof Messages>[number]["content"],
  place: string,
  action: string,
): string | undefined {
  if (typeof given === "string") return given;
  if (given === undefined || given === null) return undefined;
  const texts = given.map((part, index): string => {
    const text = part.type === "refusal" ? part["refusal"] : part["text"];
    if (["text", "input_text", "output_text", "refusal"].includes(part.type)) {
      if (typeof text === "string") return text;
      throw refusal(`"${place}[${index}].text" is ${kindOf(text)}, wanted a text`, action);
    }
    throw refusal(
      `"${place}[${index}]" is of type ${kindOf(part.type)}, wanted "text", as the model reads nothing else`,
      action,
    );
  });
  return texts.join("\n");
}

function refusal(reason: string, action: string): OpenAIRefusal {
  return new OpenAIRefusal("messages", `Cannot ${action}: ${reason}`);
}

function withArguments(call: z.output<typeof Call>): JsonValue {
  const { function: called, ...rest } = call as unknown as Readonly<Record<string, JsonValue>>; // came out of a JSON body
  const fields = isObject(called) ? called : {};
  return {
    type: "function",
    ...rest,
    function: { ...fields, arguments: parsed(fields["arguments"]) },
  };
}

function parsed(given: JsonValue | undefined): JsonValue {
  if (typeof given !== "string") return given ?? {};
  if (given.trim() === "") return {};
  try {
    const value: unknown = JSON.parse(given);
    return isObject(value) ? value : given;
  } catch {
    return given; // what the model said is not always JSON
  }
}
