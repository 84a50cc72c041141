/**
 * An image with the labels to choose among: what the two zero-shot tasks on images are sent.
 *
 * The image is the body itself, `inputs`, or `inputs.image` (as `@huggingface/inference` sends it); labels may stand
 * beside it there, as in Python's zero-shot object detection.
 */
import { z } from "zod";

import { isMedia, type InferenceRequest } from "../../inference.ts";
import { BODY } from "../media/image.ts";
import { bodyFile } from "../media/source.ts";
import { gatherLabels } from "./candidate-labels.ts";
import { inputName, invalidInput } from "./inputs.ts";

const WANTED = `an image in base64, {"image"}, or a list of such`;
const Image = z.union(
  [z.string(), z.looseObject({ image: z.string("an image in base64") })],
  WANTED,
);

/** What `inputs` may be, in JSON. */
export const LabelledImageInputs = z.union([Image, z.array(Image)], WANTED);

/** One image of a request, not yet read. */
export interface LabelledImage {
  /** A string, a file, or whatever else the client has put there. */
  readonly value: unknown;
  /** What the client calls it. */
  readonly name: string;
  /** `parameters`, with the labels that stand elsewhere beside them. */
  readonly labels: ReturnType<typeof gatherLabels>;
}

/** @throws `INVALID_INPUT` where there is no image. */
export function labelledImages(
  request: InferenceRequest,
  action: string,
): { readonly images: readonly LabelledImage[]; readonly isList: boolean } {
  const { data } = request;
  const labelsOf = (place: unknown) => gatherLabels(data["parameters"], [place, data]);
  const media = bodyFile(request);
  if (media !== undefined) {
    return { images: [{ value: media, name: BODY, labels: labelsOf(undefined) }], isList: false };
  }
  const inputs = data["inputs"];
  const isList = Array.isArray(inputs);
  const values: readonly unknown[] = isList ? inputs : [inputs];
  const images = values.map((place, index): LabelledImage => {
    const isObject = typeof place === "object" && place !== null && !isFile(place);
    const value: unknown =
      isObject && "image" in place ? place.image : isObject ? undefined : place;
    const name = `${inputName(request, index)}${isObject ? ".image" : ""}`;
    if (value === undefined || value === null) {
      throw invalidInput(action, `"${name}" is missing, wanted an image in base64`);
    }
    return { value, name, labels: labelsOf(place) };
  });
  return { images, isList };
}

function isFile(value: unknown): boolean {
  return isMedia(value) || value instanceof Blob;
}
