/** Streams as fast as it can. The first event has the time of its making, on the machine's clock in milliseconds. */
import type { HandlerData } from "hubserve";

export class EndpointHandler {
  async *call({ inputs }: HandlerData): AsyncGenerator {
    const { count = 100 } = inputs as { count?: number };
    yield { at: performance.timeOrigin + performance.now() };
    for (let i = 1; i < count; i++) yield { token: { id: i, text: "word" } };
  }
}
