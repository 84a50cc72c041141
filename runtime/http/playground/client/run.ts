/**
 * Asks the model what the visitor has put together, and shows what it answers: at once, or piece by piece.
 */
import type { JsonValue } from "../../../inference.ts";
import { showAnswer } from "./answers.ts";
import { assertGood, parse, type Api } from "./api.ts";
import { fill, h } from "./dom.ts";
import { readEvents } from "./events.ts";
import { time } from "./figures.ts";
import type { Asked, Form, Writer } from "./forms.ts";
import { isFields, isList, numberIn, pretty, textIn } from "./json.ts";

/** Where an answer goes. */
export interface Places {
  readonly answer: HTMLElement;
  readonly json: HTMLElement;
  /** Read aloud to who cannot see. */
  readonly status: HTMLElement;
}

export async function run(
  asked: Asked,
  form: Form,
  { answer, json, status }: Places,
  api: Api,
  signal: AbortSignal,
): Promise<void> {
  const startedAt = performance.now();
  const accept = asked.stream === undefined ? "*/*" : "text/event-stream";
  const response = await assertGood(await api.post(asked.path, asked.body, { signal, accept }));
  const took = (): string => time((performance.now() - startedAt) / 1000);
  const type = response.headers.get("content-type") ?? "";
  if (asked.stream !== undefined && form.write !== undefined) {
    await follow(response, form.write(answer), { json, status, startedAt });
    return;
  }
  if (/^text\/event-stream|ndjson/.test(type)) {
    const place = h("p", { class: "prose" });
    fill(answer, place);
    const all: JsonValue[] = [];
    for await (const piece of readEvents(response)) {
      all.push(piece);
      place.append(pieceOf(piece));
      json.textContent = pretty(all);
    }
    status.textContent = `${all.length} pieces in ${took()}`;
    return;
  }
  const facts = `Answered in ${took()}${server(response)}`;
  if (type.startsWith("image/") || type.startsWith("audio/")) {
    const blob = await response.blob();
    const src = URL.createObjectURL(blob);
    const media = type.startsWith("image/")
      ? h("img", { class: "answer-image", src, alt: "The answer" })
      : h("audio", { src, controls: true, "aria-label": "The answer" });
    fill(answer, media);
    json.textContent = `${type}, ${blob.size.toLocaleString("en")} bytes`;
  } else {
    const text = await response.text();
    const value = parse(text) ?? text;
    fill(answer, showAnswer(value, asked) ?? h("p", { class: "quiet" }, nothingToDraw(value)));
    json.textContent = pretty(value);
  }
  status.textContent = facts;
  const warning = response.headers.get("warnings");
  if (warning !== null) answer.append(h("p", { class: "hint" }, warning));
}

/** What the server says of its own time; the rest is the way there and back. */
function server({ headers }: Response): string {
  const ms = headers.get("x-inference-time");
  return ms === null ? "" : `, ${time(Number(ms) / 1000)} of it in the model`;
}

function nothingToDraw(value: JsonValue): string {
  return isList(value) && value.length === 0
    ? "The model found nothing."
    : "The answer is the JSON below.";
}

/** What a piece of a custom handler's stream adds to a text. */
function pieceOf(piece: JsonValue): string {
  if (typeof piece === "string") return piece;
  if (!isFields(piece)) return `${JSON.stringify(piece)} `;
  const { token } = piece;
  const text = isFields(token) ? textIn(token, "text") : textIn(piece, "text", "generated_text");
  return text ?? `${JSON.stringify(piece)} `;
}

/** OpenAI's events. */
async function follow(
  response: Response,
  writer: Writer,
  { json, status, startedAt }: Pick<Places, "json" | "status"> & { startedAt: number },
): Promise<void> {
  let [pieces, firstAt] = [0, 0];
  let isWhole = false;
  try {
    for await (const event of readEvents(response)) {
      const choices = isFields(event) ? event["choices"] : undefined;
      const choice = isList(choices) ? choices[0] : undefined;
      const delta = isFields(choice) ? (choice["delta"] ?? choice) : undefined;
      const text = isFields(delta) ? (textIn(delta, "content", "text") ?? "") : "";
      if (text !== "") {
        pieces += 1;
        firstAt ||= performance.now();
        writer.add(text);
      }
      json.textContent = pretty(event);
      const usage = isFields(event) ? event["usage"] : undefined;
      if (isFields(usage)) pieces = numberIn(usage, "completion_tokens") ?? pieces;
    }
    isWhole = true;
  } finally {
    writer.end(isWhole);
    const seconds = (performance.now() - startedAt) / 1000;
    const first = firstAt === 0 ? "" : `, the first after ${time((firstAt - startedAt) / 1000)}`;
    const rate = (pieces / Math.max(seconds, 0.001)).toFixed(0);
    status.textContent = `${pieces} tokens in ${time(seconds)}${first}: ${rate} a second`;
  }
}
