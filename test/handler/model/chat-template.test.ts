/**
 * Chat templates against Python's: `scripts/models/chat_goldens.py` made the goldens. Then where templates are found, and the limits.
 */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";

import { RuntimeError } from "../../../runtime/errors.ts";
import type { ChatMessage } from "../../../runtime/generation.ts";
import type { JsonValue } from "../../../runtime/inference.ts";
import { compileTemplate } from "../../../runtime/handler/model/chat-template-render.ts";
import { formatTime } from "../../../runtime/handler/model/chat-template-time.ts";
import { loadChatTemplate, type ChatPrompt } from "../../../runtime/handler/model/chat-template.ts";

const FIXTURES = fileURLToPath(new URL("../../fixtures/", import.meta.url));
const FOLDER = join(FIXTURES, "chat-templates");

interface Conversation {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly JsonValue[];
  readonly continue_final_message?: boolean;
  readonly [key: string]: JsonValue | readonly ChatMessage[] | undefined;
}
interface Goldens {
  readonly tokens: Readonly<Record<string, string>>;
  readonly now: string;
  readonly conversations: Readonly<Record<string, Conversation>>;
  readonly goldens: Readonly<
    Record<
      string,
      Readonly<Record<string, { readonly text?: string; readonly error?: string | true }>>
    >
  >;
}

const { tokens, now, conversations, goldens } = JSON.parse(
  await readFile(join(FOLDER, "goldens.json"), "utf8"),
) as Goldens; // the script's own shape

const globals = { tokens, now: () => new Date(now) };

function toPrompt({ messages, tools, continue_final_message, ...rest }: Conversation): ChatPrompt {
  return {
    kind: "chat",
    messages,
    ...(tools && { tools }),
    ...(continue_final_message === true && { continuesLast: true }),
    templateArguments: rest as Readonly<Record<string, JsonValue>>, // it came out of JSON
  };
}

const names = (await readdir(FOLDER)).filter((file) => file.endsWith(".jinja"));

test("the goldens are there for every template", () => {
  assert.deepEqual(
    names.map((file) => file.replace(".jinja", "")).sort(),
    Object.keys(goldens).sort(),
  );
  assert.ok(names.length > 12);
});

for (const [name, cases] of Object.entries(goldens)) {
  test(`${name} renders as Python renders it`, async () => {
    const { render } = compileTemplate(
      await readFile(join(FOLDER, `${name}.jinja`), "utf8"),
      globals,
    );
    for (const [title, { text, error }] of Object.entries(cases)) {
      const conversation = conversations[title];
      assert.ok(conversation);
      const prompt = toPrompt(conversation);
      // Python prints "None" for a text that is none; here it is empty, or no text that a filter takes.
      if (/none/i.test(text ?? "")) continue;
      if (text !== undefined) {
        assert.equal(render(prompt), text, title);
      } else {
        assert.throws(
          () => render(prompt),
          (thrown) => {
            assert.ok(thrown instanceof RuntimeError, title);
            assert.equal(thrown.code, "INVALID_INPUT", title);
            assert.match(thrown.message, /^Cannot make a prompt of the messages: /);
            const hasNone = conversation.messages.some(({ content }) => content === null);
            if (typeof error === "string" && !hasNone)
              assert.ok(thrown.message.endsWith(error), thrown.message);
            return true;
          },
          title,
        );
      }
    }
  });
}

/** A model folder with these files. */
async function folderOf(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  prefix: "" | "model/" = "",
) {
  const repository = await mkdtemp(join(tmpdir(), "hubserve-chat-"));
  t.after(() => rm(repository, { recursive: true }));
  const all = Object.entries(files).map(([name, text]) => [`${prefix}${name}`, text] as const);
  for (const [name, text] of all) {
    await mkdir(dirname(join(repository, name)), { recursive: true });
    await writeFile(join(repository, name), text);
  }
  return { repository, prefix, files: all.map(([name]) => name) };
}

