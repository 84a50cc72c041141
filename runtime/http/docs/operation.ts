/**
 * One route on the page: what it is for, what it takes, a command that asks it, what it answers.
 */
import type { JsonValue } from "../../inference.ts";
import { isFields, textIn, type Fields } from "../openapi/components.ts";
import { toCurl } from "./curl.ts";
import { markup, prose, type Html } from "./html.ts";
import { lookUp, typeText, type SchemaView } from "./schema.ts";

export interface Shown {
  readonly path: string;
  readonly method: string;
  readonly operation: Fields;
}

export interface Around {
  readonly document: Fields;
  readonly origin: string;
  readonly view: SchemaView;
  readonly isOpen: boolean;
}

export function renderOperation(shown: Shown, around: Around): Html {
  const { path, method, operation } = shown;
  const { description, deprecated } = operation;
  const unavailable = operation["x-hubserve-unavailable"];
  const isOff = typeof unavailable === "string";
  const classes = [
    "op",
    method,
    ...(isOff ? ["off"] : []),
    ...(deprecated === true ? ["old"] : []),
  ];
  const more = [
    isOff ? markup`<p class="note">${unavailable}</p>` : undefined,
    typeof description === "string" ? prose(description) : undefined,
    isOff ? undefined : renderCommands(shown, around),
    renderParameters(shown, around),
    renderBody(shown, around),
    renderAnswers(shown, around),
    renderFailures(shown, around),
    renderHeaders(shown, around),
  ];
  const open = around.isOpen ? markup` open` : undefined;
  return markup`<details class="${classes.join(" ")}"${open}>
    <summary>
      <span class="method">${method.toUpperCase()}</span><span class="path">${path}</span>
      <span class="summary">${textIn(operation, "summary")}</span>
    </summary>
    <div class="inside" id="${textIn(operation, "operationId")}">${more}</div>
  </details>`;
}

function renderCommands(shown: Shown, { document, origin }: Around): Html {
  const { path, method, operation } = shown;
  const common = {
    method: method.toUpperCase(),
    url: `${origin}${fillIn(path, parametersOf(shown, document))}`,
    needsKey: operation["security"] !== undefined,
  };
  const content = contentOf(operation["requestBody"]);
  const json = content["application/json"];
  const example = examplesOf(json).find(isReadable);
  const body = example ?? (json === undefined ? undefined : "@body.json");
  const file = fileFor(content);
  const commands = [
    ...(file === undefined ? [toCurl({ ...common, body })] : [toCurl({ ...common, file })]),
    ...(file !== undefined && example !== undefined ? [toCurl({ ...common, body })] : []),
  ];
  return markup`${commands.map((command) => markup`<pre><code>${command}</code></pre>`)}`;
}

/** Longer ones are for programs. */
const LONGEST_EXAMPLE = 1500;

function isReadable(value: JsonValue): boolean {
  return JSON.stringify(value).length <= LONGEST_EXAMPLE;
}

/** Where the body is a file of one kind. */
function fileFor(content: Fields): string | undefined {
  const [isImage, isSound] = ["image/*", "audio/*"].map((type) => Object.hasOwn(content, type));
  if (isImage === isSound) return undefined;
  return isImage === true ? "image.png" : "sound.wav";
}

/** Variables with their first example. */
function fillIn(path: string, parameters: readonly Fields[]): string {
  return path.replaceAll(/\{(\w+)\}/g, (variable, name: string) => {
    const parameter = parameters.find((each) => each["name"] === name && each["in"] === "path");
    const [value] = examplesOf(parameter);
    return typeof value === "string" ? encodeURIComponent(value) : variable;
  });
}

function parametersOf({ operation }: Shown, document: Fields): readonly Fields[] {
  const { parameters } = operation;
  return (Array.isArray(parameters) ? parameters : []).map((parameter: JsonValue) =>
    follow(parameter, document),
  );
}

/** What a reference leads to, or the thing itself. */
function follow(value: JsonValue, document: Fields): Fields {
  const reference = isFields(value) ? value["$ref"] : undefined;
  const found = typeof reference === "string" ? lookUp(document, reference) : value;
  return isFields(found) ? found : {};
}

