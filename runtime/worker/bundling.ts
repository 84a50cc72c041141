/**
 * A main of its own: compiles a repository's handler for a worker in a sandbox, says so to its parent, and ends.
 */
import { isRuntimeError, messageOf, RuntimeError, toPlainError } from "../errors.ts";
import { bundleHandler } from "../handler/custom/bundle.ts";
import { toLoadError } from "../handler/custom/failure.ts";
import { findHandlerFile } from "../handler/load.ts";
import type { CompiledBundle, LoadOptions } from "../inference.ts";

process.once("message", (load: LoadOptions) => {
  void bundle(load).then(
    (found) => say(found === undefined ? {} : { bundle: found }),
    (error: unknown) => {
      const known = isRuntimeError(error)
        ? error
        : new RuntimeError("HANDLER_INVALID", `Cannot compile the handler: ${messageOf(error)}`);
      say({ error: toPlainError(known) });
    },
  );
});

/** @returns `undefined` where the repository has no handler of its own. */
async function bundle(load: LoadOptions): Promise<CompiledBundle | undefined> {
  const { repository, dependencies } = load;
  const file = await findHandlerFile(load);
  if (file === undefined) return undefined;
  try {
    const compiled = await bundleHandler({
      repository,
      file,
      ...(dependencies !== undefined && { dependencies }),
    });
    return { ...compiled, file };
  } catch (error) {
    throw toLoadError(error, file, repository);
  }
}

function say(answer: { bundle: CompiledBundle } | { error: object } | object): void {
  process.send?.(answer, () => process.disconnect());
}
