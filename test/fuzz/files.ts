/**
 * The readers of everything that a repository, an archive or an operator brings: configuration, templates, requirements.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { compileTemplate } from "../../runtime/handler/model/chat-template-render.ts";
import { parseHandlerSettings } from "../../runtime/handler/model/handler-settings.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { parseMetricsConfig } from "../../runtime/observe/metrics-config.ts";
import { parseManifest } from "../../runtime/repository/archive-manifest.ts";
import { parseModelConfig } from "../../runtime/repository/model-config.ts";
import { parseRequirements } from "../../runtime/repository/requirements-file.ts";
import { parseProperties } from "../../runtime/properties.ts";
import { parseConfigFile } from "../../runtime/torchserve-config.ts";
import { readerTarget } from "./readers.ts";
import type { Target } from "./target.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("utf8");

const YAML_WORDS = [
  ..."[]{},:-?|>&*!%@`'\"#\n\t".split(""),
  "- ",
  "  ",
  "? ",
  "<<: ",
  "&a ",
  "*a ",
  "*a,",
  "!!js/function ",
  "!!binary ",
  "---\n",
  "...\n",
  "[*a,*a]",
  "%YAML 1.1\n",
  "a: ",
  "0x",
  "1e999",
  ".nan",
  ".inf",
  "~",
  "__proto__: ",
  "{a: ",
  "- - ",
  "\u0000",
  "\ufeff",
];
const JSON_WORDS = [
  "{",
  "}",
  "[",
  "]",
  '"',
  ",",
  ":",
  "\\u",
  "\\ud800",
  '"__proto__":',
  "1e999",
  "null",
  "\u0000",
];

const PROPERTIES = [
  `inference_address=http://0.0.0.0:8080\nmanagement_address=http://127.0.0.1:8081\nmetrics_address=http://127.0.0.1:8082
model_store=/models\nload_models=all\njob_queue_size=100\nmax_request_size=6553500\ndefault_workers_per_model=2
default_response_timeout=120\nenable_envvars_config=true\nallowed_urls=https://s3.amazonaws.com/.*,file://.*\nservice_envelope=json
metrics_mode=prometheus\nmodels={\\\n  "noop": {\\\n    "1.0": {\\\n        "defaultVersion": true, "marName": "noop.mar",\\\n   "minWorkers": 1, "maxWorkers": 2, "batchSize": 4, "maxBatchDelay": 100, "responseTimeout": 120}}}\n`,
  'model_snapshot={"name":"startup.cfg","modelCount":1,"created":1,"models":{"a":{"1.0":{"defaultVersion":true,"marName":"a","minWorkers":1}}},"traffic":{"a":{"1.0":5}}}\nversion=0.12\n',
];

const MODEL_CONFIG = [
  "minWorkers: 1\nmaxWorkers: 4\nbatchSize: 8\nmaxBatchDelay: 50\nresponseTimeout: 120\nhandler:\n  mode: text_classification\n  do_lower_case: true\n  max_length: 150\n  captum_explanation: true\n  num_labels: '2'\npt2:\n  compile:\n    enable: true\n",
  "handler: {mode: question_answering, save_mode: pretrained, embedding_name: bert}\nserviceEnvelope: json\n",
  "a: &a [1, 2]\nb: [*a, *a]\n",
];

const METRICS_CONFIG = [
  "dimensions:\n  - &model_name ModelName\n  - &level Level\nts_metrics:\n  counter:\n    - name: Requests2XX\n      unit: Count\n      dimensions: [*level]\nmodel_metrics:\n  counter:\n    - name: InferenceRequests\n      unit: Count\n      dimensions: [*model_name]\n  gauge:\n    - {name: Temperature, unit: C, dimensions: []}\n  histogram:\n    - name: Sizes\n      unit: B\n",
];

const SETUP_CONFIG = [
  '{"model_name":"bert-base-uncased","mode":"sequence_classification","do_lower_case":true,"num_labels":"2","save_mode":"pretrained","max_length":"150","captum_explanation":true,"FasterTransformer":false,"embedding_name":"bert"}',
  '{"handler":{"mode":"text_generation","max_length":50,"model_parallel":true}}',
];

const MANIFESTS = [
  '{"createdOn":"01/01/2024","runtime":"node","model":{"modelName":"echo","modelVersion":"1.0","handler":"handler.ts","configFile":"model-config.yaml","envelope":"json"},"archiverVersion":"0.12"}',
  '{"runtime":"python","model":{"modelName":"m","modelVersion":"1","handler":"h.py","serializedFile":"m.pt","modelFile":"m.py","requirementsFile":"r.txt"}}',
];

const REQUIREMENTS = [
  '{"dependencies":{"date-holidays":"^3","@scope/name":"1.x","alias":"npm:other@1","git":"git+https://example.org/x.git#v1"}}',
  '{"left-pad":"latest","b":"https://example.org/b.tgz"}',
];

/** What a request asks a template for. */
const MESSAGES = [
  { role: "system", content: "Be brief." },
  { role: "user", content: [{ type: "text", text: "Hello" }] },
  {
    role: "assistant",
    content: "",
    tool_calls: [{ id: "a", type: "function", function: { name: "f", arguments: { x: 1 } } }],
  },
  { role: "tool", content: "1", tool_call_id: "a", name: "f" },
  { role: "user", content: "And now?" },
] as const;
const TOOLS = [
  {
    type: "function",
    function: { name: "f", description: "d", parameters: { type: "object", properties: {} } },
  },
];

