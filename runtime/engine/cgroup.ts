/**
 * What the control groups of Linux allow this process: CPU time and memory.
 *
 * Both interfaces are read: version 2 (kernel's admin-guide/cgroup-v2.rst, `cpu.max`, `memory.max`) and version 1
 * (scheduler/sched-bwc.rst, `cpu.cfs_quota_us`; cgroup-v1/memory.rst, `memory.limit_in_bytes`). A group's limit holds
 * for all below it, so every ancestor that can be seen counts, and the tightest wins. Where there is no control
 * group, nothing is found, and that is an answer too.
 */

/** The text of a file, or `undefined` where it cannot be read. */
export type ReadFile = (path: string) => string | undefined;

/** A limit and the file that sets it, for a sentence that tells a person what to change. */
export interface GroupLimit {
  readonly value: number;
  readonly file: string;
}

/** The CPU time allowed, in CPUs: `1.5` is 150 ms in each 100 ms. */
export function readCpuQuota(read: ReadFile): GroupLimit | undefined {
  return tightest(
    foldersOf("cpu", read).map(({ version, folder }) => {
      if (version === 2)
        return { value: parseCpuMax(read(`${folder}/cpu.max`)), file: `${folder}/cpu.max` };
      const file = `${folder}/cpu.cfs_quota_us`;
      return { value: toQuota(read(file), read(`${folder}/cpu.cfs_period_us`)), file };
    }),
  );
}

/** The memory allowed, in bytes. */
export function readMemoryLimit(read: ReadFile): GroupLimit | undefined {
  return tightest(
    foldersOf("memory", read).map(({ version, folder }) => {
      const file = `${folder}/${version === 2 ? "memory.max" : "memory.limit_in_bytes"}`;
      return { value: parseBytes(read(file)), file };
    }),
  );
}

interface GroupFolder {
  readonly version: 1 | 2;
  readonly folder: string;
}

/** Where distributions and container engines mount them, for a `/proc` that does not tell. */
const USUAL_MOUNTS: readonly Mount[] = [
  { version: 2, root: "/", point: "/sys/fs/cgroup", controllers: [] },
  { version: 1, root: "/", point: "/sys/fs/cgroup/cpu", controllers: ["cpu"] },
  { version: 1, root: "/", point: "/sys/fs/cgroup/memory", controllers: ["memory"] },
];

/** The folders of the groups that this process lies in, from its own up to the mount. */
function foldersOf(controller: "cpu" | "memory", read: ReadFile): GroupFolder[] {
  const groups = parseGroups(read("/proc/self/cgroup") ?? "");
  const found = parseMounts(read("/proc/self/mountinfo") ?? "");
  const mounts = found.length > 0 ? found : USUAL_MOUNTS;
  return mounts
    .filter(({ version, controllers }) => version === 2 || controllers.includes(controller))
    .flatMap(({ version, root, point }) => {
      const group = groups.find(({ controllers }) =>
        version === 2 ? controllers.length === 0 : controllers.includes(controller),
      );
      return ancestorsOf(belowRoot(group?.path ?? "/", root)).map((path) => ({
        version,
        folder: `${point}${path}`,
      }));
    });
}

interface Group {
  /** Empty for version 2. */
  readonly controllers: readonly string[];
  readonly path: string;
}

/** `/proc/self/cgroup` (cgroups(7)): `4:cpu,cpuacct:/docker/1f0c…` or, for version 2, `0::/user.slice`. */
function parseGroups(text: string): Group[] {
  return [...text.matchAll(/^\d+:([^:\n]*):(.*)$/gm)].map(([, controllers = "", path = "/"]) => ({
    controllers: controllers.split(",").filter((name) => name !== ""),
    path,
  }));
}

interface Mount {
  readonly version: 1 | 2;
  /** The part of the hierarchy that the mount shows: `/`, or the container's own group. */
  readonly root: string;
  readonly point: string;
  readonly controllers: readonly string[];
}

/** `/proc/self/mountinfo` (proc_pid_mountinfo(5)): `… root point options … - type source superoptions`. */
function parseMounts(text: string): Mount[] {
  const line = /^\S+ \S+ \S+ (\S+) (\S+) .*? - (cgroup2?) \S+ (\S+)$/gm;
  return [...text.matchAll(line)].map(([, root = "/", point = "", type, options = ""]) => ({
    version: type === "cgroup2" ? 2 : 1,
    root,
    point,
    controllers: options.split(","),
  }));
}

/** A group's path below the mount's root; `""` where the mount does not reach it (`/../..`, another's group). */
function belowRoot(path: string, root: string): string {
  if (path.split("/").includes("..")) return "";
  if (root === "/") return path === "/" ? "" : path;
  return path.startsWith(`${root}/`) ? path.slice(root.length) : "";
}

/** `"/a/b"` → `"/a/b"`, `"/a"`, `""`. */
function ancestorsOf(path: string): string[] {
  const parts = path.split("/").slice(1);
  return [...parts.keys(), parts.length].toReversed().map((length) =>
    parts
      .slice(0, length)
      .map((part) => `/${part}`)
      .join(""),
  );
}

/** `cpu.max` of version 2: `150000 100000`, `max 100000`. */
function parseCpuMax(text: string | undefined): number | undefined {
  const [quota, period] = (text ?? "").trim().split(/\s+/);
  return toQuota(quota, period);
}

/** Quota over period, both in microseconds; `max` and `-1` mean none. */
function toQuota(quota: string | undefined, period: string | undefined): number | undefined {
  const cpus = Number(quota ?? "") / Number(period ?? "");
  return Number.isFinite(cpus) && cpus > 0 ? cpus : undefined;
}

/** Version 1 spells "no limit" as the largest number of whole pages, a little under 2^63; no machine has a tenth of it. */
const NO_LIMIT_BYTES = 2 ** 60;

function parseBytes(text: string | undefined): number | undefined {
  const bytes = Number(text?.trim() || "none");
  return bytes > 0 && bytes < NO_LIMIT_BYTES ? bytes : undefined;
}

function tightest(
  limits: readonly { readonly value: number | undefined; readonly file: string }[],
): GroupLimit | undefined {
  let least: GroupLimit | undefined;
  for (const { value, file } of limits) {
    if (value !== undefined && value < (least?.value ?? Infinity)) least = { value, file };
  }
  return least;
}
