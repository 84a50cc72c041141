/**
 * Makes a conversation a prompt: what a template is given, and what becomes of its text.
 *
 * The template is the repository's, the conversation a client's; what it is run by and within which limits is
 * `chat-template-jinja.ts`'s affair. The functions, and how a last message is continued, are those of Python's transformers 5.18
 * (`chat_template_utils.py`).
 */
import { isFields } from "../../fields.ts";
import { messageOf, RuntimeError } from "../../errors.ts";
import type { ChatMessage } from "../../generation.ts";
import type { JsonValue } from "../../inference.ts";
import { LimitReached, parseTemplate } from "./chat-template-jinja.ts";
import { formatTime } from "./chat-template-time.ts";
import type { ChatPrompt } from "./chat-template.ts";

export interface CompiledTemplate {
  readonly knowsTools: boolean;
  readonly render: (prompt: ChatPrompt) => string;
}

export interface TemplateGlobals {
  /** `bos_token` and its like. */
  readonly tokens: Readonly<Record<string, string>>;
  readonly now: () => Date;
}

/** The most messages of one conversation. */
const MAX_MESSAGES = 4096;
const ACTION = "Cannot make a prompt of the messages";

/** @throws Error when it is no template. */
export function compileTemplate(
  source: string,
  { tokens, now }: TemplateGlobals,
): CompiledTemplate {
  const template = parseTemplate(source);
  const knowsDevelopers = template.quotes("developer");

  function run(prompt: ChatPrompt, messages: readonly ChatMessage[]): string {
    return template.run({
      ...tokens,
      tools: null,
      documents: null,
      add_generation_prompt: prompt.continuesLast !== true,
      ...prompt.templateArguments,
      messages,
      ...(prompt.tools && prompt.tools.length > 0 && { tools: prompt.tools }),
      strftime_now: (format: unknown) => formatTime(now(), String(format)),
      raise_exception(message: unknown) {
        throw new TemplateRefusal(String(message));
      },
    });
  }

  return {
    knowsTools: template.names("tools"),
    render(prompt) {
      const { continuesLast } = prompt;
      const messages = knowsDevelopers ? prompt.messages : prompt.messages.map(asSystem);
      if (messages.length === 0 || messages.length > MAX_MESSAGES)
        throw refusal(`found ${messages.length} messages, wanted 1 to ${MAX_MESSAGES}`);
      const continued = continuesLast === true ? markEnd(messages) : undefined;
      try {
        const text = run(prompt, continued?.messages ?? messages);
        return continued === undefined ? text : cutAtMark(text, continued.text);
      } catch (error) {
        if (error instanceof RuntimeError) throw error;
        throw refusal(reasonOf(error), error);
      }
    },
  };
}

/** OpenAI's newer name of a role, for a template that is older. */
function asSystem(message: ChatMessage): ChatMessage {
  return message.role === "developer" ? { ...message, role: "system" } : message;
}

/** What a template's own `raise_exception` says: meant for whoever wrote the messages. */
class TemplateRefusal extends Error {}

function reasonOf(error: unknown): string {
  if (error instanceof TemplateRefusal)
    return `the model's chat template refuses them: ${error.message}`;
  if (error instanceof LimitReached) return error.message;
  return `the model's chat template fails on them: ${messageOf(error)}`;
}

function refusal(reason: string, cause?: unknown): RuntimeError {
  const text = `${ACTION}: ${reason.slice(0, 500)}`;
  return new RuntimeError("INVALID_INPUT", text, cause === undefined ? {} : { cause });
}

/** Stands for the place where the last message ends; as in Python, a space behind it tells whether spaces are kept. */
const MARK = "CONTINUE_FINAL_MESSAGE_TAG ";

/** The messages with a mark behind the last one's text. */
function markEnd(messages: readonly ChatMessage[]): {
  messages: readonly ChatMessage[];
  text: string;
} {
  const last = messages.at(-1);
  const { content } = last ?? {};
  if (last !== undefined && typeof content === "string") {
    return {
      messages: [...messages.slice(0, -1), { ...last, content: content + MARK }],
      text: content,
    };
  }
  if (last !== undefined && Array.isArray(content)) {
    const parts: readonly JsonValue[] = content;
    const place = parts.findLastIndex((part) => textOf(part) !== undefined);
    const text = textOf(parts[place]);
    if (text !== undefined) {
      const marked = parts.with(place, { ...asFields(parts[place]), text: text + MARK });
      return { messages: [...messages.slice(0, -1), { ...last, content: marked }], text };
    }
  }
  throw refusal("the last one has no text that could be continued");
}

function textOf(part: JsonValue | undefined): string | undefined {
  const { text } = asFields(part);
  return typeof text === "string" ? text : undefined;
}

function asFields(value: JsonValue | undefined): Readonly<Record<string, JsonValue>> {
  return isFields(value) ? value : {};
}

/** The prompt, up to where the last message ends. */
function cutAtMark(rendered: string, text: string): string {
  const place = rendered.lastIndexOf(MARK.trim());
  if (place < 0 || !rendered.includes(text.trim()))
    throw refusal("the model's chat template does not keep the text of the last one");
  const beginning = rendered.slice(0, place);
  return rendered.startsWith(MARK, place) ? beginning : beginning.trimEnd();
}
