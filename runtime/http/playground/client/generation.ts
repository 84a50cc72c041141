/**
 * Forms for models that write: a conversation where the model has a chat template, a text to go on with otherwise, or both.
 */
import type { GenerationAbilities } from "../../../generation.ts";
import type { JsonValue } from "../../../inference.ts";
import type { ShownModel } from "../wire.ts";
import { pathOf, Refusal } from "./api.ts";
import { fill, freshId, h } from "./dom.ts";
import type { Asked, Form, Writer } from "./forms.ts";
import type { Fields } from "./json.ts";
import { createSimple, type Simple } from "./parameters.ts";

/** OpenAI's name, Hugging Face's, and what the page says of itself. */
const SETTINGS: readonly {
  readonly name: string;
  readonly huggingFace: string;
  readonly simple: Simple;
  readonly preset?: number;
}[] = [
  {
    name: "max_tokens",
    huggingFace: "max_new_tokens",
    simple: { type: "integer", minimum: 1 },
    preset: 120,
  },
  {
    name: "temperature",
    huggingFace: "temperature",
    simple: { type: "number", minimum: 0, maximum: 2 },
  },
  { name: "top_p", huggingFace: "top_p", simple: { type: "number", minimum: 0, maximum: 1 } },
  { name: "seed", huggingFace: "seed", simple: { type: "integer", minimum: 0 } },
];

export function createGenerationForm(
  model: ShownModel,
  { chat }: GenerationAbilities,
  onChange: () => void,
): Form {
  const settings = createSettings(onChange);
  const completion = createCompletion(model, settings, onChange);
  if (!chat) return withSettings(completion, settings);
  const conversation = createConversation(model, settings, onChange);
  let isChat = true;
  const now = (): Form => (isChat ? conversation : completion);
  const place = h("div", {}, conversation.element);
  const buttons = ["Chat", "Complete"].map((label, index) =>
    h(
      "button",
      {
        type: "button",
        "aria-pressed": String(index === 0),
        onclick: () => {
          isChat = index === 0;
          buttons.forEach((each, at) => each.setAttribute("aria-pressed", String(at === index)));
          fill(place, now().element);
          void now().begin();
        },
      },
      label,
    ),
  );
  const element = h(
    "div",
    {},
    h("div", { class: "switch", role: "group", "aria-label": "How to ask" }, ...buttons),
    place,
    settings.element,
  );
  return {
    element,
    about: "Chats, and continues texts",
    get explains() {
      return now().explains;
    },
    read: (explains) => now().read(explains),
    begin: async () => now().begin(),
    write: (answer) => {
      const writer = now().write?.(answer);
      if (writer === undefined)
        throw new TypeError("A form that streams has to show what is written");
      return writer;
    },
  };
}

function withSettings(form: Form, settings: Settings): Form {
  return { ...form, element: h("div", {}, form.element, settings.element) };
}

interface Settings {
  readonly element: HTMLElement;
  read(isOpenAI: boolean): Fields;
}

function createSettings(onChange: () => void): Settings {
  const controls = SETTINGS.map(({ name, huggingFace, simple, preset }) => ({
    name,
    huggingFace,
    control: createSimple(name, simple, preset, onChange),
  }));
  const grid = h("div", { class: "grid" }, ...controls.map(({ control }) => control.element));
  return {
    element: h("details", { class: "parameters" }, h("summary", {}, "Parameters"), grid),
    read: (isOpenAI) =>
      Object.fromEntries(
        controls.flatMap(({ name, huggingFace, control }) => {
          const value = control.read();
          return value === undefined ? [] : [[isOpenAI ? name : huggingFace, value] as const];
        }),
      ),
  };
}

