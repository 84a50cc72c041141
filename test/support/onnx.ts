/**
 * Small changes to an ONNX file, for models that nobody exports small enough.
 *
 * A file is one protobuf message (onnx.proto3: `ModelProto.graph` is field 7; of `GraphProto`, `node` is 1,
 * `initializer` 5, `output` 12). Fields are taken over as they are, so nothing of the original need be understood.
 */

/** A copy whose only output is one column of the original's two-dimensional output, as `[B, 1]`. */
export function keepColumn(
  file: Uint8Array,
  output: string,
  column: number,
  name: string,
): Uint8Array {
  const [graph = new Uint8Array()] = fieldsOf(file)
    .filter(({ field }) => field === 7)
    .map(({ content }) => content);
  const kept = fieldsOf(graph).filter(({ field }) => field !== 12);
  const index = message([varint(1, 1), varint(2, 7), varint(7, column), text(8, "column")]); // int64 of shape [1]
  const axis = message([text(1, "axis"), varint(3, 1), varint(20, 2)]); // an attribute of type INT
  const node = message([
    text(1, output),
    text(1, "column"),
    text(2, name),
    text(4, "Gather"),
    bytes(5, axis),
  ]);
  const batch = message([text(2, "batch_size")]);
  const shape = message([bytes(1, batch), bytes(1, message([varint(1, 1)]))]);
  const tensor = message([varint(1, 1), bytes(2, shape)]); // float32
  const value = message([text(1, name), bytes(2, message([bytes(1, tensor)]))]);
  const changed = message([
    ...kept.map(({ raw }) => raw),
    bytes(5, index),
    bytes(1, node),
    bytes(12, value),
  ]);
  const others = fieldsOf(file).filter(({ field }) => field !== 7);
  return message([...others.map(({ raw }) => raw), bytes(7, changed)]);
}

interface Field {
  readonly field: number;
  /** Key, length and content. */
  readonly raw: Uint8Array;
  readonly content: Uint8Array;
}

function fieldsOf(source: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = source[at++] ?? 0;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < source.length) {
    const start = at;
    const key = readVarint();
    const wire = key & 7;
    if (wire === 0) readVarint();
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    const length = wire === 2 ? readVarint() : 0;
    const content = source.subarray(at, at + length);
    at += length;
    fields.push({ field: key >> 3, raw: source.subarray(start, at), content });
  }
  return fields;
}

function message(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

function number(value: number): number[] {
  const out: number[] = [];
  for (let left = value; ; left = Math.floor(left / 128)) {
    if (left < 128) return [...out, left];
    out.push((left % 128) + 128);
  }
}

function varint(field: number, value: number): Uint8Array {
  return Uint8Array.from([...number(field * 8), ...number(value)]);
}

function bytes(field: number, content: Uint8Array): Uint8Array {
  return message([Uint8Array.from([...number(field * 8 + 2), ...number(content.length)]), content]);
}

function text(field: number, content: string): Uint8Array {
  return bytes(field, Buffer.from(content));
}
