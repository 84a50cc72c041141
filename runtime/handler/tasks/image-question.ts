/**
 * An image with a question about it: what the two tasks that answer such are sent.
 *
 * `{"inputs": {"image", "question"}}`, a list of those, or, as `huggingface_hub` writes it,
 * `{"inputs": <image>, "question": …}`.
 */
import { z } from "zod";

import { isMedia, type InferenceRequest } from "../../inference.ts";
import { BODY } from "../media/image.ts";
import { bodyFile } from "../media/source.ts";
import { inputName, invalidInput } from "./inputs.ts";

const WANTED = `{"image", "question"}, or a list of such`;
const Asked = z.looseObject(
  { image: z.string("an image in base64"), question: z.string("a string") },
  WANTED,
);

/** What `inputs` may be, in JSON. */
export const ImageQuestionInputs = z.union([Asked, z.array(Asked), z.string()], WANTED);

/** One question of a request, its image not yet read. */
export interface ImageQuestion {
  /** A string, a file, or whatever else the client has put there. */
  readonly image: unknown;
  /** What the client calls the image. */
  readonly imageName: string;
  readonly question: string;
  /** What the client calls the question. */
  readonly questionName: string;
  /** Whether words with their places stand beside them. */
  readonly hasWordBoxes: boolean;
}

/** @throws `INVALID_INPUT` where an image or a question is missing. */
export function imageQuestions(
  request: InferenceRequest,
  action: string,
): { readonly questions: readonly ImageQuestion[]; readonly isList: boolean } {
  const { data } = request;
  const media = bodyFile(request);
  const inputs = media ?? data["inputs"];
  if (inputs === undefined || inputs === null) {
    throw invalidInput(action, `"inputs" is missing, wanted ${WANTED}`);
  }
  const isList = Array.isArray(inputs);
  const values: readonly unknown[] = isList ? inputs : [inputs];
  const questions = values.map((value, index): ImageQuestion => {
    const name = inputName(request, index);
    const isFile = isMedia(value) || value instanceof Blob;
    if (!isFile && typeof value === "object" && value !== null && !Array.isArray(value)) {
      const fields: Readonly<Record<string, unknown>> = { ...value };
      return read(fields, `${name}.image`, `${name}.question`);
    }
    const imageName = media === undefined ? name : BODY;
    return read({ image: value, question: data["question"] }, imageName, "question");
  });
  return { questions, isList };

  function read(
    { image, question, word_boxes }: Readonly<Record<string, unknown>>,
    imageName: string,
    questionName: string,
  ): ImageQuestion {
    if (image === undefined || image === null) {
      throw invalidInput(action, `"${imageName}" is missing, wanted an image in base64`);
    }
    if (typeof question !== "string") {
      const found = question === undefined || question === null ? "missing" : "not a string";
      throw invalidInput(action, `"${questionName}" is ${found}, wanted a string`);
    }
    const hasWordBoxes = word_boxes !== undefined && word_boxes !== null;
    return { image, imageName, question, questionName, hasWordBoxes };
  }
}
