/**
 * Makes a session of every file it is sent, and says what came of it. It may die of one.
 */
import { InferenceSession } from "onnxruntime-node";

process.on("message", (bytes: Uint8Array) => void load(bytes));

async function load(bytes: Uint8Array): Promise<void> {
  let outcome = "loaded";
  try {
    const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1 });
    await session.release();
  } catch {
    outcome = "refused";
  }
  process.send?.(outcome);
}
