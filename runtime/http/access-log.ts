/**
 * A line in the log for each request, without its body: which of them, and how loud.
 *
 * Whatever is not asked for is still there at the level debug, unless all are off.
 */
import type { LogLevel } from "../observe/log.ts";

export type AccessLog = "off" | "errors" | "all";

/**
 * @param isFault Whether the server failed, and not the client.
 * @returns The level of the line; `undefined` for none.
 */
export function accessLevel(choice: AccessLog, isFault: boolean): LogLevel | undefined {
  if (choice === "off") return undefined;
  if (isFault) return "warn";
  return choice === "all" ? "info" : "debug";
}
