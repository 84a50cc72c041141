/**
 * One empty cache folder, and `downloadRepository` into it with a log that is kept and waits that take no time.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog } from "../../runtime/observe/log.ts";
import {
  downloadRepository,
  type HubOptions,
  type HubSnapshot,
} from "../../runtime/repository/hub.ts";
import type { HubServer } from "../support/hub-server.ts";

export const NAME = "owner/name";

export interface Downloader extends AsyncDisposable {
  readonly cacheDir: string;
  /** The model's folder in the cache. */
  readonly folder: string;
  /** What was logged, every level. */
  readonly lines: string[];
  /** How long it wanted to wait, in milliseconds. */
  readonly waits: number[];
  download(options?: Partial<HubOptions>, revision?: string, name?: string): Promise<HubSnapshot>;
}

export async function createDownloader(hub: Pick<HubServer, "url">): Promise<Downloader> {
  const cacheDir = await mkdtemp(join(tmpdir(), "hubserve-hub-"));
  const lines: string[] = [];
  const waits: number[] = [];
  const log = createLog({ level: "debug", write: (line) => lines.push(line) });
  return {
    cacheDir,
    folder: join(cacheDir, "models--owner--name"),
    lines,
    waits,
    download: (options = {}, revision = "main", name = NAME) =>
      downloadRepository(
        { name, revision },
        {
          endpoint: hub.url,
          cacheDir,
          offline: false,
          signal: new AbortController().signal,
          log,
          sleep: async (ms, signal) => {
            signal.throwIfAborted();
            waits.push(ms);
            // Lets whatever is awaited happen, as a real wait would.
            await new Promise((resolve) => setImmediate(resolve));
          },
          ...options,
        },
      ),
    [Symbol.asyncDispose]: () => rm(cacheDir, { recursive: true, force: true }),
  };
}

/** A URL at which nobody listens: port 4 belongs to no service, and `fetch` does not forbid it. */
export const NOBODY = { url: "http://127.0.0.1:4" };

/** Bytes without a pattern that repeats within a chunk, the same on every run. */
export function bytesOf(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index += 1) bytes[index] = (index * 7 + (index >> 8)) % 256;
  return bytes;
}

/** A small model with two dtypes. */
export const MODEL_FILES = {
  ".gitattributes": "*.onnx filter=lfs",
  "README.md": "# A model",
  "config.json": '{"model_type":"bert"}',
  "tokenizer.json": "{}",
  "model.safetensors": { lfs: "not for us" },
  "onnx/model.onnx": { lfs: bytesOf(3000) },
  "onnx/model_quantized.onnx": { lfs: bytesOf(2000) },
};
