/**
 * Explains what a transformer in ONNX answers: integrated gradients through a graph that gives gradients.
 *
 * It knows token ids and indices of outputs. Texts, labels and words are known in `../handler/explain/`.
 * Letters: `N` points of a run, `T` tokens, `H` hidden.
 */
import { InferenceSession, Tensor } from "onnxruntime-node";

import { RuntimeError } from "../errors.ts";
import type { Baseline } from "./baselines.ts";
import { buildGradientGraphs, findEmbeddingLayer } from "./gradient-graph.ts";
import {
  integrateGradients,
  placePoint,
  type Attribution,
  type Path,
  type Point,
  type Slope,
} from "./integrated-gradients.ts";
import { toFeeds, type Row } from "./model-feeds.ts";
import { readOnnxModel, toSession, type SessionSource } from "./onnx-model.ts";
import { withOutput, type OutputChoice } from "./output-choice.ts";
import { createQuadrature, type Method } from "./quadrature.ts";

export interface ExplainerOptions {
  /** The model's file, in fp32; external data lie beside it. */
  readonly file: string;
  readonly output: OutputChoice;
  /** The layer that is attributed to, by its name or a part of it; the embeddings' output when absent. */
  readonly layer?: string | undefined;
  /** What shorter sequences are filled up with, behind the mask: 0. */
  readonly padId?: number | undefined;
  /** Threads that one run may use; onnxruntime's own default when absent. */
  readonly intraOpThreads?: number | undefined;
  /** The most tokens of one run, padding included: 256. A longer text has a run for each point. */
  readonly maxTokensPerRun?: number | undefined;
}

/** What is to be explained: why the model gives this output for these tokens. */
export interface Question {
  readonly inputIds: readonly number[];
  /** Which text each token belongs to; zeros when absent. */
  readonly tokenTypeIds?: readonly number[] | undefined;
  /** What is counted from: as long as `inputIds`. */
  readonly baseline: Baseline;
  /**
   * The numbers of the output that are explained, each by its indices without the batch's: `[[2]]` is the logit of class
   * 2, `[[4, 1]]` that of label 1 for token 4. Several are added up.
   */
  readonly targets: readonly (readonly number[])[];
  /** `gausslegendre` when absent. */
  readonly method?: Method | undefined;
  /** Points on the path: 50 when absent. */
  readonly steps?: number | undefined;
  /** The most points of one run. */
  readonly maxPoints?: number | undefined;
}

export interface Explainer extends AsyncDisposable {
  /**
   * Explains several at once; those of like length share runs.
   *
   * @param signal Looked at between runs, each of which takes as long as some forward passes.
   * @returns One attribution per question, in order.
   * @throws RangeError when a question contradicts itself, `HANDLER_FAILED` when the model gives no number.
   */
  explain(questions: readonly Question[], signal?: AbortSignal): Promise<Attribution[]>;
  /** The output's shape for a text of that many tokens, without the batch's dimension: what targets are indices of. */
  shapeOf(tokens: number): readonly number[];
  dispose(): Promise<void>;
}

/**
 * The most tokens of one run, padding included. A run keeps what every layer made, for the way back: some 40 · H floats per
 * token and layer, so 256 tokens of BERT-base are 0.4 GB, and a text of 512 tokens, which goes alone, twice that. On one
 * thread runs of 128 to 512 tokens cost the same per token, larger ones more (`bench/explain.ts`).
 */
const MAX_TOKENS_PER_RUN = 256;
/** The most bytes that a run's outputs may take, with their gradients: for models that score a vocabulary. */
const MAX_OUTPUT_BYTES = 256 * 1024 * 1024;
/** Output, selection, and what either becomes on the way back. */
const OUTPUT_COPIES = 4;

/**
 * Reads the model and opens the two graphs that are made of it: from the inputs to the layer, and from the layer to the
 * output and its gradient. Both refer to the weights in the model's own files, so they are small, and are made anew by each
 * process: reading them from a cache would first mean hashing the model, which takes as long as making them.
 *
 * @throws RuntimeError `NOT_SUPPORTED` when the graph has an operator without a gradient, or an input that is not known.
 */
