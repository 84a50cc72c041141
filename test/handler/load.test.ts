import assert from "node:assert/strict";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { isRuntimeError, RuntimeError } from "../../runtime/errors.ts";
import type { CallContext, RequestContext } from "../../runtime/handler/contract.ts";
import { loadHandler } from "../../runtime/handler/load.ts";
import type { InferenceRequest } from "../../runtime/inference.ts";
import { createLog, silentLog } from "../../runtime/observe/log.ts";
import { runHandler } from "../support/handler-process.ts";
import { handlerFixture, makeRepository } from "../support/handler-repository.ts";

type Files = Readonly<Record<string, string>>;

/** Loads the handler of a repository written for the test. */
async function load(files: Files) {
  await using repository = await makeRepository(files);
  const handler = await loadHandler({ repository: repository.path }, silentLog());
  return { handler, path: repository.path };
}

/** Loads a handler and calls it once. */
async function call(
  source: string,
  request: Partial<InferenceRequest> = {},
  context: Partial<CallContext> = {},
): Promise<unknown> {
  const { handler } = await load({ "handler.ts": source });
  const whole = { id: "1", kind: "predict", data: {}, headers: {}, ...request } as const;
  return await handler.call(whole, { ...silentContext(), ...context });
}

function silentContext(): RequestContext {
  return { signal: new AbortController().signal, requestId: "1", log: silentLog(), headers: {} };
}

/** The message with which a repository's handler is refused. */
async function refusalOf(files: Files): Promise<string> {
  const refused = await load(files).then(
    () => assert.fail("it was loaded"),
    (error: unknown) => error,
  );
  assert.ok(isRuntimeError(refused), String(refused));
  assert.equal(refused.code, "HANDLER_INVALID");
  assert.doesNotMatch(refused.message, /\n|hubserve-test-|handler\.mjs:/);
  return refused.message;
}

const CLASS = "export class EndpointHandler { call(data: any) { return data; } }";

test("loadHandler() describes a custom handler", async () => {
  await using repository = await makeRepository({ "handler.ts": CLASS });
  const options = { repository: repository.path, task: "text-classification" };
  const { description, files } = await loadHandler(options, silentLog());
  assert.deepEqual(description, {
    handler: "custom",
    handlerFile: "handler.ts",
    task: "text-classification",
    notes: [{ level: "info", text: "Found handler.ts with a class EndpointHandler" }],
  });
  assert.deepEqual(files, [join(repository.path, "handler.ts")]);
});

test("handler.ts comes before handler.js before handler.mjs, and a note says which was taken", async () => {
  const commonjs = "module.exports = class { call() { return 'js'; } };";
  const { handler } = await load({ "handler.mjs": "broken(", "handler.js": commonjs });
  assert.equal(handler.description.handlerFile, "handler.js");
  assert.deepEqual(handler.description.notes.at(-1), {
    level: "warn",
    text: "Found handler.js and handler.mjs: handler.js is used",
  });
});

test("without a handler the default handler serves, and a note says that handler.py is not run", async () => {
  await using repository = await makeRepository({ "handler.py": "", "requirements.txt": "" });
  const model = fileURLToPath(new URL("../../model", import.meta.url));
  await cp(model, join(repository.path, "model"), { recursive: true });
  const handler = await loadHandler({ repository: repository.path }, silentLog());
  await handler.dispose();
  assert.equal(handler.description.handler, "default");
  const { level, text } = handler.description.notes.at(-1) ?? {};
  assert.equal(level, "warn");
  assert.match(text ?? "", /^Found handler\.py, which is Python and is not run/);
});

test("where the default handler cannot serve either, the log names handler.py", async () => {
  await using repository = await makeRepository({ "pipeline.py": "", "config.json": "{}" });
  const lines: string[] = [];
  const log = createLog({ write: (line) => lines.push(line) });
  const loading = loadHandler({ repository: repository.path }, log);
  await assert.rejects(
    loading,
    (error) => isRuntimeError(error) && error.code !== "HANDLER_INVALID",
  );
  assert.match(lines.join("\n"), /WARN Found pipeline\.py, which is Python/);
});

test("a missing repository is named", async () => {
  await assert.rejects(loadHandler({ repository: "/nowhere/at-all" }, silentLog()), {
    code: "REPOSITORY_NOT_FOUND",
    message: "Cannot load the handler: the folder /nowhere/at-all cannot be read (ENOENT)",
  });
});

