/**
 * The form for a model: its task's fields and parameters, or, for a handler of a repository's own, what its schema says or
 * an editor for JSON.
 */
import type { JsonValue } from "../../../inference.ts";
import type { ShownModel } from "../wire.ts";
import { parse, pathOf, Refusal } from "./api.ts";
import { createControl, type Control } from "./controls.ts";
import { fill, freshId, h } from "./dom.ts";
import { createGenerationForm } from "./generation.ts";
import { isFields, type Fields } from "./json.ts";
import type { MediaFile } from "./media.ts";
import { createParameters, createSimple, toSimple } from "./parameters.ts";
import { TASKS, type Example, type TaskForm, type Values } from "./tasks.ts";

/** A request that the visitor has put together. */
export interface Asked {
  readonly path: string;
  readonly body: JsonValue;
  /** What stands in it as base64. */
  readonly media?: MediaFile | undefined;
  /** What the visitor typed, by field: what an answer's places point into. */
  readonly values: Values;
  /** Whether the answer is written piece by piece: by OpenAI's protocol. */
  readonly stream?: "chat" | "completion";
}

export interface Form {
  readonly element: HTMLElement;
  readonly about: string;
  /** Whether the model can explain its answers. */
  readonly explains: boolean;
  /**
   * @param explains Whether an explanation is wanted too.
   * @throws Refusal that says what is missing.
   */
  read(explains: boolean): Asked;
  /** Puts the first example in. */
  begin(): Promise<void>;
  /** Where a streamed answer is shown as it is written; only with forms that ask for such. */
  readonly write?: (place: HTMLElement) => Writer;
}

export interface Writer {
  add(text: string): void;
  /** @param isWhole Whether it was written to its end. */
  end(isWhole: boolean): void;
}

export function createForm(model: ShownModel, onChange: () => void): Form {
  const task = model.handler === "default" ? TASKS[model.task ?? ""] : undefined;
  // OpenAI's protocol, which streams, names a model and no version.
  if (model.generation !== undefined && model.isDefaultVersion)
    return createGenerationForm(model, model.generation, onChange);
  if (task !== undefined) return createTaskForm(task, model, onChange);
  const properties = formOf(model.schemas?.inputs);
  return properties === undefined
    ? createJsonForm(model, onChange)
    : createSchemaForm(properties, model, onChange);
}

function createTaskForm(task: TaskForm, model: ShownModel, onChange: () => void): Form {
  const controls = new Map<string, Control>();
  for (const [name, field] of Object.entries(task.fields))
    controls.set(name, createControl(field, onChange));
  const parameters = createParameters(
    model.schemas?.parameters,
    task.presets ?? {},
    ["candidate_labels"],
    onChange,
  );
  const examples = examplesFor(task, model);

  const elements = (isOptional: boolean): readonly (HTMLElement | undefined)[] =>
    Object.entries(task.fields)
      .filter(([, field]) => (field.isOptional === true) === isOptional)
      .map(([name]) => controls.get(name)?.element);
  for (const element of elements(true)) if (element) parameters.element.append(element);

  async function use({ values }: Example): Promise<void> {
    for (const [name, value] of Object.entries(values)) await controls.get(name)?.set(value);
    onChange();
  }

  return {
    element: h("div", {}, createExamples(examples, use), ...elements(false), parameters.element),
    about: task.about,
    explains: task.explains === true,
    read(explains) {
      const values: Record<string, Values[string]> = {};
      for (const [name, { label, isOptional }] of Object.entries(task.fields)) {
        const value = controls.get(name)?.read();
        if (value !== undefined) values[name] = value;
        else if (isOptional !== true) {
          throw new Refusal(`“${label}” is empty`, () => controls.get(name)?.focus());
        }
      }
      const media = Object.values(values).find(isMediaFile);
      const all = {
        ...parameters.read(),
        ...task.parameters?.(values),
        ...(explains && { explain: true }),
      };
      const isBare = Object.keys(all).length === 0 && !wantsParameters(model);
      const body = { inputs: task.inputs(values), ...(!isBare && { parameters: all }) };
      return { path: pathOf(model), body, media, values };
    },
    begin: async () => {
      const [first] = examples;
      if (first !== undefined) await use(first);
    },
  };
}

/** Models that are not the first are asked on TorchServe's route, which answers four tasks in full only with parameters. */
function wantsParameters({ isFirst, task }: ShownModel): boolean {
  return (
    !isFirst && /^(?:text|token)-classification$|^question-answering$|^text-gen/.test(task ?? "")
  );
}

function isMediaFile(value: Values[string]): value is MediaFile {
  return typeof value === "object" && "base64" in value;
}

