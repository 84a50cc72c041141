/**
 * Where and with what it was measured: numbers without this mean nothing.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join } from "node:path";

import { ROOT } from "./programs.ts";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** In cores, from the control group; absent for none. */
  readonly quota?: number;
  readonly memoryGib: number;
  readonly versions: Readonly<Record<string, string>>;
}

export function describeMachine(hubserve: string): Machine {
  const quota = readQuota();
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    ...(quota !== undefined && { quota }),
    memoryGib: Math.round(totalmem() / 2 ** 30),
    versions: {
      node: process.versions.node,
      "onnxruntime-node": versionOf("onnxruntime-node"),
      "@huggingface/transformers": versionOf("@huggingface/transformers"),
      hubserve: commitOf(hubserve),
    },
  };
}

/** `cpu.max` of cgroup v2: quota and period in microseconds. */
function readQuota(): number | undefined {
  const file = "/sys/fs/cgroup/cpu.max";
  if (!existsSync(file)) return undefined;
  const [quota, period] = readFileSync(file, "utf8").split(" ").map(Number);
  const cores = (quota ?? NaN) / (period ?? NaN);
  return Number.isFinite(cores) ? cores : undefined; // "max" for none
}

function versionOf(name: string): string {
  const manifest = readFileSync(join(ROOT, "node_modules", name, "package.json"), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}

function commitOf(hubserve: string): string {
  if (!hubserve.startsWith(ROOT)) return hubserve;
  const git = (...args: string[]): string =>
    execFileSync("git", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  try {
    const isChanged = git("status", "--porcelain", "runtime").trim() !== "";
    return `${git("rev-parse", "--short", "HEAD").trim()}${isChanged ? " with changes" : ""}`;
  } catch {
    return "no git";
  }
}
