/**
 * One control for each kind of field: something to type, drop or record into, and to read from.
 */
import { fill, freshId, h } from "./dom.ts";
import { canRecord, record, toMediaFile, type MediaFile, type Recording } from "./media.ts";
import { makeImage, makeSound } from "./samples.ts";
import type { Field, FieldValue } from "./tasks.ts";

export interface Control {
  readonly element: HTMLElement;
  /** @returns `undefined` while there is nothing in it. */
  read(): FieldValue | undefined;
  /** Puts an example in: a text, or the name of an image or a sound that the page can make. */
  set(example: string): Promise<void>;
  focus(): void;
}

/** @param onChange Told whenever what it holds has changed. */
export function createControl(field: Field, onChange: () => void): Control {
  return field.kind === "image" || field.kind === "audio"
    ? createFileControl(field, field.kind, onChange)
    : createTextControl(field, onChange);
}

function createTextControl({ kind, label, hint }: Field, onChange: () => void): Control {
  const id = freshId();
  const hintId = hint === undefined ? undefined : `${id}h`;
  const shared = { id, "aria-describedby": hintId, oninput: onChange, autocomplete: "off" };
  const input =
    kind === "line"
      ? h("input", { type: "text", ...shared })
      : h("textarea", { rows: kind === "lines" ? 3 : 4, ...shared });
  return {
    element: h(
      "div",
      { class: "field" },
      h("label", { for: id }, label),
      hint !== undefined && h("p", { class: "hint", id: `${id}h` }, hint),
      input,
    ),
    read() {
      if (input.value.trim() === "") return undefined;
      if (kind !== "lines") return input.value;
      return input.value.split("\n").filter((line) => line.trim() !== "");
    },
    async set(example) {
      input.value = example;
    },
    focus: () => input.focus(),
  };
}

function createFileControl(
  { label }: Field,
  kind: MediaFile["kind"],
  onChange: () => void,
): Control {
  const id = freshId();
  let held: MediaFile | undefined;
  const preview = h("div", { class: "preview" });
  const trouble = h("p", { class: "trouble", role: "alert" });
  const input = h("input", {
    id,
    class: "file",
    type: "file",
    accept: `${kind}/*`,
    onchange: () => void take(input.files?.[0]),
  });

  function show(file: MediaFile): void {
    if (held !== undefined) URL.revokeObjectURL(held.url);
    held = file;
    trouble.textContent = "";
    const media =
      kind === "image"
        ? h("img", { src: file.url, alt: `The image that is asked about: ${file.name}` })
        : h("audio", { src: file.url, controls: true, "aria-label": file.name });
    fill(preview, media, h("span", { class: "quiet" }, file.name));
    onChange();
  }

  /** A file that the visitor has chosen, dropped or pasted. */
  async function take(file: File | undefined): Promise<void> {
    if (file === undefined) return;
    if (!file.type.startsWith(`${kind}/`) && file.type !== "") {
      trouble.textContent = `That is no ${kind}: ${file.type}`;
      return;
    }
    show(await toMediaFile(kind, file, file.name));
  }

  const zone = h(
    "div",
    {
      class: "drop",
      ondragover: (event: DragEvent) => {
        event.preventDefault();
        zone.classList.add("over");
      },
      ondragleave: () => zone.classList.remove("over"),
      ondrop: (event: DragEvent) => {
        event.preventDefault();
        zone.classList.remove("over");
        void take(event.dataTransfer?.files[0]);
      },
      onpaste: (event: ClipboardEvent) => void take(event.clipboardData?.files[0]),
    },
    preview,
    h(
      "p",
      {},
      h("label", { for: id, class: "pick" }, input, h("span", {}, `Choose ${label.toLowerCase()}`)),
      h("span", { class: "quiet" }, " or drop one here"),
    ),
    kind === "audio" && createRecorder((blob) => void keep(blob), trouble),
    trouble,
  );

  async function keep(blob: Blob): Promise<void> {
    show(await toMediaFile("audio", blob, "recording.wav"));
  }

  return {
    element: h(
      "div",
      { class: "field", role: "group", "aria-label": label },
      h("p", { class: "name" }, label),
      zone,
    ),
    read: () => held,
    set: async (example) => show(await (kind === "image" ? makeImage : makeSound)(example)),
    focus: () => input.focus(),
  };
}

function createRecorder(onSound: (blob: Blob) => void, trouble: HTMLElement): HTMLElement {
  if (!canRecord)
    return h("p", { class: "hint" }, "Recording needs HTTPS, or this page on localhost");
  let running: Recording | undefined;
  const button = h(
    "button",
    { type: "button", class: "plain", onclick: () => void toggle() },
    "Record",
  );

  async function toggle(): Promise<void> {
    button.disabled = true;
    try {
      if (running === undefined) running = await record();
      else {
        const ended = running;
        running = undefined;
        onSound(await ended.stop());
      }
    } catch (error) {
      trouble.textContent = `Cannot record: ${error instanceof Error ? error.message : "it failed"}`;
    }
    button.disabled = false;
    button.textContent = running === undefined ? "Record" : "Stop recording";
    button.classList.toggle("recording", running !== undefined);
  }

  return h("p", {}, button);
}
