/**
 * A worker process without a process: the test plays the child. It sees what the parent sends and answers by hand.
 */
import { ONE_BY_ONE, type Batching, type ModelDescription } from "../../runtime/inference.ts";
import type { ToWorker } from "../../runtime/messages.ts";
import type { Loaded, WorkerProcess, WorkMessage } from "../../runtime/engine/process.ts";
import type { RuntimeError } from "../../runtime/errors.ts";

export interface FakeWorker {
  readonly process: WorkerProcess;
  readonly sent: ToWorker[];
  readonly wasKilled: () => boolean;
  ready(batching?: Batching): Promise<void>;
  fails(error: RuntimeError): Promise<void>;
  says(message: WorkMessage): void;
  dies(reason?: string): Promise<void>;
  /** The numbers of all jobs it was given. */
  jobIds(): number[];
}

export const DESCRIPTION: ModelDescription = {
  handler: "custom",
  handlerFile: "handler.ts",
  notes: [],
};

/** A `startWorker` that makes fakes, and the fakes it has made. */
export function fakeWorkers(): {
  start: (onMessage: (message: WorkMessage) => void) => WorkerProcess;
  workers: FakeWorker[];
} {
  const workers: FakeWorker[] = [];
  return {
    workers,
    start: (onMessage) => (workers.push(createFakeWorker(onMessage)), workers.at(-1)!.process),
  };
}

function createFakeWorker(onMessage: (message: WorkMessage) => void): FakeWorker {
  const ready = withResolvers<Loaded>();
  const exited = withResolvers<string>();
  const sent: ToWorker[] = [];
  let wasKilled = false;
  ready.promise.catch(() => undefined);
  return {
    sent,
    wasKilled: () => wasKilled,
    process: {
      pid: 1,
      ready: ready.promise,
      exited: exited.promise,
      send: (message) => void sent.push(message),
      async stop() {
        exited.resolve("code 0");
      },
      kill() {
        wasKilled = true;
        exited.resolve("signal SIGKILL");
      },
    },
    async ready(batching = ONE_BY_ONE) {
      ready.resolve({ description: DESCRIPTION, batching, parts: { process: 1 } });
      await settle();
    },
    async fails(error) {
      ready.reject(error);
      exited.resolve("code 1");
      await settle();
    },
    says: onMessage,
    async dies(reason = "signal SIGSEGV") {
      exited.resolve(reason);
      await settle();
    },
    jobIds: () =>
      sent.flatMap((message) =>
        message.type === "predict" ? message.jobs.map(({ jobId }) => jobId) : [],
      ),
  };
}

/** Lets promise callbacks run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** `Promise.withResolvers` is not in Node 20. */
function withResolvers<T>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: Error) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
