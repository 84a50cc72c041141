import assert from "node:assert/strict";
import { test } from "node:test";

import { chooseTask, taskOfArchitecture } from "../../../runtime/handler/model/choose-task.ts";

/** From models of the Hub, one per kind. */
const ARCHITECTURES: Readonly<Record<string, string | undefined>> = {
  ASTForAudioClassification: "audio-classification",
  BartForConditionalGeneration: "summarization",
  BartForSequenceClassification: "text-classification",
  BertForMaskedLM: "fill-mask",
  BertForQuestionAnswering: "question-answering",
  BertForSequenceClassification: "text-classification",
  BertForTokenClassification: "token-classification",
  BertModel: "feature-extraction",
  BlipForConditionalGeneration: "image-to-text",
  CLIPModel: "zero-shot-image-classification",
  ClapModel: "zero-shot-audio-classification",
  DPTForDepthEstimation: "depth-estimation",
  DetrForObjectDetection: "object-detection",
  DetrForSegmentation: "image-segmentation",
  Dinov2Model: "image-feature-extraction",
  DistilBertForSequenceClassification: "text-classification",
  GLPNForDepthEstimation: "depth-estimation",
  GPT2LMHeadModel: "text-generation",
  HubertForSequenceClassification: "audio-classification",
  LayoutLMv3ForQuestionAnswering: "document-question-answering",
  LlamaForCausalLM: "text-generation",
  M2M100ForConditionalGeneration: "translation",
  MODNet: "background-removal",
  MarianMTModel: "translation",
  ModernBertForMaskedLM: "fill-mask",
  MoonshineForConditionalGeneration: "automatic-speech-recognition",
  MusicgenForConditionalGeneration: "text-to-audio",
  NomicBertModel: "feature-extraction",
  OwlViTForObjectDetection: "zero-shot-object-detection",
  Qwen2VLForConditionalGeneration: "image-text-to-text",
  SegformerForSemanticSegmentation: "image-segmentation",
  SiglipModel: "zero-shot-image-classification",
  SpeechT5ForTextToSpeech: "text-to-audio",
  Swin2SRForImageSuperResolution: "image-to-image",
  T5EncoderModel: "feature-extraction",
  T5ForConditionalGeneration: "text2text-generation",
  TapasForQuestionAnswering: "table-question-answering",
  ViTForImageClassification: "image-classification",
  ViTModel: "image-feature-extraction",
  ViltForQuestionAnswering: "visual-question-answering",
  VisionEncoderDecoderModel: "image-to-text",
  VitsModel: "text-to-audio",
  Wav2Vec2ForCTC: "automatic-speech-recognition",
  Wav2Vec2ForSequenceClassification: "audio-classification",
  WhisperForConditionalGeneration: "automatic-speech-recognition",
  XLMRobertaModel: "feature-extraction",
  YolosForObjectDetection: "object-detection",
  Something: undefined,
};

for (const [architecture, task] of Object.entries(ARCHITECTURES)) {
  test(`taskOfArchitecture() reads ${architecture} as ${task ?? "nothing"}`, () => {
    assert.equal(taskOfArchitecture(architecture), task);
  });
}

type Folder = Parameters<typeof chooseTask>[0];

function folderWith(changes: Partial<Folder>): Folder {
  return { files: ["config.json"], prefix: "", config: {}, ...changes };
}

const SEQUENCE_CLASSIFIER = { architectures: ["BertForSequenceClassification"] };

test("chooseTask() follows the user before the card, the card before the files", () => {
  const files = ["config.json", "modules.json", "1_Pooling/config.json"];
  const folder = folderWith({
    files,
    pipelineTag: "sentence-similarity",
    config: SEQUENCE_CLASSIFIER,
  });
  assert.equal(chooseTask(folder, "fill-mask").task.name, "fill-mask");
  assert.equal(chooseTask(folder).task.name, "sentence-similarity");
  const { pipelineTag: _, ...withoutTag } = folder;
  assert.equal(chooseTask(withoutTag).task.name, "feature-extraction");
  assert.equal(
    chooseTask(folderWith({ config: SEQUENCE_CLASSIFIER })).task.name,
    "text-classification",
  );
});

const MODES = {
  sequence_classification: "text-classification",
  token_classification: "token-classification",
  question_answering: "question-answering",
  text_generation: "text-generation",
} as const;

for (const [mode, task] of Object.entries(MODES) as [keyof typeof MODES, string][]) {
  test(`chooseTask() serves ${task} in the mode ${mode}, after the user's word and before the card's`, () => {
    const folder = folderWith({ pipelineTag: "fill-mask", config: SEQUENCE_CLASSIFIER });
    const settings = { file: "setup_config.json", mode };
    const choice = chooseTask(folder, undefined, settings);
    assert.equal(choice.task.name, task);
    assert.equal(choice.why, `as the mode "${mode}" of setup_config.json says`);
    assert.equal(
      chooseTask(folder, "feature-extraction", settings).task.name,
      "feature-extraction",
    );
    const withoutMode = { file: "setup_config.json" };
    assert.equal(chooseTask(folder, undefined, withoutMode).task.name, "fill-mask");
  });
}

test("chooseTask() says why", () => {
  const config = SEQUENCE_CLASSIFIER;
  assert.equal(chooseTask(folderWith({ config }), "fill-mask").why, "as you named it");
  assert.equal(chooseTask(folderWith({ pipelineTag: "fill-mask" })).why, "as the model card says");
  assert.equal(
    chooseTask(folderWith({ config })).why,
    "which the architecture BertForSequenceClassification is for",
  );
});

test("chooseTask() knows aliases and does not mind capitals", () => {
  assert.equal(chooseTask(folderWith({}), "sentiment-analysis").task.name, "text-classification");
  assert.equal(chooseTask(folderWith({}), "Fill-Mask").task.name, "fill-mask");
});

const SERVED = /hubserve serves [a-z0-9-]+(?:, [a-z0-9-]+)+; name one with --task or HF_TASK/;

test("chooseTask() refuses a task it does not serve with those it does", () => {
  const refused = (folder: Partial<Folder>, wanted?: string) => {
    let message = "";
    assert.throws(
      () => chooseTask(folderWith(folder), wanted),
      (error: Error & { code?: string }) => {
        message = error.message;
        return error.code === "TASK_UNKNOWN";
      },
    );
    assert.match(message, SERVED);
    assert.match(message, /or write a handler\.ts$/);
    return message;
  };
  assert.match(
    refused({}, "text-classifcation"),
    /^Cannot serve the task "text-classifcation", perhaps you mean "text-classification": /,
  );
  assert.match(
    refused({ pipelineTag: "video-classification", config: SEQUENCE_CLASSIFIER }),
    /^Cannot serve the task "video-classification", which the model card names: .* \(BertForSequenceClassification is for text-classification\), /,
  );
  assert.match(
    refused({ config: { architectures: ["Qwen2VLForConditionalGeneration"] } }),
    /^Cannot serve the task "image-text-to-text", which the architecture Qwen2VLForConditionalGeneration is for: /,
  );
  assert.match(
    refused({ config: { architectures: ["Something"] } }),
    /^Cannot tell the model's task: the model card has no pipeline_tag, and the architecture in config\.json is "Something"; /,
  );
  assert.match(refused({ config: { architectures: null } }), /in config\.json is none; /);
});
