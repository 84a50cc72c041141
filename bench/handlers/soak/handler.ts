/** Does what the soak asks for, and keeps nothing: what grows is hubserve's. */
import { setTimeout as sleep } from "node:timers/promises";
import { RuntimeError, type CallContext, type HandlerData } from "hubserve";

interface SoakJob {
  readonly do: "answer" | "throw" | "refuse" | "sleep" | "stream" | "endless" | "large";
}

export class EndpointHandler {
  async call(data: HandlerData, { signal, log }: CallContext): Promise<unknown> {
    const job = data.inputs as SoakJob;
    switch (job.do) {
      case "answer":
        return { label: "joy", score: 0.97 };
      case "throw":
        throw new Error("exploded");
      case "refuse":
        throw new RuntimeError("INVALID_INPUT", 'Cannot do it: "count" must be positive');
      case "sleep":
        log.debug("asleep");
        await sleep(20, undefined, { signal });
        return "slept";
      case "stream":
        return ticks(signal, 20);
      case "endless":
        return ticks(signal, Infinity);
      case "large":
        return new Float32Array(50_000).fill(0.125);
    }
  }
}

async function* ticks(signal: AbortSignal, count: number): AsyncGenerator<string> {
  for (let i = 0; i < count && !signal.aborted; i++) {
    yield "tick";
    if (i % 10 === 9) await sleep(1);
  }
}
