/**
 * Decoders of images and sounds: what a client sends as a file.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { decodeAudio } from "../../runtime/handler/media/audio.ts";
import { decodeImage } from "../../runtime/handler/media/image.ts";
import { readerTarget } from "./readers.ts";
import type { Target } from "./target.ts";

const FIXTURES = fileURLToPath(new URL("../fixtures/", import.meta.url));

function filesOf(folder: string, pattern: RegExp): readonly Buffer[] {
  return readdirSync(join(FIXTURES, folder))
    .filter((name) => pattern.test(name))
    .sort()
    .map((name) => readFileSync(join(FIXTURES, folder, name)));
}

const IMAGE_WORDS = [
  "PNG\r\n\n",
  "IHDR",
  "IDAT",
  "IEND",
  "PLTE",
  "tRNS",
  "acTL",
  "iCCP",
  "RIFF",
  "WEBP",
  "VP8 ",
  "VP8L",
  "VP8X",
  "ANIM",
  "BM",
  "GIF89a",
  "II*\0",
  "MM\0*",
  "ftypavif",
  "Exif\0\0",
  "<svg>",
  "ÿØÿ",
  "ÿÀ",
  "ÿÚ",
  "ÿÿ",
  "",
].map((word) => Buffer.from(word, "latin1"));

const SOUND_WORDS = [
  "RIFF",
  "WAVE",
  "fmt ",
  "data",
  "LIST",
  "fLaC",
  "OggS",
  "OpusHead",
  "OpusTags",
  "vorbis",
  "vorbis",
  "vorbis",
  "FLAC",
  "Eß£",
  "T®k",
  "C¶u",
  "ID3",
  "ÿûd",
  "TAG",
  "ÿÿÿÿÿÿÿ",
].map((word) => Buffer.from(word, "latin1"));

const options = { action: "look", name: "inputs" };

export const MEDIA_TARGETS: readonly Target[] = [
  readerTarget({
    name: "images",
    seeds: () => filesOf("images", /\.(?!json$)\w+$/).filter(({ length }) => length < 200_000),
    words: IMAGE_WORDS,
    async read(bytes) {
      const { width, height } = await decodeImage({ bytes, contentType: "image/png" }, options);
      if (!(width > 0 && height > 0)) throw new RangeError(`an image of ${width} × ${height}`);
    },
    refuses: ["INVALID_INPUT"],
  }),
  readerTarget({
    name: "sounds",
    seeds: () =>
      [...filesOf("audio", /^(?!silence)/), ...filesOf("models/_expected/audio", /\.wav$/)].filter(
        ({ length }) => length < 200_000,
      ),
    words: SOUND_WORDS,
    async read(bytes) {
      const samples = await decodeAudio({ bytes }, { ...options, sampleRate: 16_000 });
      if (samples.length === 0) throw new RangeError("no samples");
    },
    refuses: ["INVALID_INPUT"],
  }),
];
