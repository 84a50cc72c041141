/**
 * What the machine is doing, as `psutil` tells it to TorchServe: read when somebody looks, from the system itself.
 */
import { readFileSync, statfsSync } from "node:fs";
import { cpus, freemem, totalmem } from "node:os";

export interface HostReading {
  /** Of all CPUs since the last look, or since the machine started; from 0 to 100. */
  readonly cpuPercent: number;
  readonly memoryBytes: {
    readonly used: number;
    readonly available: number;
    readonly total: number;
  };
  /** Of the file system that holds `/`; `undefined` where that cannot be asked. */
  readonly diskBytes:
    | { readonly used: number; readonly available: number; readonly total: number }
    | undefined;
}

/** @returns What reads; each reading counts from the one before. */
export function createHostReader(): () => HostReading {
  let before = { busy: 0, all: 0 };
  return () => {
    const now = cpuTimes();
    const all = now.all - before.all;
    const cpuPercent = all > 0 ? (100 * (now.busy - before.busy)) / all : 0;
    before = now;
    const total = totalmem();
    const available = availableMemory();
    return {
      cpuPercent,
      memoryBytes: { used: total - available, available, total },
      diskBytes: readDisk(),
    };
  };
}

/** In milliseconds of one CPU. */
function cpuTimes(): { busy: number; all: number } {
  let [busy, all] = [0, 0];
  for (const { times } of cpus()) {
    const sum = times.user + times.nice + times.sys + times.irq + times.idle;
    all += sum;
    busy += sum - times.idle;
  }
  return { busy, all };
}

/** With what the kernel would give up of its caches; `os.freemem` leaves that out on Linux with Node 20. */
function availableMemory(): number {
  try {
    const found = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
    return found === undefined ? freemem() : Number(found) * 1024;
  } catch {
    return freemem(); // not Linux
  }
}

function readDisk(): HostReading["diskBytes"] {
  try {
    const { blocks, bfree, bavail, bsize } = statfsSync("/");
    return { used: (blocks - bfree) * bsize, available: bavail * bsize, total: blocks * bsize };
  } catch {
    return undefined; // a sandbox may forbid it
  }
}
