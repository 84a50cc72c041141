/**
 * What a program and its children take, read from outside in Linux's /proc. Elsewhere nothing is known.
 *
 * Source: proc(5), /proc/pid/stat fields 4 and 14–17, /proc/pid/status.
 */
import { readdirSync, readFileSync } from "node:fs";

export interface Usage {
  /** User and system time of all processes since they started, children that have ended included. */
  readonly cpuSeconds: number;
  /** Each process's highest resident memory, added up: an upper bound of the tree's peak. */
  readonly peakBytes: number;
  /** Resident memory now. */
  readonly residentBytes: number;
  /** Open file descriptors. */
  readonly descriptors: number;
  readonly processes: number;
}

/** USER_HZ is 100 on every Linux that Node runs on: times come in steps of 10 ms. */
const TICKS_PER_SECOND = 100;

/** @returns `undefined` where there is no /proc, or the process is gone. */
export function readUsage(pid: number): Usage | undefined {
  if (process.platform !== "linux") return undefined;
  const pids = processTree(pid);
  let usage: Usage = {
    cpuSeconds: 0,
    peakBytes: 0,
    residentBytes: 0,
    descriptors: 0,
    processes: 0,
  };
  for (const one of pids) {
    try {
      const fields = statOf(one);
      const status = readFileSync(`/proc/${one}/status`, "utf8");
      const ticks = [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0);
      usage = {
        cpuSeconds: usage.cpuSeconds + ticks / TICKS_PER_SECOND,
        peakBytes: usage.peakBytes + kilobytesOf(status, "VmHWM") * 1024,
        residentBytes: usage.residentBytes + kilobytesOf(status, "VmRSS") * 1024,
        descriptors: usage.descriptors + readdirSync(`/proc/${one}/fd`).length,
        processes: usage.processes + 1,
      };
    } catch {
      // ended meanwhile
    }
  }
  return usage.processes === 0 ? undefined : usage;
}

/** The process and all below it. */
function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const parent = Number(statOf(Number(name))[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // ended meanwhile
    }
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(children.get(pid) ?? [])); // grows while it is walked
  return tree;
}

/** The fields from the third on, `[0]` is the state: the second, the program's name, may hold spaces. */
function statOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function kilobytesOf(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
}