export async function openExplainer({
  file,
  layer,
  output: choice,
  padId = 0,
  intraOpThreads,
  maxTokensPerRun = MAX_TOKENS_PER_RUN,
}: ExplainerOptions): Promise<Explainer> {
  const settings: InferenceSession.SessionOptions = {
    logSeverityLevel: 3, // errors: warnings of the library are about its own optimizations
    ...(intraOpThreads !== undefined && { intraOpNumThreads: intraOpThreads }),
  };
  const graphs = await makeGraphs(file, choice, layer);
  const embedding = await openSession(graphs.embedding, settings);
  const gradient = await openSession(graphs.gradient, settings);
  const output = outputOf(gradient, embedding.outputNames[0] ?? "");

  async function embed(questions: readonly Question[]): Promise<QuestionPath[]> {
    const rows = questions.flatMap(({ inputIds, tokenTypeIds, baseline }): Row[] => [
      { inputIds: baseline.ids, tokenTypeIds },
      { inputIds, tokenTypeIds },
    ]);
    const T = Math.max(...rows.map(({ inputIds }) => inputIds.length));
    const outputs = await embedding.run(toFeeds(embedding.inputMetadata, rows, { T, padId }));
    const layer = floatsOf(outputs[embedding.outputNames[0] ?? ""]);
    const H = layer.length / (rows.length * T);
    return questions.map((question, index): QuestionPath => {
      const tokens = question.inputIds.length;
      const take = (row: number): Float32Array => layer.slice(row * T * H, (row * T + tokens) * H);
      const from = take(2 * index);
      for (const [t, isZero] of (question.baseline.isZero ?? []).entries())
        if (isZero) from.fill(0, t * H, (t + 1) * H);
      const { method = "gausslegendre", steps = 50, maxPoints } = question;
      const rule = createQuadrature(method, steps);
      return { question, tokens, from, to: take(2 * index + 1), rule, maxPoints };
    });
  }

  async function slopesAt(points: readonly Point<QuestionPath>[]): Promise<Slope[]> {
    const N = points.length;
    const T = Math.max(...points.map(({ path }) => path.tokens));
    const rows = points.map(({ path }) => path.question);
    const [H, dims] = [hiddenOf(points), output.dims(N, T)];
    const layer = new Float32Array(N * T * H);
    const size = dims.slice(1).reduce((product, dim) => product * dim, 1);
    const selection = new Float32Array(N * size);
    for (const [n, point] of points.entries()) {
      placePoint(point, layer, n * T * H);
      for (const target of point.path.question.targets)
        selection[n * size + place(target, dims)] = 1;
    }
    const feeds = {
      ...toFeeds(
        gradient.inputMetadata.filter(({ name }) => ![output.layer, SELECTION].includes(name)),
        rows,
        { T, padId },
      ),
      [output.layer]: new Tensor("float32", layer, [N, T, H]),
      [SELECTION]: new Tensor("float32", selection, dims),
    };
    const results = await gradient.run(feeds);
    const values = floatsOf(results[output.name]);
    const gradients = floatsOf(results[GRADIENT]);
    return points.map(({ path }, n): Slope => ({
      value: path.question.targets.reduce(
        (sum, target) => sum + (values[n * size + place(target, dims)] ?? Number.NaN),
        0,
      ),
      gradient: gradients.subarray(n * T * H, (n * T + path.tokens) * H),
    }));
  }

  const explainer: Explainer = {
    async explain(questions, signal) {
      if (questions.length === 0) return [];
      for (const question of questions) assertConsistent(question, output);
      signal?.throwIfAborted();
      const paths: QuestionPath[] = [];
      // One after the other, so that a long one does not make all the others as long.
      for (const question of questions) paths.push(...(await embed([question])));
      const pointsPerRun = (tokens: number): number => {
        const bytes = 4 * OUTPUT_COPIES * output.dims(1, tokens).reduce((a, b) => a * b, 1);
        return Math.floor(Math.min(maxTokensPerRun / tokens, MAX_OUTPUT_BYTES / bytes));
      };
      try {
        return await integrateGradients(paths, slopesAt, { pointsPerRun, signal });
      } catch (error) {
        if (signal?.aborted === true) throw signal.reason;
        const reason = error instanceof Error ? error.message : String(error);
        const text = `Cannot explain the prediction: ${reason}`;
        throw new RuntimeError("HANDLER_FAILED", text, { cause: error });
      }
    },
    shapeOf: (tokens) => output.dims(1, tokens).slice(1),
    async dispose() {
      await Promise.all([embedding.release(), gradient.release()]);
    },
    [Symbol.asyncDispose]: () => explainer.dispose(),
  };
  return explainer;
}