for (const [name, files] of Object.entries({
  "a named class": { "handler.ts": CLASS },
  "a default class": { "handler.ts": CLASS.replace("export", "export default") },
  "an anonymous default class": {
    "handler.ts": "export default class { call(data: any) { return data; } }",
  },
  "the legacy name": { "handler.ts": CLASS.replace("EndpointHandler", "PreTrainedPipeline") },
  "module.exports with the class": {
    "handler.js": `${CLASS.slice(7).replace(": any", "")} module.exports = { EndpointHandler };`,
  },
  "module.exports that is the class": {
    "handler.js": "module.exports = class { call(data) { return data; } };",
  },
  "compiled CommonJS": {
    "handler.js": `Object.defineProperty(exports, "__esModule", { value: true });
      exports.default = class { call(data) { return data; } };`,
  },
  "a constructor function": {
    "handler.js":
      "function EndpointHandler() {} EndpointHandler.prototype.call = (data) => data; exports.EndpointHandler = EndpointHandler;",
  },
  "a call that is a field": {
    "handler.ts": "export class EndpointHandler { call = (data: any) => data; }",
  },
  "a constructor that returns a promise": {
    "handler.ts":
      "export class EndpointHandler { constructor() { return Promise.resolve({ call: (data) => data }) as any; } }",
  },
} satisfies Record<string, Files>)) {
  test(`a handler may be ${name}`, async () => {
    const { handler } = await load(files);
    const request = { id: "1", kind: "predict", data: { inputs: 1 }, headers: {} } as const;
    assert.deepEqual(await handler.call(request, silentContext()), { inputs: 1 });
  });
}

test("load() is awaited before the handler is ready, dispose() when it ends", async () => {
  const { handler } = await load({
    "handler.ts": `
      export class EndpointHandler {
        state = ["new"];
        async load() { await null; this.state.push("loaded"); }
        call() { return this.state; }
        async dispose() { await null; this.state.push("disposed"); }
      }`,
  });
  const request = { id: "1", kind: "predict", data: {}, headers: {} } as const;
  assert.deepEqual(await handler.call(request, silentContext()), ["new", "loaded"]);
  await handler.dispose();
  assert.deepEqual(await handler.call(request, silentContext()), ["new", "loaded", "disposed"]);
});

const PATH_HANDLER =
  "export class EndpointHandler { constructor(public path: string) {} call() { return this.path; } }";

for (const [name, files, folder] of [
  [
    "the repository",
    { "handler.ts": PATH_HANDLER, "config.json": "{}", "model/onnx/model.onnx": "" },
    "",
  ],
  ["the repository when there are no weights", { "handler.ts": PATH_HANDLER }, ""],
  [
    "model/ when the weights live there",
    { "handler.ts": PATH_HANDLER, "model/onnx/model.onnx": "" },
    "model",
  ],
] satisfies readonly (readonly [string, Files, string])[]) {
  test(`the class is given the folder of ${name}`, async () => {
    const { handler, path } = await load(files);
    const request = { id: "1", kind: "predict", data: {}, headers: {} } as const;
    assert.equal(await handler.call(request, silentContext()), join(path, folder));
  });
}

test("call() receives an object of its own, deep down", async () => {
  const data = { inputs: [1, { a: 1 }], parameters: { top_k: 1 }, extra: null };
  const source = `export class EndpointHandler {
    call(data: any) {
      const { inputs, parameters, ...rest } = data;
      delete data.inputs; delete parameters.top_k; inputs.push(2); inputs[1].a = 2; data.extra = 1;
      return { inputs, parameters, rest };
    }
  }`;
  const answer = await call(source, { data });
  assert.deepEqual(answer, { inputs: [1, { a: 2 }, 2], parameters: {}, rest: { extra: null } });
  assert.deepEqual(data, { inputs: [1, { a: 1 }], parameters: { top_k: 1 }, extra: null });
});

test("a key called __proto__ stays a key", async () => {
  const data = JSON.parse('{"inputs": 1, "__proto__": {"polluted": true}}') as Record<
    string,
    unknown
  >;
  const source = `export class EndpointHandler {
    call(data: any) { return [data.polluted, Object.keys(data), Object.getPrototypeOf(data) === Object.prototype]; }
  }`;
  assert.deepEqual(await call(source, { data }), [undefined, ["inputs", "__proto__"], true]);
});