const HELLO: ChatPrompt = { kind: "chat", messages: [{ role: "user", content: "hello" }] };
const TOOLS: ChatPrompt = { ...HELLO, tools: [{ type: "function", function: { name: "f" } }] };

test("a template is found in each of its places, files first", async (t) => {
  const config = JSON.stringify({
    chat_template: "config {{ bos_token }}",
    bos_token: { content: "<b>" },
  });
  const legacy = JSON.stringify({ chat_template: "legacy" });
  const places = [
    [{ "chat_template.json": legacy }, "legacy"],
    [{ "chat_template.json": legacy, "tokenizer_config.json": config }, "config <b>"],
    [
      { "chat_template.jinja": "file {{ bos_token }}", "tokenizer_config.json": config },
      "file <b>",
    ],
    [
      {
        "chat_template.jinja": "{{ eos_token }}",
        "special_tokens_map.json": '{"eos_token": "<e>"}',
      },
      "<e>",
    ],
  ] as const;
  for (const [files, text] of places) {
    for (const prefix of ["", "model/"] as const) {
      const template = await loadChatTemplate(await folderOf(t, files, prefix));
      assert.equal(template?.render(HELLO), text);
      assert.equal(template.knowsTools, false);
    }
  }
});

test("of several templates the one for tools answers where there are tools", async (t) => {
  const list = [
    { name: "default", template: "usual" },
    { name: "tool_use", template: "{{ tools | length }} tools" },
  ];
  const config = await loadChatTemplate(
    await folderOf(t, { "tokenizer_config.json": JSON.stringify({ chat_template: list }) }),
  );
  const files = await loadChatTemplate(
    await folderOf(t, {
      "chat_template.jinja": "usual",
      "additional_chat_templates/tool_use.jinja": "{{ tools | length }} tools",
      "additional_chat_templates/rag.jinja": "{{ documents }}",
    }),
  );
  for (const template of [config, files]) {
    assert.equal(template?.render(HELLO), "usual");
    assert.equal(template.render(TOOLS), "1 tools");
    assert.equal(template.render({ ...TOOLS, tools: [] }), "usual");
    assert.equal(template.knowsTools, true);
  }
});

test("a model without a template has none, and tools in a comment are no tools", async (t) => {
  assert.equal(await loadChatTemplate(await folderOf(t, {})), undefined);
  assert.equal(
    await loadChatTemplate(await folderOf(t, { "tokenizer_config.json": "{}" })),
    undefined,
  );
  const comment = await folderOf(t, { "chat_template.jinja": "{# tools #}no tools" });
  assert.equal((await loadChatTemplate(comment))?.knowsTools, false);
});

test("a template that is none costs a warning, not the model", async (t) => {
  const warnings: string[] = [];
  const warn = (text: string): void => void warnings.push(text);
  const broken = await folderOf(t, { "chat_template.jinja": "{% for message in %}" });
  assert.equal(await loadChatTemplate(broken, { warn }), undefined);
  const long = await folderOf(t, { "chat_template.jinja": "x".repeat(200_001) });
  assert.equal(await loadChatTemplate(long, { warn }), undefined);
  assert.equal(warnings.length, 2);
  assert.match(
    warnings[0] ?? "",
    /^Cannot use the chat template in chat_template\.jinja: .*refused$/,
  );
  assert.match(warnings[1] ?? "", /has 200001 characters, wanted at most 200000/);
});

test("the tiny model's own template is found", async () => {
  const repository = join(FIXTURES, "models/tiny-llama");
  const template = await loadChatTemplate({
    repository,
    prefix: "",
    files: await readdir(repository),
  });
  assert.equal(
    template?.render(HELLO),
    "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n",
  );
});

