/** Sleeps, and notes when its signal fires; asked for a report it tells the times, on the machine's clock. */
import type { CallContext, HandlerData } from "hubserve";

const abortedAtMs: number[] = [];

export class EndpointHandler {
  async call({ inputs }: HandlerData, { signal }: CallContext): Promise<unknown> {
    if (inputs === "report") return abortedAtMs.splice(0);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 60_000);
      signal.addEventListener("abort", () => {
        abortedAtMs.push(performance.timeOrigin + performance.now());
        clearTimeout(timer);
        resolve(undefined);
      });
    });
    return "left";
  }
}
