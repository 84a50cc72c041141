/**
 * The workers: as many as wanted, each in a slot of its own.
 *
 * The pool takes batches and gives them to an idle worker. What a worker cannot settle, because it died, goes back to
 * the engine, which alone knows the queue.
 */
import type { RuntimeError } from "../errors.ts";
import type { Job } from "./job.ts";
import {
  createWorkerSlot,
  type DispatchOptions,
  type ReadyWorker,
  type SlotOptions,
  type WorkerInfo,
  type WorkerSlot,
} from "./worker-slot.ts";

export interface PoolOptions extends Omit<
  SlotOptions,
  "id" | "onReady" | "onStartFailed" | "onGone" | "hasBeenReady"
> {
  /** Workers at the start. */
  readonly size: number;
  /** The number of the first; they are counted up from there. */
  readonly firstId?: number | undefined;
}

export interface Pool {
  readonly workers: readonly WorkerInfo[];
  readonly readyCount: number;
  /** Workers that load the model, those that are started again included. */
  readonly startingCount: number;
  /** Whether a worker stands idle. */
  readonly hasIdle: boolean;
  /** Whether a worker holds nothing at all. */
  readonly hasEmpty: boolean;
  /** Whether a worker may be given work: one is idle, or some may be sent ahead. */
  readonly hasRoom: boolean;
  /** Starts the workers; settles with the first that is ready, or rejects when none can be. */
  start(): Promise<ReadyWorker>;
  /** Gives a batch to an idle worker, else to one that has room; there must be one. */
  dispatch(batch: readonly Job[], options: DispatchOptions): void;
  /** Tells the job's worker that nobody waits for it any more. */
  cancel(job: Job, reason: "deadline" | "client"): void;
  /** Starts or retires workers until there are that many; one that works finishes first. */
  resize(size: number): void;
  /** Ends all workers, busy ones too. */
  stop(): Promise<void>;
}

/** Where TorchServe begins to count its workers: what reads its describe answers and metrics knows numbers like it. */
const FIRST_ID = 9000;

export function createPool({ size, firstId = FIRST_ID, ...options }: PoolOptions): Pool {
  const slots = new Set<WorkerSlot>();
  let lastId = firstId - 1;
  let isStopping = false;
  let hasBeenReady = false;
  let firstStart: { resolve: (ready: ReadyWorker) => void; reject: (error: RuntimeError) => void };

  function addSlot(): void {
    const slot = createWorkerSlot({
      ...options,
      id: ++lastId,
      hasBeenReady: () => hasBeenReady,
      onReady(ready) {
        hasBeenReady = true;
        firstStart.resolve(ready);
      },
      onStartFailed: giveUp,
      onGivenUp(error) {
        // One that cannot be started must not take those along that answer.
        if (count("ready") === 0) return giveUp(error);
        slots.delete(slot);
        options.log.error(error.message);
      },
      onGone: () => void slots.delete(slot),
    });
    slots.add(slot);
  }

  function giveUp(error: RuntimeError): void {
    if (isStopping) return;
    isStopping = true;
    firstStart.reject(error);
    options.onGivenUp(error);
    for (const slot of slots) slot.kill();
  }

  function count(state: WorkerSlot["state"]): number {
    return [...slots].filter((slot) => slot.state === state).length;
  }

  return {
    get workers() {
      return [...slots].map(({ info }) => info);
    },
    get readyCount() {
      return count("ready");
    },
    get startingCount() {
      return count("starting");
    },
    get hasIdle() {
      for (const slot of slots) if (slot.isIdle) return true;
      return false;
    },
    get hasEmpty() {
      for (const slot of slots) if (slot.isIdle && slot.heldCount === 0) return true;
      return false;
    },
    start() {
      return new Promise((resolve, reject) => {
        firstStart = { resolve, reject };
        for (let i = 0; i < size; i++) addSlot();
      });
    },
    get hasRoom() {
      for (const slot of slots) if (slot.hasRoom) return true;
      return false;
    },
    dispatch(batch, dispatchOptions) {
      let chosen: WorkerSlot | undefined;
      for (const slot of slots) {
        if (slot.hasRoom && (chosen === undefined || slot.heldCount < chosen.heldCount))
          chosen = slot;
      }
      if (chosen === undefined) throw new TypeError("dispatch() needs a worker with room");
      chosen.dispatch(batch, dispatchOptions);
    },
    cancel(job, reason) {
      for (const slot of slots) if (slot.holds(job)) slot.cancel(job, reason);
    },
    resize(wanted) {
      if (isStopping) return;
      // A worker that still loads is let go first, then one that is idle.
      const live = [...slots]
        .filter(({ state }) => state === "starting" || state === "ready")
        .sort(
          (a, b) =>
            Number(a.state === "ready") - Number(b.state === "ready") || a.heldCount - b.heldCount,
        );
      for (let i = live.length; i < wanted; i++) addSlot();
      for (const slot of live.slice(0, Math.max(0, live.length - wanted))) slot.retire();
    },
    async stop() {
      isStopping = true;
      await Promise.all([...slots].map(async (slot) => slot.stop()));
    },
  };
}
