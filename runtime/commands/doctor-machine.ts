/**
 * The doctor's look at this machine: Node, the processor, memory, disk, ports, and the native library.
 */
import { accessSync, constants, existsSync, statfsSync } from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import type { Config } from "../config.ts";
import { readMemoryLimit, type ReadFile } from "../engine/cgroup.ts";
import { availableCpus, readSystemFile } from "../engine/cpu.ts";
import { messageOf } from "../errors.ts";
import { openGate } from "../gate.ts";
import { formatBytes } from "../repository/hub-progress.ts";
import type { Finding, Level } from "./finding.ts";

/** As package.json says. */
const OLDEST_NODE = [20, 19] as const;

export interface MachineOptions {
  readonly config: Config;
  readonly read?: ReadFile;
  readonly nodeVersion?: string;
  readonly arch?: string;
}

export async function examineMachine({
  config,
  read = readSystemFile,
  nodeVersion = process.versions.node,
  arch = process.arch,
}: MachineOptions): Promise<readonly Finding[]> {
  return [
    examineNode(nodeVersion),
    examineProcessor(read("/proc/cpuinfo"), arch),
    examineCpus(),
    await examineNative(),
    examineMemory(read),
    examineFolder("The Hub's cache", config.hubCache, "--hub-cache", MIN_CACHE_BYTES),
    examineFolder("hubserve's cache", config.cache, "--cache", MIN_DISK_BYTES),
    examineFolder("The temporary folder", tmpdir(), "TMPDIR", MIN_DISK_BYTES),
    await examinePort(config),
  ];
}

/** A small model, and the packages of a handler. */
const MIN_CACHE_BYTES = 1e9;
const MIN_DISK_BYTES = 100e6;
/** What a worker holds with no model at all, twice. */
const MIN_MEMORY_BYTES = 600 * 1024 * 1024;

export function examineNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [oldest, least] = OLDEST_NODE;
  const fits = major > oldest || (major === oldest && minor >= least);
  return fits
    ? finding("ok", `Node ${version}`)
    : finding("fail", `Node ${version} is too old`, `Install Node ${oldest}.${least} or newer`);
}

/**
 * What makes int8 weights fast, from `/proc/cpuinfo`: VNNI or dot products, and wide vectors at all.
 *
 * @param cpuinfo `undefined` where there is no such file.
 */
export function examineProcessor(cpuinfo: string | undefined, arch: string): Finding {
  const flags = new Set(/^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo ?? "")?.[1]?.split(/\s+/));
  const has = (...names: string[]): string[] => names.filter((name) => flags.has(name));
  if (flags.size === 0)
    return finding("ok", `Processor: ${arch}; its features cannot be read on ${process.platform}`);
  if (arch === "arm64") {
    const found = has("asimddp", "i8mm", "sve", "bf16");
    return found.includes("asimddp")
      ? finding("ok", `Processor: ${arch} with ${found.join(", ")}`)
      : finding(
          "warn",
          `Processor: ${arch} without dot products (asimddp), so int8 weights are hardly faster than fp32`,
          "Try --dtype fp32 and compare with `hubserve bench`",
        );
  }
  const found = has("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8");
  if (!found.includes("avx2")) {
    return finding(
      "warn",
      `Processor: ${arch} without AVX2, so models run several times slower`,
      "Use a processor of 2014 or later, or let the virtual machine show its host's features",
    );
  }
  if (!found.some((name) => /vnni|amx/.test(name))) {
    return finding(
      "warn",
      `Processor: ${arch} with ${found.join(", ")}, without VNNI: int8 weights are less fast, and a little less exact`,
      "Where numbers differ from what you expect, compare with --dtype fp32",
    );
  }
  return finding("ok", `Processor: ${arch} with ${found.join(", ")}`);
}

function examineCpus(): Finding {
  const { cpus, why } = availableCpus();
  const count = Math.round(cpus * 10) / 10;
  return cpus < 1
    ? finding(
        "warn",
        `CPUs: ${count}, by ${why}`,
        "Allow at least 1 CPU: with less every run waits",
      )
    : finding("ok", `CPUs: ${count}, by ${why}`);
}

async function examineNative(): Promise<Finding> {
  try {
    const { loadNativeRuntime } = await import("../handler/native-runtime.ts");
    return finding("ok", `onnxruntime ${await loadNativeRuntime()} can be loaded`);
  } catch (error) {
    return finding(
      "fail",
      `onnxruntime cannot be loaded: ${messageOf(error).split("\n")[0]}`,
      "Install the packages anew on this very system; it needs glibc (Debian, Ubuntu, …), not musl (Alpine)",
    );
  }
}

function examineMemory(read: ReadFile): Finding {
  const { bytes, why } = memoryOf(read);
  const text = `Memory: ${formatBytes(bytes)}, by ${why}`;
  return bytes < MIN_MEMORY_BYTES
    ? finding("warn", text, `A worker wants some 300 MB besides its weights: allow more`)
    : finding("ok", text);
}

/** What this process and its workers may hold together. */
export function memoryOf(read: ReadFile = readSystemFile): { bytes: number; why: string } {
  const limit = readMemoryLimit(read);
  const total = totalmem();
  return limit !== undefined && limit.value < total
    ? { bytes: limit.value, why: `the limit in ${limit.file}` }
    : { bytes: total, why: "the machine's own" };
}

/** @param leastBytes With less free than that it is worth a warning. */
function examineFolder(what: string, folder: string, option: string, leastBytes: number): Finding {
  const there = nearestFolder(folder);
  try {
    accessSync(there, constants.W_OK | constants.X_OK);
  } catch {
    return finding(
      "fail",
      `${what}, ${folder}, may not be written`,
      `Make ${there} writable for this user, or name another folder with ${option}`,
    );
  }
  const free = freeBytes(there);
  const text = `${what}: ${folder}${free === undefined ? "" : `, ${formatBytes(free)} free`}`;
  return free !== undefined && free < leastBytes
    ? finding("warn", text, `Free some space, or name another folder with ${option}`)
    : finding("ok", text);
}

/** Of the file system that would hold it; `undefined` where that cannot be asked. */
export function freeBytes(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(nearestFolder(folder));
    return bavail * bsize;
  } catch {
    return undefined; // a sandbox may forbid it
  }
}

function nearestFolder(folder: string): string {
  let there = folder;
  while (!existsSync(there) && dirname(there) !== there) there = join(there, "..");
  return there;
}

async function examinePort(config: Config): Promise<Finding> {
  const { host, port } = config;
  if (port === 0) return finding("ok", "Port: a free one will be taken");
  try {
    const place = { host, port, hostFlag: "--host", portFlag: "--port" };
    const gate = await openGate(place, () => new Response(), {
      ...config,
      warn: () => undefined, // nobody is let in
    });
    await gate.close();
    return finding("ok", `Port ${port} on ${host} is free`);
  } catch (error) {
    return finding(
      "fail",
      messageOf(error),
      "Stop what listens there, or name another with --port or --host",
    );
  }
}

function finding(level: Level, text: string, mend?: string): Finding {
  return { area: "machine", level, text, ...(mend !== undefined && { mend }) };
}
