import assert from "node:assert/strict";
import { test } from "node:test";
import type { CallContext, HandlerData } from "../../runtime/handler/contract.ts";
import { toCallContext } from "../../runtime/handler/custom/context.ts";
import { BaseHandler, type InitializeContext } from "../../runtime/handler/lifecycle.ts";
import { loadHandler } from "../../runtime/handler/load.ts";
import { silentLog } from "../../runtime/observe/log.ts";
import { makeRepository } from "../support/handler-repository.ts";

const context = toCallContext({
  signal: new AbortController().signal,
  requestId: "1",
  log: silentLog(),
  headers: {},
});

class Plain extends BaseHandler {}

class Adder extends BaseHandler<number[], number> {
  readonly steps: unknown[] = [];
  override async initialize(given: InitializeContext): Promise<void> {
    await Promise.resolve();
    this.steps.push(["initialize", given]);
  }
  override preprocess(data: HandlerData, { requestId }: CallContext): number[] {
    this.steps.push(["preprocess", requestId]);
    return String(data.inputs).split(" ").map(Number);
  }
  override async inference(inputs: number[]): Promise<number> {
    await Promise.resolve();
    this.steps.push(["inference", inputs]);
    return inputs.reduce((sum, each) => sum + each, 0);
  }
  override postprocess(sum: number): unknown {
    this.steps.push(["postprocess", sum]);
    return { sum };
  }
}

test("BaseHandler hands the inputs through when no step is overridden", async () => {
  const handler = new Plain("/models/x");
  await handler.load();
  assert.deepEqual(await handler.call({ inputs: [1] }, context), [1]);
});

test("BaseHandler runs initialize once, then the three steps in their order", async () => {
  const handler = new Adder("/models/x");
  await handler.load();
  assert.deepEqual(await handler.call({ inputs: "1 2" }, context), { sum: 3 });
  assert.deepEqual(handler.steps, [
    ["initialize", { modelDir: "/models/x" }],
    ["preprocess", "1"],
    ["inference", [1, 2]],
    ["postprocess", 3],
  ]);
});

test("initialize is told the threads and the handler's settings, as every handler's constructor is", async () => {
  await using repository = await makeRepository({
    "handler.ts": `
      import { BaseHandler, type HandlerOptions, type InitializeContext } from "hubserve";
      export class EndpointHandler extends BaseHandler {
        readonly told: unknown[];
        constructor(path: string, options: HandlerOptions) {
          super(path, options);
          this.told = [options];
        }
        override initialize(context: InitializeContext) { this.told.push(context); }
        override postprocess() { return this.told; }
      }`,
  });
  const keys = { prompt: "Answer:", depth: { most: 2 } };
  const options = {
    repository: repository.path,
    intraOpThreads: 2,
    handlerSettings: { file: "model-config.yaml", keys },
  };
  const handler = await loadHandler(options, silentLog());
  const request = { id: "1", kind: "predict" as const, data: { inputs: "" }, headers: {} };
  assert.deepEqual(await handler.call(request, context), [
    { threads: 2, settings: keys },
    { modelDir: repository.path, threads: 2, settings: keys },
  ]);
  await handler.dispose();
});

test("a step that throws ends the call", async () => {
  class Failing extends Adder {
    override inference(): Promise<number> {
      return Promise.reject(new RangeError("too large"));
    }
  }
  const handler = new Failing("/models/x");
  await assert.rejects(handler.call({ inputs: "1" }, context), RangeError);
  assert.deepEqual(handler.steps, [["preprocess", "1"]]);
});

test("a repository's handler may extend it by importing hubserve", async () => {
  await using repository = await makeRepository({
    "handler.ts": `
      import { BaseHandler, type HandlerData } from "hubserve";
      export class EndpointHandler extends BaseHandler<string, string> {
        private prefix = "";
        override initialize({ modelDir }: { modelDir: string }) { this.prefix = modelDir.split("-").at(-2) ?? ""; }
        override preprocess(data: HandlerData) { return String(data.inputs).toUpperCase(); }
        override postprocess(text: string) { return [this.prefix, text]; }
      }`,
  });
  const handler = await loadHandler({ repository: repository.path }, silentLog());
  const request = { id: "1", kind: "predict", data: { inputs: "a" }, headers: {} } as const;
  assert.deepEqual(await handler.call(request, context), ["test", "A"]);
});

test("the types of the steps must fit", () => {
  class Wrong extends BaseHandler<number, string> {
    // @ts-expect-error inference takes what preprocess makes
    override inference(inputs: string): string {
      return inputs;
    }
  }
  assert.ok(new Wrong("/") instanceof BaseHandler);
});