test("developers are the system to a template that does not know them", () => {
  const prompt: ChatPrompt = { kind: "chat", messages: [{ role: "developer", content: "" }] };
  const plain = compileTemplate("{{ messages[0].role }}", globals);
  const newer = compileTemplate("{{ messages[0].role }}{% if 'developer' in x %}{% endif %}", {
    ...globals,
    tokens: { x: "" },
  });
  assert.equal(plain.render(prompt), "system");
  assert.equal(newer.render(prompt), "developer");
});

test("a client's arguments reach the template, but replace neither messages nor functions", () => {
  const source =
    "{{ mood }} {{ messages | length }} {{ bos_token }} {{ range(2) | list | length }} {{ add_generation_prompt }}";
  const text = compileTemplate(source, globals).render({
    ...HELLO,
    templateArguments: { mood: "gay", messages: [], range: 7, add_generation_prompt: false },
  });
  assert.equal(text, "gay 1 <s> 2 False");
});

test("a conversation without messages is refused, whatever the template says", () => {
  refuses("{{ messages | length }}", { kind: "chat", messages: [] }, /found 0 messages/);
});

function refuses(source: string, prompt: ChatPrompt, pattern: RegExp): void {
  const { render } = compileTemplate(source, globals);
  assert.throws(
    () => render(prompt),
    (error) =>
      error instanceof RuntimeError &&
      error.code === "INVALID_INPUT" &&
      pattern.test(error.message),
  );
}

test("a template that loops, doubles or counts too far is stopped", () => {
  refuses(
    "{% for a in range(2000) %}{% for b in range(2000) %}{% endfor %}{% endfor %}",
    HELLO,
    /too many steps/,
  );
  refuses(
    "{% for a in messages if a %}{% for b in range(60000) %}{% endfor %}{% endfor %}",
    { kind: "chat", messages: [HELLO.messages[0]!, HELLO.messages[0]!] },
    /too many steps/,
  );
  const doubling = `{% set ns = namespace(s="xxxxxxxx") %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}`;
  refuses(doubling, HELLO, /more than \d+ characters|too many steps/);
  refuses("{{ range(1000000000) | length }}", HELLO, /counts too far/);
  refuses("{{ range(0, 5, 0) | length }}", HELLO, /range\(\) wants/);
  refuses("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", HELLO, /fails on them/);
});

test("long conversations are read, endless ones are not", () => {
  const { render } = compileTemplate(
    "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}\n{% endfor %}",
    globals,
  );
  const message = { role: "user", content: "word ".repeat(200) };
  const long = Array.from({ length: 4096 }, () => message);
  assert.equal(render({ kind: "chat", messages: long }).split("\n").length, 4097);
  refuses(
    "",
    { kind: "chat", messages: [...long, message] },
    /found 4097 messages, wanted 1 to 4096/,
  );
});

test("a last message is continued in a list of parts too, and only where there is a text", () => {
  const source =
    "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}!{% endfor %}";
  const content = [{ type: "text", text: "a" }, { type: "text", text: "b" }, { type: "image" }];
  const prompt: ChatPrompt = {
    kind: "chat",
    messages: [{ role: "assistant", content }],
    continuesLast: true,
  };
  assert.equal(compileTemplate(source, globals).render(prompt), "ab");
  refuses(
    source,
    { ...prompt, messages: [{ role: "assistant" }] },
    /no text that could be continued/,
  );
  refuses(
    "nothing",
    { ...prompt, messages: [{ role: "assistant", content: "x" }] },
    /does not keep/,
  );
});

test("formatTime() knows Python's directives", () => {
  const date = new Date(2024, 1, 29, 15, 4, 5);
  assert.equal(
    formatTime(date, "%A %a %d %-d %e %B %b %m %Y %y %j %H %I %p %M %S %% %Q"),
    "Thursday Thu 29 29 29 February Feb 02 2024 24 060 15 03 PM 04 05 % %Q",
  );
  assert.equal(formatTime(new Date(2024, 0, 5, 0), "%-d %e %I %j"), "5  5 12 005");
});
