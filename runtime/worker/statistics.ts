/**
 * What a model that generates has done, told to the parent now and then: often enough for a scrape, seldom enough not to be felt.
 */
import type { GenerationStatistics } from "../generation.ts";
import { send } from "./channel.ts";

/** The parent hears at most this often. */
const INTERVAL_MS = 250;

export interface StatisticsReport {
  /** Work has come: tells of it until nothing changes any more. */
  begin(): void;
}

/** @param take What there is since the last time; `undefined` where nothing has changed. */
export function createStatisticsReport(
  take: () => GenerationStatistics | undefined,
): StatisticsReport {
  let timer: NodeJS.Timeout | undefined;

  function tell(): void {
    const generation = take();
    if (generation !== undefined) send({ type: "statistics", generation });
    else if (timer !== undefined) {
      clearInterval(timer);
      timer = undefined;
    }
  }
  return {
    begin() {
      if (timer !== undefined) return;
      timer = setInterval(tell, INTERVAL_MS);
      timer.unref();
    },
  };
}