const JINJA_WORDS = [
  "{{",
  "}}",
  "{%",
  "%}",
  "{#",
  "#}",
  "{%-",
  "-%}",
  "{% for m in messages %}",
  "{% endfor %}",
  "{% if x %}",
  "{% endif %}",
  "{% set x = ",
  "{% macro f() %}",
  "{% endmacro %}",
  "{{ f() }}",
  "{% generation %}",
  "|tojson",
  "|join(',')",
  "|length",
  "range(",
  "messages",
  "[0]",
  "[::2]",
  "['content']",
  ".strip()",
  ".split('')",
  " * 1000000",
  " ~ ",
  " in ",
  " is defined",
  "loop.index",
  "namespace(a=1)",
  "(",
  ")",
  "[",
  "]",
  "'",
  '"',
  "**",
  "//",
  "%",
  "raise_exception('x')",
  "strftime_now('%Y')",
  "|replace('', 'aaaa')",
  "{% for a in range(99999) %}",
  "|list",
  "|reverse",
  "|indent(1000000)",
  "|map(attribute='x')",
  "{% break %}",
  "__proto__",
  ".constructor",
  "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
];

export const FILE_TARGETS: readonly Target[] = [
  readerTarget({
    name: "properties",
    seeds: () => PROPERTIES,
    words: [
      "=",
      ":",
      "\\",
      "\\u",
      "\\u00",
      "\n",
      "\r",
      "#",
      "!",
      " ",
      "models={",
      "TS_",
      "\\\n",
      "\f",
    ],
    read: (bytes) => parseProperties(text(bytes)),
    refuses: [],
    permits: (error) => error instanceof RangeError && /four hexadecimal/.test(error.message),
  }),
  readerTarget({
    name: "config.properties",
    seeds: () => PROPERTIES,
    words: [
      ...JSON_WORDS,
      "=",
      "\\",
      "\n",
      "models=",
      "1e999",
      "-1",
      "http://[::1]:99999",
      "unix:/x",
      "true",
    ],
    read: (bytes) => parseConfigFile("config.properties", text(bytes), { TS_JOB_QUEUE_SIZE: "5" }),
    refuses: ["INVALID_OPTION"],
  }),
  readerTarget({
    name: "model-config.yaml",
    seeds: () => MODEL_CONFIG,
    words: YAML_WORDS,
    read(bytes) {
      const { file, handler } = parseModelConfig("model-config.yaml", text(bytes), silentLog());
      if (handler !== undefined) parseHandlerSettings(file, handler, "handler.");
    },
    refuses: ["MODEL_INVALID"],
  }),
  readerTarget({
    name: "metrics.yaml",
    seeds: () => METRICS_CONFIG,
    words: YAML_WORDS,
    read: (bytes) => parseMetricsConfig("metrics.yaml", text(bytes)),
    refuses: ["INVALID_OPTION"],
  }),
  readerTarget({
    name: "MANIFEST.json",
    seeds: () => MANIFESTS,
    words: JSON_WORDS,
    read: (bytes) => parseManifest("a.mar", text(bytes)),
    refuses: ["REPOSITORY_INVALID"],
  }),
  readerTarget({
    name: "requirements.json",
    seeds: () => REQUIREMENTS,
    words: JSON_WORDS,
    read: (bytes) => parseRequirements(text(bytes)),
    refuses: ["REQUIREMENTS_FAILED"],
  }),
  readerTarget({
    name: "setup_config.json",
    seeds: () => SETUP_CONFIG,
    words: JSON_WORDS,
    read(bytes) {
      const value: unknown = parseOrNothing(text(bytes));
      if (typeof value !== "object" || value === null || Array.isArray(value)) return "not JSON";
      return void parseHandlerSettings("setup_config.json", { ...value }, "");
    },
    refuses: ["MODEL_INVALID"],
  }),
  readerTarget({
    name: "chat templates",
    seeds: () =>
      readdirSync(join(FIXTURES, "chat-templates"))
        .filter((name) => name.endsWith(".jinja"))
        .map((name) => readFileSync(join(FIXTURES, "chat-templates", name))),
    words: JINJA_WORDS,
    read: (bytes) => render(text(bytes)),
    refuses: ["INVALID_INPUT"],
  }),
];

function parseOrNothing(source: string): unknown {
  try {
    return JSON.parse(source);
  } catch {
    return undefined;
  }
}

/** What is no template is refused with any error when the model is loaded, and the model served without one. */
function render(source: string): string {
  let template: ReturnType<typeof compileTemplate>;
  try {
    template = compileTemplate(source, {
      tokens: { bos_token: "<s>", eos_token: "</s>" },
      now: () => new Date(0),
    });
  } catch (error) {
    if (error instanceof Error) return "no template";
    throw error;
  }
  template.render({ kind: "chat", messages: MESSAGES, tools: TOOLS });
  return "rendered";
}
