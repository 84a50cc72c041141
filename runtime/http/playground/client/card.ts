/**
 * What the model is: its facts, and the beginning of its card as plain text.
 */
import type { ShownModel } from "../wire.ts";
import { fill, h } from "./dom.ts";

export function showFacts(place: HTMLElement, model: ShownModel): void {
  const { task, dtype, modelType, revision, handler, state, detail, isReady, version } = model;
  const facts = [
    task,
    modelType,
    dtype,
    handler === "custom" && "custom handler",
    revision !== undefined && `revision ${revision.slice(0, 7)}`,
    !model.isDefaultVersion && `version ${version}`,
  ];
  fill(
    place,
    h(
      "li",
      { class: isReady ? "state good" : "state" },
      isReady ? state : state === "starting" ? detail : `${state}: ${detail}`,
    ),
    ...facts.map((fact) => typeof fact === "string" && h("li", {}, fact)),
  );
}

export function showCard(place: HTMLElement, { card }: ShownModel): void {
  place.hidden = card === undefined;
  if (card === undefined) return;
  const lead = leadOf(card);
  fill(
    place,
    lead !== undefined && h("p", { class: "lead" }, lead),
    h("details", {}, h("summary", {}, "The model card"), h("pre", { tabindex: 0 }, card)),
  );
}

const LONGEST_LEAD = 320;

/** The first paragraph that is one: no heading, table, list, picture, code or HTML. */
function leadOf(card: string): string | undefined {
  const paragraph = card
    .split(/\n\s*\n/)
    .map((part) => part.trim())
    .find((part) => /^[\p{L}\p{N}*_[“"'`(]/u.test(part) && !/^(?:[*-]\s|\[!\[|```)/.test(part));
  if (paragraph === undefined) return undefined;
  const plain = paragraph
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/[*_`]{1,3}(\S.*?)[*_`]{1,3}/g, "$1")
    .replace(/\s+/g, " ");
  return plain.length > LONGEST_LEAD
    ? `${plain.slice(0, LONGEST_LEAD).replace(/\s\S*$/, "")} …`
    : plain;
}
