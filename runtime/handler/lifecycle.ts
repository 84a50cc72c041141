/**
 * A handler in TorchServe's four steps, for those who come from there.
 *
 * TorchServe calls `initialize(context)` once and then `postprocess(inference(preprocess(data)))`. So does this class;
 * override the steps you need, each may be async, the others hand their argument on. It differs from TorchServe's
 * `BaseHandler` where hubserve does: `data` is one request's body and not a list of requests, the answer is that
 * request's and not a list, and no step loads weights for you.
 */
import type { CallContext, EndpointHandler, HandlerData, HandlerOptions } from "./contract.ts";

/**
 * What `initialize` is told: TorchServe's `context`, as far as it means something here. `settings` is its
 * `context.model_yaml_config["handler"]`.
 */
export interface InitializeContext extends HandlerOptions {
  /** The folder that holds the model; TorchServe's `context.system_properties["model_dir"]`. */
  readonly modelDir: string;
}

/**
 * The base class.
 *
 * @typeParam Inputs What `preprocess` makes and `inference` takes.
 * @typeParam Outputs What `inference` makes and `postprocess` takes.
 *
 * @example
 * export class EndpointHandler extends BaseHandler<number[], number> {
 *   override preprocess(data: HandlerData): number[] {
 *     return String(data.inputs).split(" ").map(Number);
 *   }
 *   override inference(inputs: number[]): number {
 *     return inputs.reduce((sum, each) => sum + each, 0);
 *   }
 *   override postprocess(sum: number) {
 *     return { sum };
 *   }
 * }
 */
export abstract class BaseHandler<Inputs = unknown, Outputs = unknown> implements EndpointHandler {
  /** The folder that holds the model. */
  readonly modelDir: string;
  readonly #options: HandlerOptions;

  constructor(path: string, options: HandlerOptions = {}) {
    this.modelDir = path;
    this.#options = options;
  }

  /** Runs once, before the first request: load weights and labels here. */
  initialize(_context: InitializeContext): Promise<void> | void {}

  /** Turns a request's body into what the model takes; by default its `inputs`. */
  preprocess(data: HandlerData, _context: CallContext): Promise<Inputs> | Inputs {
    return data.inputs as Inputs; // a subclass that names another type for Inputs overrides this
  }

  /** Runs the model; by default hands its inputs on. */
  inference(inputs: Inputs, _context: CallContext): Promise<Outputs> | Outputs {
    return inputs as unknown as Outputs; // likewise
  }

  /** Turns what the model gave into the answer; by default hands it on. */
  postprocess(outputs: Outputs, _context: CallContext): unknown {
    return outputs;
  }

  /** Called by hubserve at the start. */
  async load(): Promise<void> {
    await this.initialize({ modelDir: this.modelDir, ...this.#options });
  }

  /** Called by hubserve for each request: the three steps in their order. */
  async call(data: HandlerData, context: CallContext): Promise<unknown> {
    const inputs = await this.preprocess(data, context);
    const outputs = await this.inference(inputs, context);
    return await this.postprocess(outputs, context);
  }
}
