/**
 * HTML out of template literals: whatever is put into one is escaped, unless it is HTML already.
 *
 * The tag is not called `html`, as formatters then move its spaces about.
 */

/** Text that is HTML: made by `markup`, or a constant. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = string | number | Html | undefined | readonly (Html | undefined)[];

export function markup(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  const texts = parts.map((part, index) => `${toText(part)}${strings[index + 1] ?? ""}`);
  return new Html(`${strings[0] ?? ""}${texts.join("")}`);
}

function toText(part: Part): string {
  if (part === undefined) return "";
  if (part instanceof Html) return part.text;
  if (typeof part === "object") return part.map(toText).join("");
  return escapeHtml(String(part));
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign);
}

/** A text with `code` in it, as sentences here mark it; an empty line begins a paragraph. */
export function prose(text: string): Html {
  if (text === "") return markup``;
  const paragraphs = text.split(/\n{2,}/).map((paragraph) => {
    const parts = paragraph
      .split("`")
      .map((part, index) => (index % 2 === 0 ? markup`${part}` : markup`<code>${part}</code>`));
    return markup`<p>${parts}</p>`;
  });
  return markup`${paragraphs}`;
}
