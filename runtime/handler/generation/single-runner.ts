/**
 * Runs graphs of every other kind, one sequence after the other: without a cache, with states of recurrent layers, with
 * caches in an order of their own. transformers.js knows how to feed them (`../model/decoder.ts`).
 */
import { openCausalDecoder, type CausalDecoder, type Network } from "../model/decoder.ts";
import type { CacheRow } from "./cache-block.ts";
import type { Runner } from "./runner.ts";

/** What a token is taken to need where nobody says: two layers' worth of a small model. */
const GUESSED_BYTES = 16 * 1024;

export function createSingleRunner(network: Network, padId: number): Runner {
  const decoders = new WeakMap<CacheRow, CausalDecoder>();

  function decoderOf(row: CacheRow): CausalDecoder {
    let decoder = decoders.get(row);
    if (decoder === undefined) decoders.set(row, (decoder = openCausalDecoder(network, padId)));
    return decoder;
  }

  async function advance(row: CacheRow, ids: readonly number[]): Promise<Float32Array> {
    const { data } = await decoderOf(row).step([ids]);
    row.length += ids.length;
    return data;
  }

  return {
    bytesPerToken: GUESSED_BYTES,
    readsParts: false,
    mostScored: Infinity,
    open: () => ({ block: undefined, index: 0, length: 0 }),
    async read(row, ids, wanted) {
      if (wanted !== "all") {
        const data = await advance(row, ids);
        return { data, columns: 1, size: data.length };
      }
      // A prompt is never read in parts, so these are all that the row has.
      const { data, dims } = await decoderOf(row).score(ids);
      row.length += ids.length;
      const [, columns = 1, size = 0] = dims;
      return { data, columns, size };
    },
    together: () => 1,
    readTogether: (rows, prompts) =>
      inTurn(rows, (row, index) => advance(row, prompts[index] ?? [])),
    step: (rows, ids) => inTurn(rows, (row, index) => advance(row, ids.slice(index, index + 1))),
    park: () => undefined, // its cache lies apart already
    release(row) {
      decoders.delete(row);
      row.length = 0;
    },
  };
}

async function inTurn<T>(
  rows: readonly CacheRow[],
  run: (row: CacheRow, index: number) => Promise<T>,
): Promise<T[]> {
  const results: T[] = [];
  for (const [index, row] of rows.entries()) results.push(await run(row, index));
  return results;
}
