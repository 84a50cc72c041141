/**
 * A model's chat template: what makes a conversation the text that the model was trained on.
 *
 * Where it lies and which one applies is as in Python's transformers 5.18 (`tokenization_utils_base.py`):
 * `chat_template.jinja` and `additional_chat_templates/*.jinja`, else `tokenizer_config.json` (one template, or a list with
 * names), else `chat_template.json`, which older processors wrote. Of several, `tool_use` answers where there are tools.
 * How a template is run, and within which limits, is in `chat-template-render.ts`.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

import { messageOf, RuntimeError, systemCodeOf } from "../../errors.ts";
import type { GenerationPrompt } from "../../generation.ts";
import { compileTemplate, type CompiledTemplate } from "./chat-template-render.ts";
import { readJson, type ModelFolder } from "./folder.ts";

export type ChatPrompt = Extract<GenerationPrompt, { kind: "chat" }>;

export interface ChatTemplate {
  /** Whether it does anything with `tools`. */
  readonly knowsTools: boolean;
  /**
   * The text that the model continues. It holds its special tokens, so a tokenizer must not add any.
   *
   * @throws RuntimeError `INVALID_INPUT` where the template refuses the conversation, or a limit does.
   */
  render(prompt: ChatPrompt): string;
}

export interface ChatTemplateOptions {
  /** Told of a template that cannot be used: the model is served without it. */
  readonly warn?: (sentence: string) => void;
  readonly now?: () => Date;
}

/** The longest template that is read, in characters; the longest on the Hub have a tenth of it. */
const MAX_TEMPLATE_CHARACTERS = 200_000;

const NAMES = { default: "default", tools: "tool_use" } as const;

/** @returns `undefined` where the model has none that can be used. */
export async function loadChatTemplate(
  folder: Pick<ModelFolder, "repository" | "prefix" | "files">,
  { warn = () => undefined, now = () => new Date() }: ChatTemplateOptions = {},
): Promise<ChatTemplate | undefined> {
  const config = await readTokenizerConfig(folder);
  const sources =
    (await readTemplateFiles(folder)) ?? config.templates ?? (await readLegacy(folder));
  const templates = new Map<string, CompiledTemplate>();
  for (const [name, { text, file }] of sources ?? []) {
    try {
      if (text.length > MAX_TEMPLATE_CHARACTERS) {
        throw new RangeError(
          `it has ${text.length} characters, wanted at most ${MAX_TEMPLATE_CHARACTERS}`,
        );
      }
      templates.set(name, compileTemplate(text, { tokens: config.tokens, now }));
    } catch (error) {
      warn(
        `Cannot use the chat template in ${file}: ${messageOf(error)}; conversations are refused`,
      );
    }
  }
  const usual = templates.get(NAMES.default);
  const forTools = templates.get(NAMES.tools) ?? usual;
  if (usual === undefined || forTools === undefined) return undefined;
  return {
    knowsTools: forTools.knowsTools,
    render(prompt) {
      const hasTools = prompt.tools !== undefined && prompt.tools.length > 0;
      return (hasTools ? forTools : usual).render(prompt);
    },
  };
}

interface Source {
  readonly text: string;
  /** Where it stands, for messages. */
  readonly file: string;
}
type Sources = ReadonlyMap<string, Source>;
type Folder = Pick<ModelFolder, "repository" | "prefix" | "files">;

/** `chat_template.jinja`, and others beside it in a folder of their own, named by their files. */
async function readTemplateFiles({
  repository,
  prefix,
  files,
}: Folder): Promise<Sources | undefined> {
  const found = new Map<string, Source>();
  for (const file of files) {
    const name = nameOf(file.startsWith(prefix) ? file.slice(prefix.length) : "");
    if (name !== undefined) found.set(name, { text: await readText(repository, file), file });
  }
  return found.size > 0 ? found : undefined;
}

function nameOf(path: string): string | undefined {
  if (path === "chat_template.jinja") return NAMES.default;
  return /^additional_chat_templates\/([^/]+)\.jinja$/.exec(path)?.[1];
}

async function readText(repository: string, file: string): Promise<string> {
  try {
    return await readFile(join(repository, file), "utf8");
  } catch (error) {
    const reason = systemCodeOf(error) ?? messageOf(error);
    throw new RuntimeError("MODEL_INVALID", `Cannot read ${file}: ${reason}`, { cause: error });
  }
}

const Templates = z.union(
  [z.string(), z.array(z.object({ name: z.string(), template: z.string() }))],
  "a template, or a list of templates with names",
);
const TokenizerConfig = z.looseObject({ chat_template: Templates.nullish() });
const LegacyFile = z.looseObject({ chat_template: Templates });
/** A special token's text, alone or with how it is matched. */
const SpecialToken = z.union([z.string(), z.looseObject({ content: z.string() })]);

/** The templates in `tokenizer_config.json`, and the special tokens that every template may name: `bos_token` and its like. */
async function readTokenizerConfig({
  repository,
  prefix,
  files,
}: Folder): Promise<{ templates?: Sources; tokens: Readonly<Record<string, string>> }> {
  const file = `${prefix}tokenizer_config.json`;
  const older = `${prefix}special_tokens_map.json`;
  const tokens: Record<string, string> = {};
  if (files.includes(older))
    Object.assign(tokens, tokensOf(await readJson(repository, older, Loose)));
  if (!files.includes(file)) return { tokens };
  const config = await readJson(repository, file, TokenizerConfig);
  Object.assign(tokens, tokensOf(config));
  const given = config.chat_template ?? undefined;
  return given === undefined ? { tokens } : { templates: toSources(given, file), tokens };
}

const Loose = z.looseObject({});

function tokensOf(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const tokens: Record<string, string> = {};
  for (const [key, value] of Object.entries(config)) {
    const { data } = SpecialToken.safeParse(value);
    if (data === undefined || !key.endsWith("_token")) continue;
    tokens[key] = typeof data === "string" ? data : data.content;
  }
  return tokens;
}

async function readLegacy({ repository, prefix, files }: Folder): Promise<Sources | undefined> {
  const file = `${prefix}chat_template.json`;
  if (!files.includes(file)) return undefined;
  return toSources((await readJson(repository, file, LegacyFile)).chat_template, file);
}

function toSources(given: z.output<typeof Templates>, file: string): Sources {
  if (typeof given === "string") return new Map([[NAMES.default, { text: given, file }]]);
  return new Map(
    given.map(({ name, template }) => [name, { text: template, file: `${file} ("${name}")` }]),
  );
}
