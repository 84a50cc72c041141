/**
 * What was found on an image, drawn over it.
 */
import { percent } from "./bars.ts";
import { h, svg } from "./dom.ts";
import { hueOf } from "./spans.ts";
import type { FieldValue } from "./tasks.ts";

export interface Box {
  readonly label: string;
  readonly score: number;
  readonly xmin: number;
  readonly ymin: number;
  readonly xmax: number;
  readonly ymax: number;
}

export interface Segment {
  readonly label: string;
  /** A grey PNG in base64. */
  readonly mask: string;
  readonly score?: number | undefined;
}

/** More hide the image. */
const MOST_BOXES = 100;

/** A PNG that the server answered with, in base64. */
export function picture(base64: string, alt: string): HTMLElement {
  return h("img", { class: "answer-image", src: `data:image/png;base64,${base64}`, alt });
}

/** The image under a drawing of its own size, once that is known. */
function over(
  image: FieldValue | undefined,
  draw: (width: number, height: number) => Element,
): HTMLElement {
  const url = typeof image === "object" && "url" in image ? image.url : "";
  const frame = h("div", { class: "frame" });
  const onload = (): void => frame.append(draw(shown.naturalWidth, shown.naturalHeight));
  const shown = h("img", { src: url, alt: "The image that was asked about", onload });
  frame.append(shown);
  return frame;
}

function legend(
  items: readonly {
    readonly label: string;
    readonly score?: number | undefined;
    readonly hue: number;
  }[],
): HTMLElement {
  return h(
    "ul",
    { class: "legend" },
    ...items.map(({ label, score, hue }) => {
      const swatch = h("i", { "aria-hidden": "true" });
      swatch.style.setProperty("--hue", String(hue));
      return h(
        "li",
        {},
        swatch,
        label || "(no name)",
        score !== undefined && h("span", { class: "quiet" }, ` ${percent(score)}`),
      );
    }),
  );
}

export function drawBoxes(all: readonly Box[], image: FieldValue | undefined): HTMLElement {
  const boxes = [...all].sort((a, b) => b.score - a.score).slice(0, MOST_BOXES);
  const drawing = over(image, (width, height) => {
    const unit = width / 100;
    return svg(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
      ...boxes.map(({ label, score, xmin, ymin, xmax, ymax }) => {
        const size = unit * 3.6;
        const top = Math.max(ymin, size * 1.4);
        const group = svg(
          "g",
          {},
          svg("rect", {
            x: xmin,
            y: ymin,
            width: Math.max(0, xmax - xmin),
            height: Math.max(0, ymax - ymin),
            "stroke-width": unit * 0.7,
            class: "box",
          }),
          svg("rect", {
            x: xmin,
            y: top - size * 1.4,
            width: Math.min(width, (label.length + 6) * size * 0.56),
            height: size * 1.4,
            class: "tag",
          }),
          svg(
            "text",
            { x: xmin + size * 0.3, y: top - size * 0.35, "font-size": size },
            `${label} ${percent(score)}`,
          ),
        );
        group.style.setProperty("--hue", String(hueOf(label)));
        return group;
      }),
    );
  });
  const listed = boxes.map(({ label, score }) => ({ label, score, hue: hueOf(label) }));
  return h("div", { class: "stack" }, drawing, legend(listed));
}

export function drawMasks(
  segments: readonly Segment[],
  image: FieldValue | undefined,
): HTMLElement {
  // Neighbours in the list are far apart in colour, whatever they are called.
  const coloured = segments
    .slice(0, MOST_BOXES)
    .map((segment, index) => ({ ...segment, hue: (index * 137 + 20) % 360 }));
  const drawing = over(image, (width, height) => {
    const canvas = h("canvas", { width, height, "aria-hidden": "true" });
    for (const segment of coloured) void paint(canvas, segment.mask, segment.hue);
    return canvas;
  });
  return h("div", { class: "stack" }, drawing, legend(coloured));
}

/** The mask's light becomes the colour's strength. */
async function paint(canvas: HTMLCanvasElement, mask: string, hue: number): Promise<void> {
  const { width, height } = canvas;
  const image = new Image();
  image.src = `data:image/png;base64,${mask}`;
  await image.decode().catch(() => undefined); // no image: nothing is drawn
  const layer = h("canvas", { width, height });
  const pen = layer.getContext("2d");
  if (pen === null || image.naturalWidth === 0) return;
  pen.drawImage(image, 0, 0, width, height);
  const pixels = pen.getImageData(0, 0, width, height);
  const [red, green, blue] = toRgb(hue);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const light = pixels.data[at] ?? 0;
    pixels.data.set([red, green, blue, light * 0.6], at);
  }
  pen.putImageData(pixels, 0, 0);
  canvas.getContext("2d")?.drawImage(layer, 0, 0);
}

/** A bright colour of that hue. */
function toRgb(hue: number): readonly [number, number, number] {
  const part = (offset: number): number => {
    const place = (offset + hue / 30) % 12;
    return Math.round(255 * (0.5 - 0.42 * Math.max(-1, Math.min(place - 3, 9 - place, 1))));
  };
  return [part(0), part(8), part(4)];
}
