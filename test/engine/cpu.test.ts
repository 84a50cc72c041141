import assert from "node:assert/strict";
import { test } from "node:test";
import { readMemoryLimit, type ReadFile } from "../../runtime/engine/cgroup.ts";
import { availableCpus } from "../../runtime/engine/cpu.ts";

/** A system of which only these files can be read. */
function systemOf(files: Readonly<Record<string, string>>): ReadFile {
  return (path) => files[path];
}

// The contents are in the formats of real machines; ids are shortened.
const HOST_STATUS =
  "Name:\tnode\nCpus_allowed:\tffff\nCpus_allowed_list:\t0-15\nMems_allowed:\t1\n";
const V2_MOUNT =
  "34 23 0:28 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
const V1_MOUNTS =
  "25 20 0:22 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n" +
  "31 25 0:26 /docker/1f0c /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:11 - cgroup cgroup rw,cpu,cpuacct\n" +
  "36 25 0:31 /docker/1f0c /sys/fs/cgroup/memory ro,nosuid master:16 - cgroup cgroup rw,memory\n";
const V1_GROUPS =
  "11:memory:/docker/1f0c\n4:cpu,cpuacct:/docker/1f0c\n1:name=systemd:/docker/1f0c\n";
const HYBRID_MOUNTS =
  "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n" +
  "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n" +
  "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

const SYSTEMS: readonly {
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  readonly cpus: number;
  readonly why: RegExp;
}[] = [
  {
    name: "a container with a quota of one and a half CPUs, version 2",
    files: {
      "/proc/self/status": HOST_STATUS,
      "/proc/self/cgroup": "0::/\n",
      "/proc/self/mountinfo": V2_MOUNT,
      "/sys/fs/cgroup/cpu.max": "150000 100000\n",
    },
    cpus: 1.5,
    why: /quota in \/sys\/fs\/cgroup\/cpu\.max$/,
  },
  {
    name: "half a CPU, version 2",
    files: {
      "/proc/self/status": HOST_STATUS,
      "/proc/self/cgroup": "0::/\n",
      "/proc/self/mountinfo": V2_MOUNT,
      "/sys/fs/cgroup/cpu.max": "50000 100000\n",
    },
    cpus: 0.5,
    why: /quota/,
  },
  {
    name: "a container without a quota, version 2",
    files: {
      "/proc/self/status": HOST_STATUS,
      "/proc/self/cgroup": "0::/\n",
      "/proc/self/mountinfo": V2_MOUNT,
      "/sys/fs/cgroup/cpu.max": "max 100000\n",
    },
    cpus: 16,
    why: /may run on/,
  },
  {
    name: "a systemd service whose slice is limited more tightly than itself",
    files: {
      "/proc/self/status": HOST_STATUS,
      "/proc/self/cgroup": "0::/models.slice/hubserve.service\n",
      "/proc/self/mountinfo": V2_MOUNT,
      "/sys/fs/cgroup/models.slice/hubserve.service/cpu.max": "400000 100000\n",
      "/sys/fs/cgroup/models.slice/cpu.max": "300000 100000\n",
    },
    cpus: 3,
    why: /models\.slice\/cpu\.max$/,
  },
  {
    name: "a quota above the CPUs that the process is pinned to",
    files: {
      "/proc/self/status": "Cpus_allowed_list:\t0-1,8\n",
      "/proc/self/cgroup": "0::/\n",
      "/proc/self/mountinfo": V2_MOUNT,
      "/sys/fs/cgroup/cpu.max": "800000 100000\n",
    },
    cpus: 3,
    why: /may run on/,
  },
  {
    name: "Docker on version 1, whose mount shows the container's own group",
    files: {
      "/proc/self/status": HOST_STATUS,
      "/proc/self/cgroup": V1_GROUPS,
      "/proc/self/mountinfo": V1_MOUNTS,
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    },
    cpus: 2,
    why: /cpu,cpuacct\/cpu\.cfs_quota_us$/,
  },
  {
    name: "a hybrid machine without a quota",
    files: {
      "/proc/self/status": "Cpus_allowed_list:\t0-1\n",
      "/proc/self/cgroup": "4:memory:/api/cf74\n1:cpu:/\n0::/\n",
      "/proc/self/mountinfo": HYBRID_MOUNTS,
      "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    },
    cpus: 2,
    why: /may run on/,
  },
  {
    name: "a process whose group lies outside its namespace",
    files: {
      "/proc/self/status": HOST_STATUS,
      "/proc/self/cgroup": "0::/../../other\n",
      "/proc/self/mountinfo": V2_MOUNT,
      "/sys/fs/cgroup/cpu.max": "200000 100000\n",
    },
    cpus: 2,
    why: /quota/,
  },
  {
    name: "a sandbox that hides its mounts",
    files: {
      "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
      "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000",
    },
    cpus: 3,
    why: /quota/,
  },
  { name: "a system without control groups", files: {}, cpus: 4, why: /may run on/ },
  {
    name: "files that hold nonsense",
    files: {
      "/proc/self/status": "Cpus_allowed_list:\t\n",
      "/proc/self/cgroup": "what is this",
      "/proc/self/mountinfo": V2_MOUNT,
      "/sys/fs/cgroup/cpu.max": "plenty\n",
    },
    cpus: 4,
    why: /may run on/,
  },
];

for (const { name, files, cpus, why } of SYSTEMS) {
  test(`availableCpus() finds ${cpus} CPUs on ${name}`, () => {
    const found = availableCpus({ read: systemOf(files), parallelism: 4 });
    assert.equal(found.cpus, cpus);
    assert.match(found.why, why);
  });
}

test("availableCpus() finds at least a part of a CPU on this machine", () => {
  assert.ok(availableCpus().cpus > 0);
});

test("readMemoryLimit() takes the tightest limit of version 2, and none where it says max", () => {
  const files = { "/proc/self/cgroup": "0::/a/b\n", "/proc/self/mountinfo": V2_MOUNT };
  const limited = {
    ...files,
    "/sys/fs/cgroup/a/b/memory.max": "max\n",
    "/sys/fs/cgroup/a/memory.max": "1073741824\n",
  };
  assert.deepEqual(readMemoryLimit(systemOf(limited)), {
    value: 1_073_741_824,
    file: "/sys/fs/cgroup/a/memory.max",
  });
  assert.equal(readMemoryLimit(systemOf(files)), undefined);
});

test("readMemoryLimit() reads version 1, where the largest number of pages means none", () => {
  const files = { "/proc/self/cgroup": V1_GROUPS, "/proc/self/mountinfo": V1_MOUNTS };
  const file = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
  assert.equal(readMemoryLimit(systemOf({ ...files, [file]: "536870912\n" }))?.value, 536_870_912);
  assert.equal(readMemoryLimit(systemOf({ ...files, [file]: "9223372036854771712\n" })), undefined);
});
