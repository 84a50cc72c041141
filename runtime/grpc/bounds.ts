/**
 * What a message may hold besides its data, looked at before it is decoded.
 *
 * Two bytes on the wire can become an object of some hundred bytes, so a message that is within its size could still take all
 * of the server's memory. A tensor's contents stay bytes until datatype and shape are known (`contents.ts`); of everything else
 * there may be only so much.
 */
import protobuf from "protobufjs";

import { RuntimeError } from "../errors.ts";

/** Inputs, outputs, parameters and raw contents, and the fields of inputs and outputs, all together. */
const MOST_FIELDS = 10_000;

/** 64 axes, which no library has more of, at ten bytes for the largest number. */
const MOST_SHAPE_BYTES = 640;

/** Requests without data hold a name or two. */
export const MOST_BYTES_WITHOUT_DATA = 64 * 1024;

/** Field numbers of `ModelInferRequest` and, both the same, of its inputs. */
const [INPUTS, OUTPUTS, SHAPE] = [5, 6, 3];

const LENGTH_DELIMITED = 2;

/**
 * @param bytes A `ModelInferRequest`.
 * @throws RuntimeError `INVALID_INPUT`; `RangeError` where the bytes are no message.
 */
export function assertModest(bytes: Uint8Array): void {
  let count = 0;
  const walk = (reader: protobuf.Reader, end: number, isTensor: boolean): void => {
    while (reader.pos < end) {
      if (++count > MOST_FIELDS) {
        const found = `it has more than ${MOST_FIELDS} inputs, outputs, parameters and raw contents`;
        throw new RuntimeError("INVALID_INPUT", `Cannot read the message: ${found}`);
      }
      const tag = reader.uint32();
      const [field, wireType] = [tag >>> 3, tag & 7];
      const isNested = wireType === LENGTH_DELIMITED && !isTensor;
      if (isNested && (field === INPUTS || field === OUTPUTS)) {
        const length = reader.uint32();
        walk(reader, reader.pos + length, true);
      } else if (wireType === LENGTH_DELIMITED && isTensor && field === SHAPE) {
        const length = reader.uint32();
        if (length > MOST_SHAPE_BYTES)
          throw new RuntimeError(
            "INVALID_INPUT",
            "Cannot read the message: a shape has too many axes",
          );
        reader.skip(length);
      } else reader.skipType(wireType);
    }
  };
  const reader = protobuf.Reader.create(bytes);
  walk(reader, reader.len, false);
}
