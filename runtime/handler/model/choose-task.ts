/**
 * Which task a model is for.
 *
 * The user's word comes first, then `mode` of TorchServe's generalized handler, then the model card's `pipeline_tag`,
 * then the layout of sentence-transformers, then the architecture in `config.json`. The table knows more tasks than are
 * served, so that a refusal can name what the model is for. To add an architecture: one line, above the first line that
 * would also match it.
 */
import { RuntimeError } from "../../errors.ts";
import { nearestWord } from "../../nearest-word.ts";
import { isSentenceTransformer, type ModelFolder } from "./folder.ts";
import { TASK_OF_MODE, type HandlerSettings } from "./handler-settings.ts";
import { findTask, TASKS, type TaskEntry } from "../tasks/registry.ts";

/** Class names of transformers and the task each was trained for; the first match wins. */
const TASK_OF_ARCHITECTURE: readonly (readonly [architecture: RegExp, task: string])[] = [
  // Speech and sound: some share their class's ending with text models.
  [
    /^(?:Wav2Vec2|Hubert|WavLM|UniSpeech|Data2VecAudio|SEW|Whisper)\w*ForSequenceClassification$/,
    "audio-classification",
  ],
  [/ForAudioClassification$|^WhisperForAudioClassification$/, "audio-classification"],
  [/ForCTC$/, "automatic-speech-recognition"],
  [
    /^(?:Whisper|Speech2Text|Moonshine|SpeechEncoderDecoder)\w*(?:ForConditionalGeneration|Model)$/,
    "automatic-speech-recognition",
  ],
  [/^ClapModel$/, "zero-shot-audio-classification"],
  [/^VitsModel$|ForTextToSpeech$|^Musicgen\w*ForConditionalGeneration$/, "text-to-audio"],

  // Images.
  [/ForImageClassification(?:WithTeacher)?$/, "image-classification"],
  [/^(?:OwlViT|Owlv2|GroundingDino)\w*ForObjectDetection$/, "zero-shot-object-detection"],
  [/ForObjectDetection$/, "object-detection"],
  [/For(?:Semantic|Instance|Universal|Panoptic|Image)?Segmentation$/, "image-segmentation"],
  [/ForDepthEstimation$/, "depth-estimation"],
  [/ForImageSuperResolution$/, "image-to-image"],
  [/^(?:MODNet|BEN|BiRefNet|ISNet|IsNet|U2Net)$/, "background-removal"],
  [/^(?:CLIP|ChineseCLIP|Siglip2?|Align|AltCLIP|JinaCLIP)Model$/, "zero-shot-image-classification"],
  [
    /^(?:Beit|BiT|Bit|ConvNext|ConvNextV2|Deit|DeiT|Dinov2\w*|DINOv3\w*|EfficientNet|Hiera|MobileNet\w*|MobileViT\w*|Pvt\w*|ResNet|Swin|Swinv2|ViT|ViTMAE|ViTMSN)Model$/,
    "image-feature-extraction",
  ],
  [/^VisionEncoderDecoderModel$|^Blip\w*ForConditionalGeneration$/, "image-to-text"],
  [/^LayoutLM\w*ForQuestionAnswering$/, "document-question-answering"],
  [/^ViltForQuestionAnswering$/, "visual-question-answering"],
  [
    /^(?:Llava|Qwen2VL|Qwen2_5_VL|Qwen3VL|Idefics|PaliGemma|Florence2|SmolVLM|Mllama|Gemma3n?)\w*ForConditionalGeneration$/,
    "image-text-to-text",
  ],

  // Text.
  [/^Tapas\w*ForQuestionAnswering$/, "table-question-answering"],
  [/ForSequenceClassification$/, "text-classification"],
  [/ForTokenClassification$/, "token-classification"],
  [/ForQuestionAnswering$/, "question-answering"],
  [/ForMaskedLM$/, "fill-mask"],
  [/ForCausalLM$|LMHeadModel$/, "text-generation"],
  [/^MarianMTModel$|^(?:M2M100|NllbMoe)ForConditionalGeneration$/, "translation"],
  [/^(?:Bart|Pegasus|LED)ForConditionalGeneration$/, "summarization"],
  [/ForConditionalGeneration$/, "text2text-generation"],
  [/Model$/, "feature-extraction"],
];

/** The task that an architecture was trained for, served or not. */
export function taskOfArchitecture(architecture: string): string | undefined {
  return TASK_OF_ARCHITECTURE.find(([pattern]) => pattern.test(architecture))?.[1];
}

/** A task with the reason for it, as half a sentence. */
export interface TaskChoice {
  readonly task: TaskEntry;
  readonly why: string;
}

/**
 * Chooses the task of a model.
 *
 * @param wanted The task or alias that the user named.
 * @param settings What the repository says to TorchServe's generalized handler.
 * @throws `TASK_UNKNOWN` when no task can be told, or hubserve does not serve it.
 */
export function chooseTask(
  folder: Pick<ModelFolder, "files" | "prefix" | "config" | "pipelineTag">,
  wanted?: string,
  settings?: Pick<HandlerSettings, "file" | "mode">,
): TaskChoice {
  const architecture = folder.config.architectures?.[0];
  if (wanted !== undefined) {
    const near = nearestWord(wanted, TASK_NAMES);
    const suggestion = near === undefined ? "" : `, perhaps you mean "${near}"`;
    const action = `Cannot serve the task "${wanted}"${suggestion}`;
    return choose(wanted, "as you named it", action, architecture);
  }
  if (settings?.mode !== undefined) {
    const { file, mode } = settings;
    const task = TASK_OF_MODE[mode];
    const action = `Cannot serve the task "${task}", which is the mode "${mode}" of ${file}`;
    return choose(task, `as the mode "${mode}" of ${file} says`, action, architecture);
  }
  const { pipelineTag } = folder;
  if (pipelineTag !== undefined) {
    const action = `Cannot serve the task "${pipelineTag}", which the model card names`;
    return choose(pipelineTag, "as the model card says", action, architecture);
  }
  if (isSentenceTransformer(folder)) {
    const why = "as the repository is laid out by sentence-transformers";
    return choose("feature-extraction", why, `Cannot serve the task "feature-extraction"`);
  }
  const told = architecture === undefined ? undefined : taskOfArchitecture(architecture);
  if (told !== undefined) {
    const action = `Cannot serve the task "${told}", which the architecture ${architecture} is for`;
    return choose(told, `which the architecture ${architecture} is for`, action);
  }
  const found = architecture === undefined ? "none" : `"${architecture}"`;
  throw new RuntimeError(
    "TASK_UNKNOWN",
    `Cannot tell the model's task: the model card has no pipeline_tag, and the architecture in config.json is ${found}; ${whatToDo()}`,
  );
}

const TASK_NAMES = TASKS.flatMap((task) => [task.name, ...task.aliases]);

function choose(name: string, why: string, action: string, architecture?: string): TaskChoice {
  const task = findTask(name);
  if (task !== undefined) return { task, why };
  throw new RuntimeError("TASK_UNKNOWN", `${action}: ${whatToDo(architecture)}`);
}

/** What can be served, and how to get on. */
function whatToDo(architecture?: string): string {
  const served = TASKS.map((task) => task.name).join(", ");
  const fitting = architecture === undefined ? undefined : taskOfArchitecture(architecture);
  const hint =
    fitting !== undefined && findTask(fitting) !== undefined
      ? ` (${architecture} is for ${fitting})`
      : "";
  return `hubserve serves ${served}; name one with --task or HF_TASK${hint}, have the graph itself served with --task tensors, or write a handler.ts`;
}
