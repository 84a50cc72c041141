/**
 * The session of a model without a task: the one place where a file becomes one.
 *
 * Weights beside the file (`model.onnx_data`) are found by onnxruntime, relative to it. Models of a task are loaded in
 * `../model/encoder.ts`.
 */
import { basename } from "node:path";
import { InferenceSession } from "onnxruntime-node";

import type { Device } from "../../weights.ts";
import { scanOnnxFile } from "../onnx-scan.ts";
import { loadFailure } from "../model/load-failure.ts";

export interface SessionOptions {
  /** Threads that one run may use; onnxruntime's own default when absent. */
  readonly intraOpThreads?: number;
  /** Where it is computed; on the CPU when absent. */
  readonly device?: Device;
}

/** @param file Absolute. @throws `MODEL_INVALID` when it cannot be loaded. */
export async function openSession(
  folder: string,
  file: string,
  { intraOpThreads, device = "cpu" }: SessionOptions,
): Promise<InferenceSession> {
  scanOnnxFile(file);
  try {
    return await InferenceSession.create(file, {
      logSeverityLevel: 3, // errors: a graph whose outputs are larger than it says would be warned about at each request
      executionProviders: [device],
      ...(intraOpThreads !== undefined && { intraOpNumThreads: intraOpThreads }),
    });
  } catch (error) {
    throw loadFailure(basename(file), folder, error, device);
  }
}
