/**
 * Images and sounds that the visitor brings, records, or lets the page make.
 */

/** A file with what the page needs of it. */
export interface MediaFile {
  readonly kind: "image" | "audio";
  readonly name: string;
  readonly blob: Blob;
  /** For `<img>` and `<audio>`; good until the file is replaced. */
  readonly url: string;
  readonly base64: string;
}

export async function toMediaFile(
  kind: MediaFile["kind"],
  blob: Blob,
  name: string,
): Promise<MediaFile> {
  const dataUrl = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => {
      if (typeof reader.result === "string") resolve(reader.result);
    });
    reader.addEventListener("error", () => reject(new Error(`Cannot read ${name}`)));
    reader.readAsDataURL(blob);
  });
  const base64 = dataUrl.slice(dataUrl.indexOf(",") + 1);
  return { kind, name, blob, url: URL.createObjectURL(blob), base64 };
}

/** One channel as a WAV file of 16 bits. */
export function toWav(samples: Float32Array, rate: number): Blob {
  const bytes = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const text = (at: number, word: string): void => {
    for (let index = 0; index < word.length; index++)
      bytes.setUint8(at + index, word.charCodeAt(index));
  };
  text(0, "RIFF");
  bytes.setUint32(4, 36 + samples.length * 2, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true); // the size of what follows
  bytes.setUint16(20, 1, true); // whole numbers
  bytes.setUint16(22, 1, true); // channels
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, rate * 2, true);
  bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true);
  text(36, "data");
  bytes.setUint32(40, samples.length * 2, true);
  samples.forEach((sample, index) =>
    bytes.setInt16(44 + index * 2, Math.max(-1, Math.min(1, sample)) * 0x7fff, true),
  );
  return new Blob([bytes.buffer], { type: "audio/wav" });
}

export interface Recording {
  /** Ends it. @returns What was heard, as WAV, whatever the browser records in. */
  stop(): Promise<Blob>;
}

/** Absent where the page may not listen: browsers allow it on `localhost` and over HTTPS only. */
export const canRecord = "mediaDevices" in navigator && "MediaRecorder" in globalThis;

/** @throws Error where the visitor says no, or there is no microphone. */
export async function record(): Promise<Recording> {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const parts: Blob[] = [];
  recorder.ondataavailable = ({ data }) => void parts.push(data);
  recorder.start();
  return {
    async stop() {
      await new Promise<void>((resolve) => {
        recorder.onstop = () => resolve();
        recorder.stop();
      });
      for (const track of stream.getTracks()) track.stop();
      const context = new AudioContext();
      const sound = await context.decodeAudioData(await new Blob(parts).arrayBuffer());
      await context.close();
      return toWav(sound.getChannelData(0), sound.sampleRate);
    },
  };
}
