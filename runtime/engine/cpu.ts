/**
 * How many CPUs this process may really use.
 *
 * `os.cpus()` counts the host's. What counts is the tightest of the CPU time that the control groups allow and the
 * CPUs that the process may run on.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { readCpuQuota, type ReadFile } from "./cgroup.ts";

export interface CpuSources {
  readonly read?: ReadFile;
  /** What the system says, where `/proc` does not: never more than the CPUs that the process may run on. */
  readonly parallelism?: number;
}

export interface AvailableCpus {
  /** Above 0; a fraction where a quota is one. */
  readonly cpus: number;
  /** Which limit won, for the log. */
  readonly why: string;
}

/** The CPUs there are for this process, and what limits them. */
export function availableCpus({
  read = readSystemFile,
  parallelism = availableParallelism(),
}: CpuSources = {}): AvailableCpus {
  // Not availableParallelism() where it can be helped: newer versions of Node count the quota in it, rounded down.
  const runnable = parseCpuList(read("/proc/self/status")) ?? parallelism;
  const quota = readCpuQuota(read);
  return quota !== undefined && quota.value < runnable
    ? { cpus: quota.value, why: `the quota in ${quota.file}` }
    : { cpus: runnable, why: "the CPUs that this process may run on" };
}

/** How many CPUs `Cpus_allowed_list` of `/proc/self/status` names: `0-3,8` → 5. */
function parseCpuList(status: string | undefined): number | undefined {
  const list = /^Cpus_allowed_list:\s*([\d,-]+)$/m.exec(status ?? "")?.[1];
  const count = list?.split(",").reduce((sum, range) => {
    const [first = Number.NaN, last = first] = range.split("-").map(Number);
    return sum + last - first + 1;
  }, 0);
  return count !== undefined && count >= 1 ? count : undefined;
}

/** A file of `/proc` or `/sys`; absent on other systems. */
export function readSystemFile(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined; // no such control group, or no such system
  }
}
