/**
 * The images of a request, wherever the client put them: the body itself, `inputs` in base64 or as a data URL, a list of
 * such, a form's files, or URLs of allowed hosts.
 *
 * A decoded photograph is large (up to 192 MB), what a network reads of it small. So an image is decoded, handed to the
 * task, and let go of before the next one but one is decoded, whatever number of requests is being prepared.
 */
import type { RawImage } from "@huggingface/transformers";
import { z } from "zod";

import type { InferenceRequest, Media } from "../../inference.ts";
import { BODY, decodeImage } from "../media/image.ts";
import { bodyFile, readSource } from "../media/source.ts";
import { inputName, invalidInput } from "./inputs.ts";
import type { Item, TaskContext } from "./task.ts";

const WANTED = "an image";

/** What `inputs` may be, in JSON; an image may also be the body itself. */
export const ImageInputs = z.union(
  [z.string(), z.array(z.string("an image in base64"))],
  "an image in base64, or a list of them",
);
export type ImageInputs = z.infer<typeof ImageInputs>;

/** A disc on a blue ground, 16 × 16 pixels: something to try a model of images with. */
export const EXAMPLE_IMAGE =
  "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAQMAAAAlPW0iAAAABlBMVEXmeBQoWqDTfyv4AAAACXBIWXMAAAPoAAAD6AG1e1JrAAAAIklEQVQI12P4/58Bgv7IM/zgZ/jAzvCAGQUBRYDiQFmwMgAEOxSYu87BvAAAAABJRU5ErkJggg==";

/** What every task on images ignores: how long Python may wait for an image that it fetches. */
export const IGNORED_IMAGE_PARAMETERS = ["timeout"] as const;

export interface ImageInput {
  /**
   * Every image of the request, made an item.
   *
   * @param toItem What the task keeps of an image; `name` is for refusals, `file` for who needs the image again.
   * @throws `INVALID_INPUT` when one of them is no image.
   */
  readAll<I extends Item>(
    request: InferenceRequest,
    context: Pick<TaskContext, "signal">,
    toItem: (image: RawImage, name: string, file: Media) => I | Promise<I>,
  ): Promise<{ readonly items: readonly I[]; readonly isList: boolean }>;
  /**
   * One image: a value of the request's data, or the body where `value` is the request's `media`.
   *
   * @param name What the client calls it: `inputs.image`.
   */
  read<T>(
    value: unknown,
    name: string,
    context: Pick<TaskContext, "signal">,
    use: (image: RawImage, name: string, file: Media) => T | Promise<T>,
  ): Promise<T>;
}

/** One is resized while the next is decoded. */
const MOST_AT_ONCE = 2;

/**
 * @param action What the task does, for refusals: `classify the image`.
 * @param urlHosts Hosts from which images may be fetched.
 */
export function createImageInput(action: string, urlHosts?: readonly string[]): ImageInput {
  const places = createPlaces(MOST_AT_ONCE);

  async function read<T>(
    value: unknown,
    name: string,
    { signal }: Pick<TaskContext, "signal">,
    use: (image: RawImage, name: string, file: Media) => T | Promise<T>,
  ): Promise<T> {
    const media = await readSource(value, { action, name, wanted: WANTED, urlHosts, signal });
    return places.within(async () => {
      signal.throwIfAborted();
      return use(await decodeImage(media, { action, name }), name, media);
    });
  }

  return {
    read,

    async readAll(request, context, toItem) {
      const media = bodyFile(request);
      if (media !== undefined) {
        return { items: [await read(media, BODY, context, toItem)], isList: false };
      }
      const inputs = request.data["inputs"];
      if (inputs === undefined || inputs === null) {
        throw invalidInput(
          action,
          `"inputs" is missing, wanted an image in base64, or a list of them`,
        );
      }
      const isList = Array.isArray(inputs);
      const values: readonly unknown[] = isList ? inputs : [inputs];
      const items = await Promise.all(
        values.map((value, index) => read(value, inputName(request, index), context, toItem)),
      );
      return { items, isList };
    },
  };
}

/** Lets at most `count` run at the same time; the others wait in order. */
function createPlaces(count: number): { within<T>(run: () => Promise<T>): Promise<T> } {
  let free = count;
  const waiting: (() => void)[] = [];
  return {
    async within(run) {
      if (free > 0) free--;
      else await new Promise<void>((resolve) => waiting.push(resolve));
      try {
        return await run();
      } finally {
        const next = waiting.shift();
        if (next === undefined) free++;
        else next(); // the place goes over
      }
    },
  };
}
