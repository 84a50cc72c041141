/**
 * Values that are files by nature: blobs, and the images and sounds of transformers.js.
 *
 * They are told by their members, as a handler may use its own copy of the library.
 */

/** An image of transformers.js. Its own `toBlob` works in browsers only. */
interface ImageLike {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: ArrayBufferView;
  toSharp(): { png(): { toBuffer(): Promise<Uint8Array> } };
}

/** A sound of transformers.js; its blob is a WAV file. */
interface AudioLike {
  readonly sampling_rate: number;
  toBlob(): Blob;
}

export type FileLike = Blob | ImageLike | AudioLike;

export function isFile(value: object): value is FileLike {
  return value instanceof Blob || isImage(value) || isAudio(value);
}

function isImage(value: object): value is ImageLike {
  return (
    "channels" in value &&
    "width" in value &&
    "toSharp" in value &&
    typeof value.toSharp === "function"
  );
}

function isAudio(value: object): value is AudioLike {
  return "sampling_rate" in value && "toBlob" in value && typeof value.toBlob === "function";
}

/** The file's bytes with their type. @throws What the image library throws. */
export async function encode(file: FileLike): Promise<Blob> {
  if (file instanceof Blob) return file;
  if (isAudio(file)) return file.toBlob();
  const png = await file.toSharp().png().toBuffer();
  return new Blob([png as BlobPart], { type: "image/png" });
}