function renderParameters(shown: Shown, { document }: Around): Html | undefined {
  const own = parametersOf(shown, document).filter((each) => each["in"] !== "header");
  return own.length === 0
    ? undefined
    : markup`<h3>Parameters</h3>
        ${toTable(own)}`;
}

/** Nearly every route has the same. */
function renderHeaders(shown: Shown, { document }: Around): Html | undefined {
  const own = parametersOf(shown, document).filter((each) => each["in"] === "header");
  const names = own.map((each) => textIn(each, "name")).join(", ");
  return own.length === 0
    ? undefined
    : markup`<details class="more">
        <summary>Headers: ${names}</summary>
        ${toTable(own)}
      </details>`;
}

function toTable(parameters: readonly Fields[]): Html {
  const rows = parameters.map((parameter) => {
    const { schema = {} } = parameter;
    const type = `${typeText(schema)}, in the ${textIn(parameter, "in")}`;
    return markup`<tr>
      <td><code>${textIn(parameter, "name")}</code></td>
      <td><span class="type">${type}</span>${prose(textIn(parameter, "description"))}</td>
    </tr>`;
  });
  return markup`<table>
    ${rows}
  </table>`;
}

function renderBody({ operation }: Shown, { view }: Around): Html | undefined {
  const content = contentOf(operation["requestBody"]);
  return Object.keys(content).length === 0
    ? undefined
    : markup`<h3>Body</h3>
        ${renderContent(content, view)}`;
}

function renderContent(content: Fields, view: SchemaView): Html {
  const forms = Object.entries(content).map(([type, form]) => {
    const schema = isFields(form) ? form["schema"] : undefined;
    const shape = schema === undefined ? undefined : markup`<br />${view.render(schema)}`;
    const examples = examplesOf(form)
      .filter(isReadable)
      .map((value) => markup`<pre><code>${JSON.stringify(value, undefined, 2)}</code></pre>`);
    return markup`<li><code>${type}</code>${shape}${examples}</li>`;
  });
  return markup`<ul class="schema">
    ${forms}
  </ul>`;
}

/** Answers of the route's own; what fails alike everywhere comes below. */
function renderAnswers({ operation }: Shown, { view }: Around): Html | undefined {
  const rows = responsesOf(operation).flatMap(([status, response]) => {
    if (response["$ref"] !== undefined) return [];
    const content = contentOf(response);
    const shape = Object.keys(content).length === 0 ? undefined : renderContent(content, view);
    const about = textIn(response, "description");
    return [
      markup`<tr>
        <td><code>${status}</code></td>
        <td>${about}${shape}</td>
      </tr>`,
    ];
  });
  return rows.length === 0
    ? undefined
    : markup`<h3>Answers</h3>
        <table>
          ${rows}
        </table>`;
}

function renderFailures({ operation }: Shown, { document, view }: Around): Html | undefined {
  const shared = responsesOf(operation).filter(([, response]) => response["$ref"] !== undefined);
  const [first] = shared.map(([, response]) => follow(response, document));
  if (first === undefined) return undefined;
  const rows = shared.map(([status, response]) => {
    const about = textIn(follow(response, document), "description");
    return markup`<tr>
      <td><code>${status}</code></td>
      <td>${about}</td>
    </tr>`;
  });
  const statuses = shared.map(([status]) => status).join(", ");
  return markup`<details class="more">
    <summary>Errors: ${statuses}</summary>
    ${renderContent(contentOf(first), view)}
    <table>
      ${rows}
    </table>
  </details>`;
}

function responsesOf({ responses }: Fields): readonly (readonly [string, Fields])[] {
  return Object.entries(isFields(responses) ? responses : {}).map(([status, response]) => [
    status,
    isFields(response) ? response : {},
  ]);
}

function contentOf(holder: JsonValue | undefined): Fields {
  const content = isFields(holder) ? holder["content"] : undefined;
  return isFields(content) ? content : {};
}

function examplesOf(holder: JsonValue | undefined): readonly JsonValue[] {
  const examples = isFields(holder) ? holder["examples"] : undefined;
  return Object.values(isFields(examples) ? examples : {}).flatMap((example) =>
    isFields(example) && example["value"] !== undefined ? [example["value"]] : [],
  );
}
