/**
 * 64-bit integers of protocol buffers, read as two halves: an object for each, as the library has it, would take far more time
 * and memory than the numbers.
 *
 * Source: Protocol Buffers, "Encoding": seven bits a byte, the lowest first, the high bit set on all bytes but the last.
 */
import { endianness } from "node:os";

/** Where the low half of a 64-bit element lies. */
const LOW = endianness() === "LE" ? 0 : 1;

/**
 * Reads the varints of `bytes` from `start` up to `end` into `data`, from its element `at` on.
 *
 * @returns The element behind the last one.
 * @throws RangeError where the last one goes beyond `end`, or one is longer than 64 bits are.
 */
export function readLongVarints(
  bytes: Uint8Array,
  [start, end]: readonly [start: number, end: number],
  data: BigInt64Array | BigUint64Array,
  at: number,
): number {
  const halves = new Uint32Array(data.buffer, data.byteOffset, data.length * 2);
  let element = at;
  for (let place = start; place < end; element++) {
    let [low, high, shift] = [0, 0, 0];
    for (let isLast = false; !isLast; shift += 7) {
      if (place === end || shift > 63) throw new RangeError("A varint is cut off or too long");
      const byte = bytes[place++] ?? 0;
      const bits = byte & 0x7f;
      if (shift < 32) low |= bits << shift;
      if (shift === 28) high = bits >>> 4;
      else if (shift > 28) high |= bits << (shift - 32);
      isLast = byte < 0x80;
    }
    halves[2 * element + LOW] = low;
    halves[2 * element + 1 - LOW] = high;
  }
  return element;
}