test("a binary body arrives as a Blob with its type, beside the parameters", async () => {
  const media = { bytes: new Uint8Array([1, 2, 3]), contentType: "image/png" };
  const source = `export class EndpointHandler {
    async call({ inputs, parameters }: any) {
      return [inputs instanceof Blob, inputs.type, [...new Uint8Array(await inputs.arrayBuffer())], parameters];
    }
  }`;
  const answer = await call(source, { data: { parameters: { a: 1 } }, media });
  assert.deepEqual(answer, [true, "image/png", [1, 2, 3], { a: 1 }]);
});

test("call() receives the context", async () => {
  const lines: string[] = [];
  const context: Partial<CallContext> = {
    requestId: "r7",
    headers: { accept: "text/plain" },
    log: createLog({ write: (line) => lines.push(line) }),
  };
  const source = `export class EndpointHandler {
    call(_: any, { signal, requestId, headers, log }: any) { log.info("seen"); return [signal.aborted, requestId, headers]; }
  }`;
  assert.deepEqual(await call(source, {}, context), [false, "r7", { accept: "text/plain" }]);
  assert.match(lines[0] ?? "", /seen/);
});

test("a RuntimeError passes as it is, also one of another copy of hubserve", async () => {
  const own = `import { RuntimeError } from "hubserve";
    export class EndpointHandler { call() { throw new RuntimeError("INVALID_INPUT", "Cannot add: 2 numbers are wanted"); } }`;
  const wanted = {
    name: "RuntimeError",
    code: "INVALID_INPUT",
    message: "Cannot add: 2 numbers are wanted",
  };
  await assert.rejects(call(own), wanted);
  const copy = `class RuntimeError extends Error { name = "RuntimeError"; code = "INVALID_INPUT"; }
    export class EndpointHandler { call() { throw new RuntimeError("Cannot add: 2 numbers are wanted"); } }`;
  await assert.rejects(call(copy), wanted);
});

test("anything else that call() throws is HANDLER_FAILED with its cause", async () => {
  const failing = (thrown: string): Promise<unknown> =>
    call(`export class EndpointHandler { async call() { throw ${thrown}; } }`);
  const refused = await failing('new RangeError("too long")').catch((error: unknown) => error);
  assert.ok(refused instanceof RuntimeError);
  assert.equal(refused.code, "HANDLER_FAILED");
  assert.equal(refused.message, "Handler failed: too long");
  assert.ok(refused.cause instanceof RangeError);
  await assert.rejects(failing('"a text"'), { message: "Handler failed: a text" });
  await assert.rejects(failing("null"), { message: "Handler failed: a thrown null" });
  await assert.rejects(failing('new Error("")'), { message: "Handler failed: Error" });
});

test("an abort that the handler repeats is the cancellation", async () => {
  const source = `export class EndpointHandler { call(_: any, { signal }: any) { signal.throwIfAborted(); } }`;
  const aborted = (reason?: unknown) => call(source, {}, { signal: AbortSignal.abort(reason) });
  await assert.rejects(aborted(), { code: "CANCELLED" });
  await assert.rejects(aborted(new DOMException("late", "TimeoutError")), {
    code: "DEADLINE_EXCEEDED",
  });
  await assert.rejects(aborted(new RuntimeError("QUEUE_FULL", "x")), { code: "QUEUE_FULL" });
});

test("a handler's own explain answers explanations, with what call would get", async () => {
  const source = `export class EndpointHandler {
    word = "because";
    call() { return "a prediction"; }
    explain({ inputs }: any, { requestId }: any) { return { [this.word]: inputs, requestId }; }
  }`;
  const request = { kind: "explain", data: { inputs: "x" } } as const;
  assert.deepEqual(await call(source, request), { because: "x", requestId: "1" });
  assert.equal(await call(source, { data: { inputs: "x" } }), "a prediction");
  const failing = source.replace("return {", "throw new Error('no idea'); return {");
  await assert.rejects(call(failing, request), { message: "Handler failed: no idea" });
});

