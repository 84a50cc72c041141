/**
 * Model files: read by us, and loaded by onnxruntime.
 *
 * onnxruntime is native code in whose hands a broken file may end the process. In the server that is a worker's process, so sessions are made in
 * a child here too, and a child that dies is counted, not told as a defect of ours; that a worker's death becomes a sentence is
 * `start.ts`'s affair.
 */
import { fork, type ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { findEmbeddingLayer, buildGradientGraphs } from "../../runtime/explain/gradient-graph.ts";
import { parseOnnxModel, toSession, writeOnnxModel } from "../../runtime/explain/onnx-model.ts";
import { modelPath } from "../support/goldens.ts";
import { encodeGraph } from "../support/onnx-graph.ts";
import { mutateMessage } from "./protobuf.ts";
import { openReader, readerTarget } from "./readers.ts";
import { Defect, type Session, type Target } from "./target.ts";

/** Larger files spend the time on weights. */
const MOST_BYTES = 130_000;

function modelFiles(): readonly Uint8Array[] {
  const graph = encodeGraph({
    inputs: [{ name: "x", element: "float", shape: ["n", 2] }],
    outputs: [{ name: "y", element: "float", shape: ["n", 2] }],
    nodes: [
      { op: "MatMul", inputs: ["x", "w"], outputs: ["h"] },
      { op: "Softmax", inputs: ["h"], outputs: ["s"], attributes: { axis: -1 } },
      { op: "Reshape", inputs: ["s", "shape"], outputs: ["y"] },
    ],
    constants: [
      { name: "w", element: "float", shape: [2, 2], values: [1, 2, 3, 4] },
      { name: "shape", element: "int64", shape: [2], values: [-1, 2] },
    ],
  });
  const root = modelPath("");
  const files = readdirSync(root, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(".onnx"))
    .sort()
    .map((name) => new Uint8Array(readFileSync(join(root, name))))
    .filter(({ length }) => length < MOST_BYTES);
  return [graph, ...files];
}

/** Text models, from whose embeddings gradients are asked for; without their large weights, which nobody looks into. */
function textModels(): readonly Uint8Array[] {
  return ["seqcls-bert-2way", "tiny-bert-nli", "qa-bert", "tiny-gpt2"].flatMap((name) => {
    const file = readdirSync(join(modelPath(name), "onnx")).find((each) =>
      /^(?:decoder_)?model(?:_merged)?\.onnx$/.test(each),
    );
    if (file === undefined) return [];
    const model = parseOnnxModel(new Uint8Array(readFileSync(join(modelPath(name), "onnx", file))));
    const initializer = model.graph.initializer.map((tensor) =>
      (tensor.rawData?.length ?? 0) > 256 ? { ...tensor, rawData: new Uint8Array() } : tensor,
    );
    return [writeOnnxModel({ ...model, graph: { ...model.graph, initializer } })];
  });
}

export const ONNX_TARGETS: readonly Target[] = [
  readerTarget({
    name: "onnx reader",
    seeds: () => [...modelFiles(), ...textModels()],
    mutate: mutateMessage,
    read(bytes) {
      const model = parseOnnxModel(bytes);
      writeOnnxModel(model);
      toSession(model);
    },
    refuses: ["MODEL_INVALID"],
  }),
  readerTarget({
    name: "onnx gradient",
    seeds: textModels,
    mutate: mutateMessage,
    read(bytes) {
      const model = parseOnnxModel(bytes);
      const [output] = model.graph.output;
      const layer = findEmbeddingLayer(model);
      const { gradient } = buildGradientGraphs(model, { layer, output: output?.name ?? "" });
      writeOnnxModel(gradient);
    },
    refuses: ["MODEL_INVALID", "NOT_SUPPORTED", "INVALID_INPUT"],
  }),
  { name: "onnxruntime", open: () => Promise.resolve(openSessions()) },
];

const CHILD = fileURLToPath(new URL("./session-child.ts", import.meta.url));

/** A file that onnxruntime is still at then would hang a start; the child is ended. */
const LOAD_MS = 15_000;

function openSessions(): Session {
  let child: ChildProcess | undefined;

  function start(): ChildProcess {
    child = fork(CHILD, [], {
      execArgv: ["--import", "tsx"],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      env: { ...process.env, ORT_DISABLE_TELEMETRY: "1" },
    });
    return child;
  }

  return openReader({
    name: "onnxruntime",
    seeds: modelFiles,
    mutate: mutateMessage,
    async read(bytes) {
      const asked = child?.connected === true ? child : start();
      const answer = await new Promise<string>((resolve) => {
        const timer = setTimeout(() => end("hangs"), LOAD_MS);
        const end = (outcome: string): void => {
          clearTimeout(timer);
          asked.off("message", end);
          asked.off("exit", died);
          resolve(outcome);
        };
        const died = (_code: number | null, signal: string | null): void =>
          end(`died of ${signal ?? "itself"}`);
        asked.on("message", end);
        asked.once("exit", died);
        asked.send(bytes);
      });
      if (answer === "hangs") {
        asked.kill("SIGKILL");
        throw new Defect("onnxruntime hangs", `no session and no error after ${LOAD_MS} ms`);
      }
      return answer;
    },
    refuses: [],
    close() {
      child?.kill("SIGKILL");
    },
  });
}