function createCompletion(model: ShownModel, settings: Settings, onChange: () => void): Form {
  const id = freshId();
  const prompt = h("textarea", { id, rows: 4, oninput: onChange });
  const examples = ["Once upon a time", "The little dog"].map((text) =>
    h(
      "button",
      {
        type: "button",
        class: "chip",
        onclick: () => {
          prompt.value = text;
          onChange();
        },
      },
      text,
    ),
  );
  return {
    element: h(
      "div",
      {},
      h("div", { class: "examples", role: "group", "aria-label": "Examples" }, ...examples),
      h("div", { class: "field" }, h("label", { for: id }, "Prompt"), prompt),
    ),
    about: "Continues a text",
    explains: model.handler === "default",
    read(explains) {
      const text = prompt.value;
      if (text === "") {
        throw new Refusal("“Prompt” is empty", () => prompt.focus());
      }
      const parameters = { ...settings.read(false), explain: true };
      if (explains)
        return { path: pathOf(model), body: { inputs: text, parameters }, values: { text } };
      const body = { model: model.name, prompt: text, ...settings.read(true), stream: true };
      return { path: "/v1/completions", body, values: { text }, stream: "completion" };
    },
    async begin() {
      if (prompt.value === "") prompt.value = "Once upon a time";
      onChange();
    },
    write(place) {
      const written = h("span", { class: "written" });
      fill(place, h("p", { class: "prose" }, h("span", { class: "quiet" }, prompt.value), written));
      return { add: (text) => written.append(text), end: () => undefined };
    },
  };
}

interface Message {
  readonly role: "user" | "assistant";
  readonly content: string;
}

function createConversation(model: ShownModel, settings: Settings, onChange: () => void): Form {
  const [systemId, id] = [freshId(), freshId()];
  let said: readonly Message[] = [];
  const log = h("div", { class: "chat", role: "log", "aria-label": "Conversation", tabindex: 0 });
  const system = h("input", {
    id: systemId,
    type: "text",
    placeholder: "none",
    autocomplete: "off",
    oninput: onChange,
  });
  const next = h("textarea", { id, rows: 2, placeholder: "Say something…", oninput: onChange });
  const clear = h(
    "button",
    {
      type: "button",
      class: "plain",
      onclick: () => {
        said = [];
        draw();
        next.focus();
        onChange();
      },
    },
    "New conversation",
  );

  function draw(): void {
    fill(log, ...said.map(({ role, content }) => bubble(role, content)));
    log.hidden = said.length === 0;
    clear.hidden = said.length === 0;
  }

  function messages(): readonly JsonValue[] {
    const prelude = system.value === "" ? [] : [{ role: "system", content: system.value }];
    return [
      ...prelude,
      ...said.map(({ role, content }) => ({ role, content })),
      { role: "user", content: next.value },
    ];
  }

  draw();
  return {
    element: h(
      "div",
      {},
      h("div", { class: "field" }, h("label", { for: systemId }, "System prompt"), system),
      log,
      h("div", { class: "field" }, h("label", { for: id }, "Message"), next),
      clear,
    ),
    about: "Chats",
    explains: false,
    read(): Asked {
      if (next.value.trim() === "") {
        throw new Refusal("“Message” is empty", () => next.focus());
      }
      const body = {
        model: model.name,
        messages: messages(),
        ...settings.read(true),
        stream: true,
        stream_options: { include_usage: true },
      };
      return { path: "/v1/chat/completions", body, values: {}, stream: "chat" };
    },
    async begin() {
      if (said.length === 0 && next.value === "") next.value = "Hello! Who are you?";
      onChange();
    },
    write(place): Writer {
      const question = next.value;
      let answer = "";
      const answered = bubble("assistant", "");
      fill(place);
      log.hidden = false;
      log.append(bubble("user", question), answered);
      next.value = "";
      const follow = (): void => void (log.scrollTop = log.scrollHeight);
      follow();
      return {
        add(text) {
          answer += text;
          answered.append(text);
          follow();
        },
        end(isWhole) {
          if (answer !== "" || isWhole)
            said = [
              ...said,
              { role: "user", content: question },
              { role: "assistant", content: answer },
            ];
          else if (next.value === "") next.value = question; // it may be sent again
          draw();
          follow();
          next.focus();
        },
      };
    },
  };
}

function bubble(role: Message["role"], content: string): HTMLElement {
  const who = h("span", { class: "unseen" }, role === "user" ? "You: " : "Model: ");
  return h("p", { class: `bubble ${role}` }, who, content);
}
