/**
 * Steps over a protobuf message in a file, of which it holds a few kilobytes at a time.
 *
 * Weights are most of a model file; they are jumped over, so a file of two gigabytes costs about as much as one of two
 * megabytes with as many nodes.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/** Large enough for a node and its attributes, small enough that a jump costs little. */
const WINDOW_BYTES = 16 * 1024;

/** Far more than any model has; a file of nothing but empty fields must not keep a start busy for minutes. */
const MOST_FIELDS = 20_000_000;

/** Names and paths; what is longer is cut off, as nobody would want to read it. */
const LONGEST_TEXT_BYTES = 4096;

/** How a field's value is stored. */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

export interface Field {
  readonly number: number;
  readonly wire: number;
}

export class WireReader implements Disposable {
  readonly size: number;
  /** Where the next byte is read. */
  position = 0;
  readonly #file: number;
  readonly #window = Buffer.allocUnsafe(WINDOW_BYTES);
  #start = 0;
  #end = 0;
  #fields = 0;

  /** @throws Error where it is no file, or cannot be read. */
  constructor(path: string) {
    this.#file = openSync(path, "r");
    const stats = fstatSync(this.#file);
    this.size = stats.size;
    if (stats.isFile()) return;
    closeSync(this.#file);
    throw new RangeError("it is no file");
  }

  /** The next field of a message; its value comes next. */
  field(end: number): Field {
    if (++this.#fields > MOST_FIELDS)
      throw new RangeError(`it has more than ${MOST_FIELDS} fields`);
    const tag = this.varint(end);
    return { number: Math.floor(tag / 8), wire: tag % 8 };
  }

  /** A number; one above 2^53 comes out rounded. */
  varint(end: number): number {
    let value = 0;
    for (let scale = 1; scale < 2 ** 70; scale *= 128) {
      const byte = this.#byte(end);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    throw new RangeError("a number of it is longer than any");
  }

  /** Where the message, text or list of bytes ends whose length comes next. */
  endOfBytes(end: number): number {
    const length = this.varint(end);
    if (this.position + length > end) throw new RangeError("a length reaches beyond its message");
    return this.position + length;
  }

  /** The bytes up to `end` as text. */
  text(end: number): string {
    const length = Math.min(end - this.position, LONGEST_TEXT_BYTES);
    const bytes = Buffer.alloc(length);
    for (let i = 0; i < length; i++) bytes[i] = this.#byte(end);
    this.position = end;
    return bytes.toString("utf8");
  }

  skip(wire: number, end: number): void {
    switch (wire) {
      case WIRE.varint:
        this.varint(end);
        break;
      case WIRE.fixed64:
        this.position += 8;
        break;
      case WIRE.bytes:
        this.position = this.endOfBytes(end);
        break;
      case WIRE.fixed32:
        this.position += 4;
        break;
      default:
        throw new RangeError("a field of it has a kind that there is not");
    }
    if (this.position > end) throw new RangeError("a field reaches beyond its message");
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }

  #byte(end: number): number {
    if (this.position >= end) throw new RangeError("it ends in the middle of a field");
    if (this.position < this.#start || this.position >= this.#end) {
      this.#start = this.position;
      this.#end = this.#start + readSync(this.#file, this.#window, 0, WINDOW_BYTES, this.#start);
    }
    const byte = this.#window[this.position - this.#start];
    if (byte === undefined || this.position >= this.#end) throw new RangeError("it was cut off");
    this.position++;
    return byte;
  }
}
