/**
 * The shortest loop that writes with onnxruntime: what comes out as `present` goes in as `past`.
 *
 * One text at a time, the likeliest token, nothing around it: no text server on this library can be faster with one client.
 */
import { Tensor, type InferenceSession } from "onnxruntime-node";

export interface DecodingLoop {
  /** Writes `count` tokens. @param onToken Told each as it comes; says whether to go on. */
  write(
    prompt: readonly number[],
    count: number,
    onToken?: (id: number) => boolean,
  ): Promise<number[]>;
  /** The scores `[V]` after each of some texts, read at once; the shorter are padded on the left. */
  scores(texts: readonly (readonly number[])[]): Promise<Float32Array[]>;
}

export function createDecodingLoop(session: InferenceSession): DecodingLoop {
  const pasts = session.inputMetadata.flatMap((input) => {
    if (!input.name.startsWith("past_key_values") || !input.isTensor) return [];
    const [, heads = 0, , size = 0] = input.shape;
    return [
      {
        past: input.name,
        present: input.name.replace("past_key_values", "present"),
        /** Of an empty cache. */
        dims: (B: number) => [B, Number(heads), 0, Number(size)],
      },
    ];
  });

  const empty = (B: number): Record<string, Tensor> =>
    Object.fromEntries(
      pasts.map(({ past, dims }) => [past, new Tensor("float32", new Float32Array(0), dims(B))]),
    );

  return {
    async write(prompt, count, onToken) {
      const written: number[] = [];
      let cache = empty(1);
      let unread = prompt;
      let length = 0;
      while (written.length < count) {
        const N = unread.length;
        const outputs = await session.run({
          ...cache,
          input_ids: new Tensor("int64", BigInt64Array.from(unread, BigInt), [1, N]),
          attention_mask: new Tensor("int64", new BigInt64Array(length + N).fill(1n), [
            1,
            length + N,
          ]),
          position_ids: new Tensor(
            "int64",
            BigInt64Array.from(unread, (_, place) => BigInt(length + place)),
            [1, N],
          ),
        });
        length += N;
        const id = likeliest(lastOf(outputs["logits"], 0));
        written.push(id);
        if (onToken?.(id) === false) break;
        unread = [id];
        cache = Object.fromEntries(
          pasts.flatMap(({ past, present }) => {
            const tensor = outputs[present];
            return tensor === undefined ? [] : [[past, tensor]];
          }),
        );
      }
      return written;
    },

    async scores(texts) {
      const B = texts.length;
      const N = Math.max(...texts.map((text) => text.length));
      const padded = (pick: (id: number, place: number) => number): Tensor => {
        const values = texts.flatMap((text) => [
          ...Array.from({ length: N - text.length }, () => 0n),
          ...text.map((id, place) => BigInt(pick(id, place))),
        ]);
        return new Tensor("int64", BigInt64Array.from(values), [B, N]);
      };
      const { logits } = await session.run({
        ...empty(B),
        input_ids: padded((id) => id),
        attention_mask: padded(() => 1),
        position_ids: padded((_, place) => place),
      });
      return texts.map((_, row) => lastOf(logits, row));
    },
  };
}

/** The scores after a row's last token. */
function lastOf(logits: Tensor | undefined, row: number): Float32Array {
  if (!(logits?.data instanceof Float32Array))
    throw new Error(`Cannot read the scores: "logits" is ${logits?.type ?? "missing"}`);
  const [, N = 0, V = 0] = logits.dims;
  const end = (row + 1) * N * V;
  return logits.data.subarray(end - V, end);
}

function likeliest(scores: Float32Array): number {
  let best = 0;
  for (let id = 1; id < scores.length; id++) if ((scores[id] ?? 0) > (scores[best] ?? 0)) best = id;
  return best;
}