test("a handler explains with the package's integratedGradients", async () => {
  const file = fileURLToPath(new URL("../../model/onnx/model.onnx", import.meta.url));
  const source = `import { integratedGradients, type Explainer, type HandlerData } from "hubserve";
    export class EndpointHandler {
      explainer!: Explainer;
      async load() {
        this.explainer = await integratedGradients({ file: ${JSON.stringify(file)}, output: "logits" });
      }
      call() { return "a prediction"; }
      async explain({ inputs }: HandlerData) {
        const inputIds = inputs as number[];
        const ids = inputIds.map((id) => (id < 4 ? id : 0));
        const [found] = await this.explainer.explain([{ inputIds, baseline: { ids }, targets: [[1]], steps: 5 }]);
        return found?.importances;
      }
      dispose() { return this.explainer.dispose(); }
    }`;
  const request = { kind: "explain", data: { inputs: [2, 51, 205, 3] } } as const;
  const found = await call(source, request);
  assert.ok(Array.isArray(found));
  assert.deepEqual(
    found.map((importance) => importance !== 0),
    [false, true, true, false],
  );
});

test("without a method explain an explanation is refused: predictions are none", async () => {
  await assert.rejects(call(CLASS, { kind: "explain" }), {
    code: "NOT_SUPPORTED",
    message:
      "Cannot explain the prediction: the repository's own handler has no method explain, and gives predictions only",
  });
});

test("a handler that does not compile is refused with file, line and column of each error, three at most", async () => {
  const bad = "const a = 1 foo;\n";
  assert.equal(
    await refusalOf({ "handler.ts": `// a comment\n\n  const ä = 1 foo;\n` }),
    'Cannot compile the handler: handler.ts:3:15: Expected ";" but found "foo"',
  );
  assert.equal(
    await refusalOf({ "handler.ts": `import "./lib/a.ts";`, "lib/a.ts": bad }),
    'Cannot compile the handler: lib/a.ts:1:13: Expected ";" but found "foo"',
  );
  const imports = ["a", "b", "c", "d", "e"].map((name) => `import "./${name}.ts";`).join("\n");
  assert.equal(
    await refusalOf({ "handler.ts": imports }),
    "Cannot compile the handler: " +
      'handler.ts:1:8: there is no file "./a.ts"; handler.ts:2:8: there is no file "./b.ts"; ' +
      'handler.ts:3:8: there is no file "./c.ts"; and 2 more',
  );
});

test("an import of a package that is not installed says what to do", async () => {
  const wanted = (place: string, name: string): string =>
    `Cannot compile the handler: ${place}: the package "${name}" is not installed; add it to requirements.json`;
  assert.equal(
    await refusalOf({ "handler.ts": `${CLASS}\nimport { a } from "nowhere/sub"; console.log(a);` }),
    wanted("handler.ts:2:19", "nowhere"),
  );
  assert.equal(
    await refusalOf({ "handler.ts": `import "./b.ts";`, "b.ts": `\nimport "@scope/nowhere/sub";` }),
    wanted("b.ts:2:8", "@scope/nowhere"),
  );
  assert.equal(
    await refusalOf({ "handler.ts": `import { a } from "yaml/nowhere"; console.log(a);` }),
    'Cannot compile the handler: handler.ts:1:19: the package "yaml" has nothing to import as "yaml/nowhere"',
  );
  assert.equal(
    await refusalOf({ "handler.ts": `import a from "#nowhere"; console.log(a);` }),
    'Cannot compile the handler: handler.ts:1:15: package.json has no import "#nowhere"',
  );
  assert.equal(
    await refusalOf({ "handler.js": `\n  const a = require("nowhere");` }),
    'Cannot load the handler: handler.js failed: the package "nowhere" is not installed; add it to requirements.json (handler.js:2:13)',
  );
});

const SHAPE =
  "wanted: export class EndpointHandler { constructor(path: string) {}  async call(data) {} }";

