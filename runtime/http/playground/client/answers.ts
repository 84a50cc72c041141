/**
 * Answers as people like to see them: told by their shape, so that a handler of one's own that answers alike looks alike.
 *
 * To add a shape: a function in `VIEWS` that looks at an answer and says `undefined` where it is not meant.
 */
import type { JsonValue } from "../../../inference.ts";
import { bars, type Bar } from "./bars.ts";
import { h } from "./dom.ts";
import { showExplanation } from "./explanation.ts";
import type { Asked } from "./forms.ts";
import { isFields, isList, isNumbers, numberIn, textIn, unwrap, type Fields } from "./json.ts";
import { drawBoxes, drawMasks, picture } from "./pictures.ts";
import { markSpans, type Span } from "./spans.ts";
import { heatStrip, shapeOf } from "./vectors.ts";

type View = (answer: JsonValue, asked: Asked) => HTMLElement | undefined;

/** The first that knows the answer shows it. */
const VIEWS: readonly View[] = [
  showExplained,
  showLabelsAndScores,
  showSimilarities,
  showDepth,
  showSegments,
  showDetections,
  showEntities,
  showSpanAnswers,
  showRanking,
  showScored,
  showTexts,
  showVector,
  showTensors,
  showPlain,
];

/** @returns `undefined` where nothing but the JSON says it well. */
export function showAnswer(answer: JsonValue, asked: Asked): HTMLElement | undefined {
  for (const view of VIEWS) {
    const shown = view(answer, asked);
    if (shown !== undefined) return shown;
  }
  return undefined;
}

function showExplained(answer: JsonValue, asked: Asked): HTMLElement | undefined {
  if (!isFields(answer)) return undefined;
  const { prediction, explanation } = answer;
  if (prediction === undefined || !isFields(explanation)) return undefined;
  return h(
    "div",
    { class: "stack" },
    showAnswer(prediction, asked),
    showExplanation(explanation, asked.values),
  );
}

/** Zero-shot classification's. */
function showLabelsAndScores(answer: JsonValue): HTMLElement | undefined {
  if (!isFields(answer)) return undefined;
  const { labels, scores } = answer;
  if (!isList(labels) || !isNumbers(scores)) return undefined;
  return bars(
    labels.map((label, index) => ({
      label: typeof label === "string" ? label : "",
      score: scores[index] ?? 0,
    })),
  );
}

function showSimilarities(answer: JsonValue, { values }: Asked): HTMLElement | undefined {
  const list = isFields(answer) ? answer["similarities"] : answer;
  const { sentences } = values;
  if (!isNumbers(list) || !isList(sentences)) return undefined;
  return bars(list.map((score, index) => ({ label: sentences[index] ?? "", score })));
}

function showDepth(answer: JsonValue): HTMLElement | undefined {
  const depth = isFields(answer) ? answer["depth"] : undefined;
  return typeof depth === "string" ? picture(depth, "The depth of the image") : undefined;
}

/** Those of an answer's elements that are objects; none where some are not. */
function elementsOf(answer: JsonValue): readonly Fields[] {
  const list = unwrap(answer);
  return isList(list) && list.every(isFields) ? list : [];
}

function showSegments(answer: JsonValue, { values }: Asked): HTMLElement | undefined {
  const segments = elementsOf(answer).flatMap((segment) => {
    const [label, mask] = [textIn(segment, "label"), textIn(segment, "mask")];
    return mask === undefined
      ? []
      : [{ label: label ?? "", mask, score: numberIn(segment, "score") }];
  });
  return segments.length === 0 ? undefined : drawMasks(segments, values["image"]);
}

function showDetections(answer: JsonValue, { values }: Asked): HTMLElement | undefined {
  const isAsked = isFields(values["image"] ?? null);
  const elements = elementsOf(answer);
  const found = elements.flatMap((element) => {
    const { box } = element;
    if (!isFields(box)) return [];
    const [xmin, ymin, xmax, ymax] = ["xmin", "ymin", "xmax", "ymax"].map((name) =>
      numberIn(box, name),
    );
    if (xmin === undefined || ymin === undefined || xmax === undefined || ymax === undefined)
      return [];
    const [label, score] = [textIn(element, "label") ?? "", numberIn(element, "score") ?? 0];
    return [{ label, score, xmin, ymin, xmax, ymax }];
  });
  return isAsked && found.length > 0 ? drawBoxes(found, values["image"]) : undefined;
}

function showEntities(answer: JsonValue, { values }: Asked): HTMLElement | undefined {
  const { text } = values;
  if (typeof text !== "string") return undefined;
  const spans = elementsOf(answer).flatMap((element): Span[] => {
    const kind = textIn(element, "entity_group", "entity");
    const [start, end] = [numberIn(element, "start"), numberIn(element, "end")];
    if (kind === undefined || start === undefined || end === undefined) return [];
    return [{ start, end, label: kind, score: numberIn(element, "score") }];
  });
  return spans.length === 0 ? undefined : markSpans(text, spans);
}

