/**
 * Which version of a model answers a request that names none: by weight, and for requests of one key always the same.
 */

/** Version → its weight; those that are not named get nothing. */
export type Traffic = Readonly<Record<string, number>>;

/**
 * @param place A number in [0, 1) for a request of its own, or a key: equal keys choose the same version.
 * @returns `undefined` where all weights are zero.
 */
export function chooseVersion(traffic: Traffic, place: number | string): string | undefined {
  const entries = Object.entries(traffic).filter(([, weight]) => weight > 0);
  const total = entries.reduce((sum, [, weight]) => sum + weight, 0);
  let left = (typeof place === "number" ? place : fractionOf(place)) * total;
  for (const [version, weight] of entries) {
    left -= weight;
    if (left < 0) return version;
  }
  return entries.at(-1)?.[0];
}

/** FNV-1a in 32 bits, mixed once more (MurmurHash3's finalizer), as short keys differ in their last characters alone. */
function fractionOf(key: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(key)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