/** Names that `buildGradientGraphs` gives. */
const SELECTION = "selection";
const GRADIENT = "gradient";

interface QuestionPath extends Path {
  readonly question: Question;
}

/** What is known of the graph's output. */
interface OutputShape {
  readonly name: string;
  /** The name of the input that is the layer. */
  readonly layer: string;
  /** The shape for that many rows of that many tokens: what the graph does not fix is the number of tokens. */
  dims(N: number, T: number): number[];
}

function outputOf(session: InferenceSession, layer: string): OutputShape {
  const name = session.outputNames.find((each) => each !== GRADIENT) ?? "";
  const selection = session.inputMetadata.find((input) => input.name === SELECTION);
  if (selection?.isTensor !== true) throw new Error(`the gradient graph lacks "${SELECTION}"`);
  const free = selection.shape.slice(1).map((dim) => (typeof dim === "number" ? dim : undefined));
  return { name, layer, dims: (N, T) => [N, ...free.map((dim) => dim ?? T)] };
}

/** Where an index lies in a row, row-major; `dims` has the batch's dimension first. */
function place(index: readonly number[], dims: readonly number[]): number {
  return index.reduce((flat, each, axis) => flat * (dims[axis + 1] ?? 1) + each, 0);
}

/** @throws RangeError where lists differ in length or a target lies outside the output. */
function assertConsistent(
  { inputIds, tokenTypeIds, baseline, targets }: Question,
  output: OutputShape,
): void {
  const T = inputIds.length;
  if (T === 0) throw new RangeError("there are no tokens to explain");
  for (const list of [tokenTypeIds, baseline.ids, baseline.isZero])
    if (list !== undefined && list.length !== T)
      throw new RangeError(`a list is ${list.length} long, wanted ${T}, one for each token`);
  const [, ...shape] = output.dims(1, T);
  for (const target of targets) {
    const fits =
      target.length === shape.length &&
      target.every(
        (each, axis) => Number.isInteger(each) && each >= 0 && each < (shape[axis] ?? 0),
      );
    if (!fits)
      throw new RangeError(`the target [${target.join()}] lies outside of [${shape.join()}]`);
  }
}

function hiddenOf(points: readonly Point<QuestionPath>[]): number {
  const path = points[0]?.path;
  return path === undefined ? 0 : path.to.length / path.tokens;
}

function floatsOf(tensor: Tensor | undefined): Float32Array {
  if (tensor?.data instanceof Float32Array) return tensor.data;
  throw new Error(
    `the graph gave ${tensor === undefined ? "nothing" : tensor.type}, wanted float32`,
  );
}

async function makeGraphs(
  file: string,
  choice: OutputChoice,
  layer: string | undefined,
): Promise<{ readonly embedding: SessionSource; readonly gradient: SessionSource }> {
  const original = await readOnnxModel(file);
  const { model, name } = withOutput(original, choice);
  const found = findEmbeddingLayer(original, layer);
  const { embedding, gradient } = buildGradientGraphs(model, { layer: found, output: name });
  return { embedding: toSession(embedding), gradient: toSession(gradient) };
}

function openSession(
  { bytes, options }: SessionSource,
  settings: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  return InferenceSession.create(bytes, { ...options, ...settings });
}