/** Question answering's: a place in the context. */
function showSpanAnswers(answer: JsonValue, { values }: Asked): HTMLElement | undefined {
  const { context } = values;
  const answers = (isList(answer) ? answer : [answer]).flatMap((each) => {
    if (!isFields(each)) return [];
    const [text, start, end] = [
      textIn(each, "answer"),
      numberIn(each, "start"),
      numberIn(each, "end"),
    ];
    if (text === undefined || start === undefined || end === undefined) return [];
    return [{ text, start, end, score: numberIn(each, "score") ?? 0 }];
  });
  const [best] = answers;
  if (best === undefined || typeof context !== "string") return undefined;
  return h(
    "div",
    { class: "stack" },
    h("p", { class: "headline" }, best.text || "There is no answer in the context"),
    markSpans(context, [{ start: best.start, end: best.end, label: "" }]),
    bars(answers.map(({ text, score }) => ({ label: text || "no answer", score }))),
  );
}

function showRanking(answer: JsonValue, { values }: Asked): HTMLElement | undefined {
  const { texts } = values;
  if (!isList(texts)) return undefined;
  const ranked = elementsOf(answer).flatMap((element): Bar[] => {
    const [index, score] = [numberIn(element, "index"), numberIn(element, "score")];
    if (index === undefined || score === undefined) return [];
    return [{ label: texts[index] ?? `text ${index}`, score }];
  });
  return ranked.length === 0 ? undefined : bars(ranked);
}

/** Classifications, guesses for a mask, answers about an image. */
function showScored(answer: JsonValue): HTMLElement | undefined {
  const elements = isFields(answer) ? [answer] : elementsOf(answer);
  const scored = elements.flatMap((element): Bar[] => {
    const label = textIn(element, "label", "token_str", "answer", "name", "class");
    const score = numberIn(element, "score");
    if (label === undefined || score === undefined) return [];
    return [{ label, score, detail: textIn(element, "sequence") }];
  });
  return scored.length > 0 && scored.length === elements.length ? bars(scored) : undefined;
}

const TEXT_NAMES = [
  "generated_text",
  "summary_text",
  "translation_text",
  "text",
  "answer",
] as const;

/** What was written, said or answered; with its pieces where they have a time. */
function showTexts(answer: JsonValue): HTMLElement | undefined {
  const elements = isFields(answer) ? [answer] : elementsOf(answer);
  const texts = elements.flatMap((element) => {
    const text = textIn(element, ...TEXT_NAMES);
    return text === undefined
      ? []
      : [h("p", { class: "prose" }, text || "(nothing)"), timesOf(element)];
  });
  return texts.length === 0 ? undefined : h("div", { class: "stack" }, ...texts);
}

function timesOf({ chunks }: Fields): HTMLElement | undefined {
  if (!isList(chunks)) return undefined;
  const rows = chunks.filter(isFields).map((chunk) => {
    const times = isList(chunk["timestamp"]) ? chunk["timestamp"] : [];
    const seconds = times.map((time) => (typeof time === "number" ? `${time.toFixed(1)} s` : "…"));
    return h(
      "li",
      {},
      h("span", { class: "quiet" }, `${seconds.join(" – ")}  `),
      textIn(chunk, "text") ?? "",
    );
  });
  return h("ol", { class: "times" }, ...rows);
}

function showVector(answer: JsonValue): HTMLElement | undefined {
  const shape = shapeOf(answer);
  return shape === undefined ? undefined : heatStrip(answer, shape);
}

/** The Open Inference Protocol's. */
function showTensors(answer: JsonValue): HTMLElement | undefined {
  const outputs = isFields(answer) ? answer["outputs"] : undefined;
  if (!isList(outputs)) return undefined;
  const shown = outputs.filter(isFields).map((output) => {
    const shape = isNumbers(output["shape"]) ? output["shape"] : [];
    const { data = null } = output;
    const flat = isNumbers(data) ? heatStrip(data, [data.length]) : undefined;
    const title = `${textIn(output, "name") ?? "output"} · ${textIn(output, "datatype") ?? ""} · ${shape.join(" × ")}`;
    return h("div", {}, h("p", { class: "quiet" }, title), flat);
  });
  return h("div", { class: "stack" }, ...shown);
}

function showPlain(answer: JsonValue): HTMLElement | undefined {
  return typeof answer === "string" || typeof answer === "number" || typeof answer === "boolean"
    ? h("p", { class: "prose" }, String(answer))
    : undefined;
}
