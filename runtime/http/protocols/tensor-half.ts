/**
 * Half floats as numbers: IEEE 754 binary16 has 1 bit of sign, 5 of exponent, 10 of fraction. JavaScript has them from Node 24 on.
 */

/** @param bits From 0 to 65535. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}
