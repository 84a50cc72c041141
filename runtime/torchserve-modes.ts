/**
 * The four modes of TorchServe's generalized transformer handler, and the tasks that they are.
 *
 * The default handler serves them; who opens an archive names the task when it says what to export.
 */
export const TASK_OF_MODE = {
  sequence_classification: "text-classification",
  token_classification: "token-classification",
  question_answering: "question-answering",
  text_generation: "text-generation",
} as const;

/** What may wrap TorchServe's bodies and answers: its `service_envelope`. */
export const ENVELOPES = ["body", "json", "kserve", "kservev2"] as const;
export type Envelope = (typeof ENVELOPES)[number];

export type Mode = keyof typeof TASK_OF_MODE;
