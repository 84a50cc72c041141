/**
 * How many workers, with how many threads each, when nobody says.
 *
 * Pure; `serve.ts` tells it what there is. `notes/workers.md` holds the measurements behind the numbers: on two CPUs
 * two workers with one thread each answer more under load than one worker with two threads, for less CPU time.
 */

export interface WorkerSituation {
  /** Above 0, maybe a fraction: what `availableCpus` found. */
  readonly cpus: number;
  /** What the server may use of it at all, in bytes: the machine's, or its control group's limit. */
  readonly memoryBytes: number;
  /** The size of the weights' files, in bytes; `undefined` where a handler brings its own. */
  readonly weightsBytes: number | undefined;
  /** What a person asked for; both bounds, unless `minWorkers` or `maxWorkers` say otherwise. */
  readonly workers: number | undefined;
  readonly minWorkers: number | undefined;
  readonly maxWorkers: number | undefined;
  readonly threads: number | undefined;
}

export interface WorkerPlan {
  readonly minWorkers: number;
  /** At least `minWorkers`; the same where nobody asked for a range. */
  readonly maxWorkers: number;
  /** Threads that one inference may use. */
  readonly threads: number;
  /** What the numbers follow from, for the log. */
  readonly why: string;
}

/** More CPUs than this become threads: each worker costs a process, a load and a copy of the weights. */
const MOST_WORKERS = 4;

/** What workers may take of the memory: the rest is for the parent, for bodies in flight and for the page cache. */
const MEMORY_SHARE = 0.5;

/** What a worker holds besides its weights, in bytes: Node, transformers.js, onnxruntime, activations (`notes/workers.md`). */
const WORKER_BYTES = 300 * 1024 * 1024;

/** The weights in memory over their size in files: onnxruntime packs many anew for its kernels; 1.8 was measured. */
const WEIGHTS_FACTOR = 2;

/** Chooses the bounds of the pool and the threads of a worker; what a person asked for is taken as it is. */
export function chooseWorkers(situation: WorkerSituation): WorkerPlan {
  const { workers, minWorkers, maxWorkers } = situation;
  const usual = usualWorkers(situation);
  const asked = workers ?? Math.max(minWorkers ?? 1, Math.min(usual.count, maxWorkers ?? Infinity));
  const least = minWorkers ?? asked;
  const most = Math.max(least, maxWorkers ?? asked);
  return {
    minWorkers: least,
    maxWorkers: most,
    threads: situation.threads ?? usualThreads(situation.cpus, most),
    why:
      workers !== undefined || (minWorkers ?? maxWorkers) !== undefined
        ? "as asked for"
        : usual.why,
  };
}

/** What one worker is expected to hold, in bytes. */
export function workerBytesFor(weightsBytes: number): number {
  return WORKER_BYTES + weightsBytes * WEIGHTS_FACTOR;
}

function usualWorkers(situation: WorkerSituation): { count: number; why: string } {
  const { cpus, memoryBytes, weightsBytes, threads = 1 } = situation;
  if (weightsBytes === undefined)
    return { count: 1, why: "as it is a handler of the repository's own" };
  const byCpus = Math.min(MOST_WORKERS, Math.max(1, Math.floor(cpus / threads)));
  const byMemory = Math.max(
    1,
    Math.floor((memoryBytes * MEMORY_SHARE) / workerBytesFor(weightsBytes)),
  );
  if (byMemory < byCpus) return { count: byMemory, why: "more would not fit the memory" };
  return { count: byCpus, why: `for ${toOneDigit(cpus)} CPUs` };
}

/**
 * A quota's fraction is left alone: a thread too many uses the quota up before its end, and all threads of an
 * inference stand still until the next period.
 */
function usualThreads(cpus: number, workers: number): number {
  // A lone worker leaves a CPU to the parent: threads wait for their slowest, spinning.
  const free = workers === 1 ? cpus - 1 : cpus / workers;
  return Math.max(1, Math.floor(free));
}

function toOneDigit(number: number): number {
  return Math.round(number * 10) / 10;
}
