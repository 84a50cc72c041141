/** Does nothing: what a request costs then is hubserve itself. */
import type { HandlerData } from "hubserve";

export class EndpointHandler {
  call({ inputs }: HandlerData): unknown {
    return { length: String(inputs).length };
  }
}
