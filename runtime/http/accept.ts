/**
 * What a client takes: its `Accept` header, weighed against what there is to offer (RFC 9110, section 12.5.1).
 */
import { essenceOf, isJsonType } from "./content-type.ts";

/** One of the header's media ranges. */
interface Range {
  readonly type: string;
  /** From 0, not at all, to 1. */
  readonly weight: number;
}

/** Other names of the same thing. */
const SAME: Readonly<Record<string, string>> = {
  "audio/x-wav": "audio/wav",
  "audio/wave": "audio/wav",
  "audio/vnd.wave": "audio/wav",
  "image/jpg": "image/jpeg",
};

/**
 * The offer that the client likes best; of equally liked ones the first.
 *
 * @param offers Media types, the server's own favourite first.
 * @returns The first offer where the header is absent or makes no sense; `undefined` where none is acceptable.
 */
export function chooseOffer(
  accept: string | undefined,
  offers: readonly string[],
): string | undefined {
  const ranges = readRanges(accept ?? "");
  if (ranges.length === 0) return offers[0];
  let best: string | undefined;
  let most = 0;
  for (const offer of offers) {
    const weight = weigh(offer, ranges);
    if (weight > most) [best, most] = [offer, weight];
  }
  return best;
}

/** Whether `Accept` asks for server-sent events by name. */
export function wantsEvents(accept: string | undefined): boolean {
  return readRanges(accept ?? "").some(
    ({ type, weight }) => type === "text/event-stream" && weight > 0,
  );
}

/** The most specific range that matches decides, whatever a wider one says. */
function weigh(offer: string, ranges: readonly Range[]): number {
  const type = canonical(offer);
  const wide = `${type.slice(0, type.indexOf("/"))}/*`;
  for (const name of [type, wide, "*/*"]) {
    const weights = ranges.filter((range) => range.type === name).map(({ weight }) => weight);
    if (weights.length > 0) return Math.max(...weights);
  }
  return 0;
}

function readRanges(accept: string): readonly Range[] {
  return accept.split(",").flatMap((text): readonly Range[] => {
    const type = canonical(text);
    if (!/^(?:\*\/\*|[^\s/*]+\/(?:\*|[^\s/*]+))$/.test(type)) return [];
    const weight = /;\s*q=([01](?:\.\d{0,3})?)\s*(?:;|$)/i.exec(text)?.[1];
    return [{ type, weight: Math.min(1, Number(weight ?? 1)) }];
  });
}

function canonical(type: string): string {
  const essence = essenceOf(type);
  return isJsonType(essence) ? "application/json" : (SAME[essence] ?? essence);
}
