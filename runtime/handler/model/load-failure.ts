/**
 * Why a file of a model could not be loaded, in one sentence.
 */
import { messageOf, RuntimeError } from "../../errors.ts";
import type { Device } from "../../weights.ts";

/** Messages of the libraries name absolute paths; ours name files as the repository does. */
export function loadFailure(
  what: string,
  folder: string,
  error: unknown,
  device: Device = "cpu",
): RuntimeError {
  const reason = messageOf(error).replaceAll(folder, "").trim();
  const [where, hint] =
    device === "cpu"
      ? ["", ""]
      : [
          ` on the device "${device}"`,
          `; what it needs may not be here (docs/image.md says what the CUDA image has), and --device cpu does without`,
        ];
  const text = `Cannot load ${what}${where}: ${reason}${hint}`;
  return new RuntimeError("MODEL_INVALID", text, { cause: error });
}
