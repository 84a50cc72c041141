/**
 * The playground's page, put together: which models there are, a form for the chosen one, its answer, snippets, figures.
 */
import type { ListedModel, ModelIndex, ShownModel } from "../wire.ts";
import { assertGood, createApi, Refusal, type Api } from "./api.ts";
import { showCard, showFacts } from "./card.ts";
import { byId, fill, h } from "./dom.ts";
import { watchFigures } from "./figures.ts";
import { createForm, type Form } from "./forms.ts";
import { askForKey } from "./key-dialog.ts";
import { run } from "./run.ts";
import { writeSnippets, type Snippets } from "./snippets.ts";
import { setUpTheme } from "./theme.ts";

/** A model that starts is looked at again after this long. */
const AGAIN_MS = 1500;

const api = createApi(askForKey);
const [form, title, facts, card] = ["form", "title", "facts", "card"].map(byId) as Four;
const [answer, json, status, trouble] = ["answer", "json", "status", "trouble"].map(byId) as Four;
type Four = [HTMLElement, HTMLElement, HTMLElement, HTMLElement]; // as many as were asked for
const runButton = byId("run") as HTMLButtonElement; // `page.html` has it so
const explainBox = byId("explain") as HTMLInputElement;
const selector = byId("models") as HTMLSelectElement;

let known: readonly ListedModel[] = [];
let shown: { readonly model: ShownModel; readonly form: Form } | undefined;
let running: AbortController | undefined;
let stopWatching: () => void = () => undefined;

async function start(): Promise<void> {
  const listed = await ask<ModelIndex>("/playground/models");
  const [first] = listed.models;
  if (first === undefined) {
    title.textContent = "No model yet";
    fill(facts, h("li", { class: "state" }, "Register one on the management port"));
    setTimeout(() => void begin(start), AGAIN_MS);
    return;
  }
  fill(selector, ...listed.models.map((model) => h("option", {}, nameOf(model, listed.models))));
  byId("selector").hidden = listed.models.length < 2;
  known = listed.models;
  await show(first);
}

/** The version only where a name has several. */
function nameOf({ name, version }: ListedModel, all: readonly ListedModel[]): string {
  return all.filter((model) => model.name === name).length > 1 ? `${name} ${version}` : name;
}

async function ask<T>(path: string): Promise<T> {
  const response = await assertGood(await api.get(path));
  return (await response.json()) as T; // this server's own routes: `wire.ts`
}

/** Which model was asked for last; what comes late of others is left. */
let turn = 0;

async function show({ name, version }: ListedModel): Promise<void> {
  const own = ++turn;
  const query = new URLSearchParams({ name, version }).toString();
  const model = await ask<ShownModel>(`/playground/model?${query}`);
  if (own !== turn) return;
  title.textContent = model.name;
  document.title = `${model.name} · hubserve`;
  showFacts(facts, model);
  showCard(card, model);
  if (model.handler === undefined) {
    byId("workbench").hidden = true;
    setTimeout(() => own === turn && void begin(() => show(model)), AGAIN_MS);
    return;
  }
  stopWatching();
  stopWatching = watchFigures(byId("figures"), model, api);
  running?.abort();
  byId("workbench").hidden = false;
  clear();
  const made = createForm(model, () => refresh());
  shown = { model, form: made };
  fill(form, made.element);
  await made.begin();
  refresh();
}

function clear(): void {
  fill(answer, h("p", { class: "empty" }, "The answer will be shown here."));
  for (const place of [json, status, trouble]) place.textContent = "";
  byId("raw").hidden = true;
  byId("code").hidden = true;
}

/** The snippets follow what is typed. */
function refresh(): void {
  if (shown === undefined) return;
  byId("about").textContent = shown.form.about;
  byId("explains").hidden = !shown.form.explains;
  const snippets = snippetsOf(shown.model, shown.form, api);
  if (snippets === undefined) return; // those of the last request stay
  byId("code").hidden = false;
  byId("curl").textContent = snippets.curl;
  byId("typescript").textContent = snippets.typescript;
}

/** None while the form is not filled in. */
function snippetsOf(model: ShownModel, from: Form, { hasKey }: Api): Snippets | undefined {
  try {
    return writeSnippets(from.read(wantsExplanation(from)), model, location.origin, hasKey);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

function wantsExplanation({ explains }: Form): boolean {
  return explains && explainBox.checked;
}

async function press(): Promise<void> {
  if (running !== undefined) {
    running.abort();
    return;
  }
  if (shown === undefined) return;
  const own = (running = new AbortController());
  trouble.textContent = "";
  status.textContent = "";
  try {
    const asked = shown.form.read(wantsExplanation(shown.form));
    runButton.textContent = "Stop";
    byId("result").setAttribute("aria-busy", "true");
    status.textContent = "Asking the model …";
    await run(asked, shown.form, { answer, json, status }, api, own.signal);
    byId("raw").hidden = false;
  } catch (error) {
    if (!own.signal.aborted) throw error;
    status.textContent = "Stopped";
  } finally {
    running = undefined;
    runButton.textContent = "Run";
    byId("result").removeAttribute("aria-busy");
    refresh();
  }
}

/** What goes wrong is told to the visitor, whatever it was. */
async function begin(what: () => Promise<void>): Promise<void> {
  try {
    await what();
  } catch (error) {
    status.textContent = "";
    if (error instanceof Refusal) error.mend?.();
    const text = error instanceof Error ? error.message : "Something went wrong on this page";
    if (shown === undefined) {
      title.textContent = "Not available";
      fill(facts, h("li", { class: "state" }, text), h("li", {}, retry()));
    } else trouble.textContent = text;
  }
}

function retry(): HTMLElement {
  return h(
    "button",
    { type: "button", class: "plain", onclick: () => void begin(start) },
    "Try again",
  );
}

for (const button of document.querySelectorAll<HTMLButtonElement>("[data-copies]")) {
  button.addEventListener("click", () => void copy(button));
}

async function copy(button: HTMLButtonElement): Promise<void> {
  const source = byId(button.dataset["copies"] ?? "");
  try {
    await navigator.clipboard.writeText(source.textContent ?? "");
    button.textContent = "Copied";
  } catch {
    getSelection()?.selectAllChildren(source); // no clipboard without HTTPS: Ctrl+C does it
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

byId("request").addEventListener("submit", (event) => {
  event.preventDefault();
  void begin(press);
});
byId("request").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  if (running === undefined) void begin(press);
});
explainBox.addEventListener("change", refresh);
selector.addEventListener("change", () => {
  const chosen = known[selector.selectedIndex];
  if (chosen !== undefined) void begin(() => show(chosen));
});
setUpTheme(byId("theme"));
void begin(start);
