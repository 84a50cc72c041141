/**
 * Tool calls, read out of what a model wrote.
 *
 * Models say a call in words that they were trained on. Three are known: Hermes' and Qwen's `<tool_call>{…}</tool_call>`,
 * Mistral's `[TOOL_CALLS] [{…}]` (later `[TOOL_CALLS]name[ARGS]{…}`), and Llama 3.1's answer that is nothing but
 * `{"name": …, "parameters": …}`. What reads as none of them, or is not whole, is text. To add one: a reader in `READERS` and, for
 * streams, its marker in `MARKERS`.
 */
import { randomInt } from "node:crypto";

import type { JsonValue } from "../../inference.ts";
import { isObject } from "./openai-request.ts";

export interface ToolCall {
  readonly name: string;
  /** JSON, as OpenAI's clients parse it. */
  readonly arguments: string;
}

/** What a model said: a text, and the calls that followed it. */
export interface Spoken {
  readonly text: string;
  readonly calls: readonly ToolCall[];
}

/** Tokens that are left out of shown text, and that a call is told by. */
const SPECIAL = new Set([
  "<tool_call>",
  "</tool_call>",
  "[TOOL_CALLS]",
  "[ARGS]",
  "<|python_tag|>",
]);
const MARKERS = ["<tool_call>", "[TOOL_CALLS]", "<|python_tag|>"];

/** Whether a special token is part of how calls are told. */
export function isToolWord({ text, special }: { text: string; special: boolean }): boolean {
  return special && SPECIAL.has(text);
}

/**
 * @param text All that the model wrote, with the special tokens that `isToolWord` knows.
 * @param names Of the functions that it may call: an answer in plain JSON is a call only if it names one of them.
 */
export function readToolCalls(text: string, names: ReadonlySet<string>): Spoken {
  for (const read of READERS) {
    const spoken = read(text, names);
    if (spoken !== undefined && spoken.calls.length > 0) return spoken;
  }
  return { text: withoutSpecial(text), calls: [] };
}

type Reader = (text: string, names: ReadonlySet<string>) => Spoken | undefined;

const READERS: readonly Reader[] = [readTagged, readMistral, readPlainJson];

/** `… <tool_call>{"name": …, "arguments": {…}}</tool_call> …`; the last one may lack its end. */
function readTagged(text: string): Spoken | undefined {
  const [before = "", ...parts] = text.split("<tool_call>");
  const calls = parts.map((part) => toCall(parseOrUndefined(part.split("</tool_call>")[0] ?? "")));
  return allOf(before, calls);
}

/** `[TOOL_CALLS] [{"name": …, "arguments": {…}}, …]`, or `[TOOL_CALLS]name[ARGS]{…}` once for each. */
function readMistral(text: string): Spoken | undefined {
  const [before = "", ...parts] = text.split("[TOOL_CALLS]");
  const calls = parts.flatMap((part) => {
    const place = part.indexOf("[ARGS]");
    if (place >= 0) {
      const values = parseOrUndefined(part.slice(place + "[ARGS]".length));
      return [toCall({ name: part.slice(0, place).trim(), arguments: values })];
    }
    const list = parseOrUndefined(part);
    return Array.isArray(list) ? list.map(toCall) : [toCall(list)];
  });
  return allOf(before, calls);
}

/** The whole answer is one call: `{"name": …, "parameters": {…}}`. */
function readPlainJson(text: string, names: ReadonlySet<string>): Spoken | undefined {
  const call = toCall(parseOrUndefined(withoutSpecial(text)));
  return call !== undefined && names.has(call.name) ? { text: "", calls: [call] } : undefined;
}

/** @returns `undefined` where one of them is no call: then the text stays as it is. */
function allOf(before: string, calls: readonly (ToolCall | undefined)[]): Spoken | undefined {
  const known = calls.filter((call) => call !== undefined);
  return known.length === calls.length ? { text: before.trimEnd(), calls: known } : undefined;
}

function toCall(value: unknown): ToolCall | undefined {
  if (!isObject(value)) return undefined;
  const { name } = value;
  const given = value["arguments"] ?? value["parameters"] ?? {};
  if (typeof name !== "string" || name === "") return undefined;
  if (typeof given === "string") return { name, arguments: given };
  return isObject(given) ? { name, arguments: JSON.stringify(given) } : undefined;
}

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // what a model writes need not be JSON
  }
}

function withoutSpecial(text: string): string {
  return text
    .replaceAll("<|python_tag|>", "")
    .replaceAll("[TOOL_CALLS]", "")
    .replaceAll("[ARGS]", "");
}

/** Holds a streamed text back from where a call may begin. */
export interface ToolHold {
  /** @returns What can be shown: it is text, whatever follows. */
  readonly add: (text: string) => string;
  /** The model has ended. @returns The text that was held back and is no call, and the calls. */
  readonly end: () => Spoken;
}

export function createToolHold(names: ReadonlySet<string>): ToolHold {
  let held = "";
  let isHolding = false;
  let hasShown = false;

  function show(length: number): string {
    const shown = held.slice(0, length);
    held = held.slice(length);
    hasShown ||= shown.trim() !== "";
    return shown;
  }

  return {
    add(text) {
      held += text;
      if (isHolding) return "";
      // An answer that begins as an object may be a call in plain JSON; one that has not begun may become it.
      const beginning = held.trimStart();
      if (!hasShown && (beginning === "" || beginning.startsWith("{"))) {
        isHolding = beginning !== "";
        return "";
      }
      const places = MARKERS.map((marker) => held.indexOf(marker)).filter((place) => place >= 0);
      isHolding = places.length > 0;
      if (!isHolding) return show(held.length - endOf(held));
      const place = Math.min(...places);
      return show(place - spacesBefore(held, held.length - place));
    },
    end() {
      const spoken = readToolCalls(held, names);
      held = "";
      return spoken;
    },
  };
}

/** How many of the last characters may begin a marker, or are spaces before one, which are left out with it. */
function endOf(text: string): number {
  for (let length = Math.min(text.length, LONGEST_MARKER - 1); length > 0; length--) {
    const end = text.slice(-length);
    if (MARKERS.some((marker) => marker.startsWith(end)))
      return length + spacesBefore(text, length);
  }
  return spacesBefore(text, 0);
}

const LONGEST_MARKER = Math.max(...MARKERS.map(({ length }) => length));

function spacesBefore(text: string, length: number): number {
  const rest = text.slice(0, text.length - length);
  return rest.length - rest.trimEnd().length;
}

/** Nine letters and digits: Mistral's templates refuse ids of any other form when the call comes back in a conversation. */
export function makeCallId(): string {
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return Array.from({ length: 9 }, () => letters[randomInt(letters.length)]).join("");
}

/** A call as an answer has it. */
export function toToolCall(
  { name, arguments: given }: ToolCall,
  makeId: () => string,
): Readonly<Record<string, JsonValue>> {
  return { id: makeId(), type: "function", function: { name, arguments: given } };
}
