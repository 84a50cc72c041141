/**
 * Streams: server-sent events, or one JSON value a line.
 */
import type { JsonValue } from "../../../inference.ts";
import { parse, Refusal, sentenceOf } from "./api.ts";

/** @throws Refusal where the stream says that it broke. */
export async function* readEvents({ body }: Response): AsyncGenerator<JsonValue> {
  if (body === null) return;
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value = "" } = await reader.read();
      const lines = (rest + value).split("\n");
      rest = done ? "" : (lines.pop() ?? "");
      for (const line of lines) {
        const event = toEvent(line);
        if (event === undefined) continue;
        const failure = sentenceOf(event);
        if (failure !== undefined) throw new Refusal(failure);
        yield event;
      }
      if (done) return;
    }
  } finally {
    await reader.cancel().catch(() => undefined); // it may have broken: that was thrown already
  }
}

function toEvent(line: string): JsonValue | undefined {
  const data = line.startsWith("data:") ? line.slice(5).trim() : line.trim();
  return data === "" || data === "[DONE]" ? undefined : parse(data);
}
