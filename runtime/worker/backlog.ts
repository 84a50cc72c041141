/**
 * Work that has come and has not begun: the parent sends a little ahead, so that this process need not wait for the
 * next message between two pieces of work.
 *
 * Work begins in the order in which it came. The parent counts on that: when this process dies, it knows which work
 * was under way and which had not been touched.
 */

export interface Backlog {
  /** Begins the work now, or once enough of what came before is done. @param work Must not reject. */
  add(work: () => Promise<void>): void;
}

/** @param concurrency How many pieces of work may be under way at once; asked each time. */
export function createBacklog(concurrency: () => number): Backlog {
  const waiting: (() => Promise<void>)[] = [];
  let underWay = 0;

  function begin(): void {
    while (underWay < concurrency()) {
      const work = waiting.shift();
      if (work === undefined) return;
      underWay++;
      void work().finally(() => {
        underWay--;
        begin();
      });
    }
  }
  return {
    add(work) {
      waiting.push(work);
      begin();
    },
  };
}