test("a file without the class is refused with what it exports and what is wanted", async () => {
  const refused = async (source: string, file = "handler.ts"): Promise<string> =>
    (await refusalOf({ [file]: source }))
      .replace(`; ${SHAPE}`, "")
      .replace("Cannot load the handler: ", "");
  assert.equal(
    await refused("export {};"),
    "handler.ts exports nothing and no class EndpointHandler",
  );
  assert.equal(
    await refused("export class Handler {}\nexport const endpoint = 1;"),
    'handler.ts exports "Handler", "endpoint" and no class EndpointHandler',
  );
  assert.equal(
    await refused("export default async (data: unknown) => data;"),
    "handler.ts exports a default and no class EndpointHandler",
  );
  assert.equal(
    await refused("exports.Handler = class {};", "handler.js"),
    'handler.js exports "Handler" and no class EndpointHandler',
  );
  assert.equal(
    await refused("export const EndpointHandler = { call() {} };"),
    "EndpointHandler in handler.ts is an object and no class",
  );
  assert.equal(
    await refused("export const EndpointHandler = async () => 1;"),
    "EndpointHandler in handler.ts is a function and no class",
  );
  assert.equal(
    await refused(
      "export class EndpointHandler { constructor() { return Promise.resolve() as any; } }",
    ),
    "handler.ts has a class EndpointHandler without a method call",
  );
  assert.equal(
    await refused("export class EndpointHandler { predict() {} }"),
    "handler.ts has a class EndpointHandler without a method call",
  );
});

test("what the handler throws while it is loaded is told with the handler's own line", async () => {
  assert.equal(
    await refusalOf({ "handler.ts": `interface A {}\nenum B { C }\nthrow new Error("at once");` }),
    "Cannot load the handler: handler.ts failed: at once (handler.ts:3:7)",
  );
  assert.equal(
    await refusalOf({
      "handler.ts": `import { read } from "./lib/read.ts";\nexport class EndpointHandler {\n  constructor() { read(); }\n call() {} }`,
      "lib/read.ts": `import { readFileSync } from "node:fs";\n\nexport const read = () => readFileSync(import.meta.dirname + "/a b.json");`,
    }),
    "Cannot load the handler: its constructor failed: ENOENT: no such file or directory, open 'lib/a b.json' (lib/read.ts:3:27)",
  );
  assert.equal(
    await refusalOf({
      "handler.ts": `export class EndpointHandler {\n  async load() {\n    await null;\n    throw new Error("no weights for hf_abcdefghijkl");\n  }\n  call() {} }`,
    }),
    "Cannot load the handler: its load() failed: no weights for [redacted] (handler.ts:4:11)",
  );
});

test("a RuntimeError of load() passes as it is", async () => {
  const source = `import { RuntimeError } from "hubserve";
    export class EndpointHandler { load() { throw new RuntimeError("WEIGHTS_NOT_FOUND", "Cannot load: no weights"); } call() {} }`;
  await assert.rejects(load({ "handler.ts": source }), { code: "WEIGHTS_NOT_FOUND" });
});

test("a failure keeps its stack for the log, as cause", async () => {
  const refused = await load({ "handler.ts": `\nthrow new Error("at once");` }).catch(
    (error: unknown) => error,
  );
  assert.ok(refused instanceof RuntimeError && refused.cause instanceof Error);
  assert.match(refused.cause.stack ?? "", /\/handler\.ts:2:7/);
});

for (const [where, frames] of [
  ["own", ["handler.ts:14:15"]],
  ["sibling", ["lib/check.ts:10:41", "handler.ts:16:16"]],
  [
    "decorated",
    ["lib/level.ts:19:37", "lib/level.ts:10:19", "lib/level.ts:24:77", "handler.ts:18:16"],
  ],
  ["dynamic", ["lib/check.ts:10:41", "handler.ts:20:49"]],
] as const) {
  test(`the stack of an error thrown in call() names the source's lines: ${where}`, async () => {
    const repository = handlerFixture("stacks");
    const { error } = await runHandler({ repository }, { inputs: where });
    assert.equal(error?.code, "HANDLER_FAILED");
    const found = [...error.cause.matchAll(/handlers\/stacks\/([^:()\s]+:\d+:\d+)/g)].map(
      (match) => match[1],
    );
    assert.deepEqual(found, frames);
    assert.doesNotMatch(error.message, /\/|stacks/);
  });
}

test("a handler is compiled afresh by each load, as --watch wants", async () => {
  await using repository = await makeRepository({ "handler.ts": CLASS });
  const options = { repository: repository.path };
  await loadHandler(options, silentLog());
  await repository.write(
    "handler.ts",
    "export class EndpointHandler { call() { return 'changed'; } }",
  );
  const handler = await loadHandler(options, silentLog());
  const request = { id: "1", kind: "predict", data: {}, headers: {} } as const;
  assert.equal(await handler.call(request, silentContext()), "changed");
});