/** A model with a mask of its own says so in its example. */
function examplesFor(
  { examples, fields }: TaskForm,
  { task, example }: ShownModel,
): readonly Example[] {
  const own = isFields(example) ? example["inputs"] : undefined;
  if (typeof own !== "string" || !("text" in fields)) return examples;
  if (task !== "fill-mask") return examples;
  const mask = /is (.+)\.$/.exec(own)?.[1] ?? "[MASK]";
  return examples.map(({ label, values }) => ({
    label,
    values: { ...values, text: (values["text"] ?? "").replace("[MASK]", mask) },
  }));
}

function createExamples(
  examples: readonly Example[],
  use: (example: Example) => Promise<void>,
): HTMLElement {
  return h(
    "div",
    { class: "examples", role: "group", "aria-label": "Examples" },
    h("span", { class: "quiet", "aria-hidden": "true" }, "Try"),
    ...examples.map((example) =>
      h(
        "button",
        { type: "button", class: "chip", onclick: () => void use(example) },
        example.label,
      ),
    ),
  );
}

/** The properties of an object that simple controls can hold, all of them. */
function formOf(schema: JsonValue | undefined): Fields | undefined {
  if (!isFields(schema)) return undefined;
  if (toSimple(schema) !== undefined) return { "": schema };
  const { properties } = schema;
  if (!isFields(properties) || Object.keys(properties).length === 0) return undefined;
  return Object.values(properties).every((each) => toSimple(each) !== undefined)
    ? properties
    : undefined;
}

/** One control a property; `inputs` itself where the only name is empty. */
function createSchemaForm(properties: Fields, model: ShownModel, onChange: () => void): Form {
  const example = isFields(model.example) ? model.example["inputs"] : undefined;
  const controls = Object.entries(properties).flatMap(([name, schema]) => {
    const simple = toSimple(schema);
    const preset = name === "" ? example : isFields(example) ? example[name] : undefined;
    return simple === undefined
      ? []
      : [[name, createSimple(name || "inputs", simple, preset, onChange)] as const];
  });
  const parameters = createParameters(model.schemas?.parameters, {}, [], onChange);
  return {
    element: h("div", {}, ...controls.map(([, { element }]) => element), parameters.element),
    about: "Answers with a handler of its own",
    explains: false,
    read() {
      const values = controls.flatMap(([name, control]) => {
        const value = control.read();
        return value === undefined ? [] : [[name, value] as const];
      });
      const given = parameters.read();
      const bare = values.find(([name]) => name === "");
      const body = {
        inputs: bare === undefined ? Object.fromEntries(values) : bare[1],
        ...(Object.keys(given).length > 0 && { parameters: given }),
      };
      return { path: pathOf(model), body, values: {} };
    },
    begin: async () => onChange(),
  };
}

/** Where a handler says nothing of what it takes: a text, as most do. */
const EXAMPLE = { inputs: "I am quite excited how this will turn out" };

/** The whole body, as JSON; for a bare graph its tensors, in the Open Inference Protocol. */
function createJsonForm(model: ShownModel, onChange: () => void): Form {
  const id = freshId();
  const isGraph = model.task === undefined && model.signature !== undefined;
  const example = isGraph ? toTensors(model) : (model.example ?? EXAMPLE);
  const trouble = h("p", { class: "trouble", role: "alert" });
  const editor = h("textarea", {
    id,
    rows: 10,
    class: "code",
    spellcheck: "false",
    autocomplete: "off",
    oninput: () => {
      const isGood = parse(editor.value) !== undefined;
      fill(trouble, isGood ? undefined : "This is no JSON yet");
      onChange();
    },
  });
  return {
    element: h(
      "div",
      { class: "field" },
      h("label", { for: id }, "Request body, as JSON"),
      editor,
      trouble,
    ),
    about: isGraph ? "A graph that takes and gives tensors" : "Answers with a handler of its own",
    explains: false,
    read() {
      const body = parse(editor.value);
      if (body === undefined) throw new Refusal("The request body is no JSON");
      const version = model.isDefaultVersion
        ? ""
        : `/versions/${encodeURIComponent(model.version)}`;
      const path = isGraph
        ? `/v2/models/${encodeURIComponent(model.name)}${version}/infer`
        : pathOf(model);
      return { path, body, values: {} };
    },
    async begin() {
      editor.value = JSON.stringify(example, undefined, 2);
      onChange();
    },
  };
}

/** Zeros of the shapes that the graph takes, one where it takes any length. */
function toTensors({ signature }: ShownModel): JsonValue {
  return {
    inputs: (signature?.inputs ?? []).map(({ name, datatype, shape }) => {
      const sizes = shape.map((size) => Math.max(1, size));
      const count = Math.min(
        sizes.reduce((product, size) => product * size, 1),
        4096,
      );
      const zero = datatype === "BOOL" ? false : datatype === "BYTES" ? "" : 0;
      return { name, datatype, shape: sizes, data: Array.from({ length: count }, () => zero) };
    }),
  };
}
