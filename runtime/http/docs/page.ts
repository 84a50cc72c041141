/**
 * The description as a page: nothing but HTML and a style, so it needs neither a network nor JavaScript, and can be kept as a file.
 *
 * Whatever it shows is escaped; its Content Security Policy allows its own style and nothing else.
 */
import { createHash } from "node:crypto";

import type { JsonValue } from "../../inference.ts";
import { isFields, textIn, type Fields } from "../openapi/components.ts";
import { Html, markup, prose } from "./html.ts";
import { renderOperation, type Shown } from "./operation.ts";
import { createSchemaView } from "./schema.ts";
import { STYLE } from "./style.ts";

const STYLE_HASH = createHash("sha256").update(STYLE).digest("base64");

export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": [
    "default-src 'none'",
    `style-src 'sha256-${STYLE_HASH}'`,
    "form-action 'none'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join("; "),
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-cache",
};

/**
 * @param api What `describeApi` makes.
 * @param origin Where the server is, for commands.
 */
export function renderPage(api: JsonValue, origin: string): string {
  const document = isFields(api) ? api : {};
  const info = fieldsIn(document, "info");
  const title = textIn(info, "title");
  const groups = groupsOf(document);
  const view = createSchemaView(document);
  const sections = groups.map(
    ({ name, about, operations }) =>
      markup`<section>
        <h2 id="${anchor(name)}">${name}</h2>
        <div class="lead">${prose(about)}</div>
        ${operations.map((shown, index) =>
          renderOperation(shown, {
            document,
            origin,
            view,
            isOpen: index === 0 && name === groups[0]?.name,
          }),
        )}
      </section>`,
  );
  return `<!doctype html>${
    markup`<html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width,initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title}: API</title>
        ${styleTag}
      </head>
      <body>
        <div class="frame">
          <nav aria-label="Contents">
            <a href="#top"><strong>${title}</strong></a>
            <div class="contents">${groups.map(renderContents)}</div>
          </nav>
          <main id="top">
            <h1>${title}</h1>
            <div class="lead">
              ${prose(textIn(info, "description"))}
              <p>
                hubserve ${textIn(info, "version")} · <a href="openapi.json">openapi.json</a> ·
                ${origin}
              </p>
            </div>
            ${sections}
          </main>
        </div>
      </body>
    </html>`.text
  }\n`;
}

/** Not escaped: the hash is of the text as it is. */
const styleTag = markup`<style>${new Html(STYLE)}</style>`;

interface Group {
  readonly name: string;
  readonly about: string;
  readonly operations: readonly Shown[];
}

function groupsOf(document: Fields): readonly Group[] {
  const { tags, paths } = document;
  const all = Object.entries(isFields(paths) ? paths : {}).flatMap(([path, methods]) =>
    Object.entries(isFields(methods) ? methods : {}).map(([method, operation]): Shown => ({
      path,
      method,
      operation: isFields(operation) ? operation : {},
    })),
  );
  return (Array.isArray(tags) ? tags : []).filter(isFields).map((tag) => {
    const name = textIn(tag, "name");
    const own = all.filter(({ operation: { tags: of } }) => Array.isArray(of) && of.includes(name));
    // What no model answers comes last.
    const operations = own.toSorted((a, b) => Number(isOff(a)) - Number(isOff(b)));
    return { name, about: textIn(tag, "description"), operations };
  });
}

function isOff({ operation }: Shown): boolean {
  return operation["x-hubserve-unavailable"] !== undefined;
}

function renderContents({ name, operations }: Group): Html {
  const items = operations.map((shown) => {
    const { path, method, operation } = shown;
    const classes = isOff(shown) ? `${method} off` : method;
    return markup`<li class="${classes}">
      <a href="#${textIn(operation, "operationId")}"
        ><b>${method}</b><span>${breakable(path)}</span></a
      >
    </li>`;
  });
  return markup`<h2>${name}</h2>
    <ul>
      ${items}
    </ul>`;
}

/** Long paths break before a slash. */
function breakable(path: string): Html {
  return markup`${path.split(/(?=\/)/).map((part) => markup`<wbr />${part}`)}`;
}

function anchor(name: string): string {
  return name.toLowerCase().replaceAll(/\W+/g, "-");
}

function fieldsIn(fields: Fields, key: string): Fields {
  const value = fields[key];
  return isFields(value) ? value : {};
}
