/**
 * Asks the visitor for the server's key.
 */
import { freshId, h } from "./dom.ts";

/** @returns What was typed; `undefined` where the visitor would rather not. */
export async function askForKey(): Promise<string | undefined> {
  const id = freshId();
  const input = h("input", { id, type: "password", autocomplete: "off", required: true });
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", {}, "This server asks for a key"),
    h("p", { class: "quiet" }, "It stays in this tab, and is sent to this server alone."),
    h("div", { class: "field" }, h("label", { for: id }, "API key"), input),
    h(
      "div",
      { class: "row" },
      h("button", { type: "submit", class: "run", value: "use" }, "Use this key"),
      h("button", { type: "button", class: "plain", onclick: () => dialog.close() }, "Not now"),
    ),
  );
  const dialog = h("dialog", {}, form);
  document.body.append(dialog);
  dialog.showModal();
  await new Promise<void>((resolve) =>
    dialog.addEventListener("close", () => resolve(), { once: true }),
  );
  dialog.remove();
  const key = input.value.trim();
  return dialog.returnValue === "use" && key !== "" ? key : undefined;
}
