/**
 * Whether the native libraries that run models can be loaded on this machine at all.
 */

/**
 * Loads onnxruntime.
 *
 * @returns Its version.
 * @throws What Node throws for a library that is missing, or is for another system.
 */
export async function loadNativeRuntime(): Promise<string> {
  const { env } = await import("onnxruntime-node");
  return env.versions.node ?? env.versions.common;
}
