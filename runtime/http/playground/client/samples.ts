/**
 * Example images and sounds, drawn and synthesized on the spot, so that the page need not carry any.
 */
import { toMediaFile, toWav, type MediaFile } from "./media.ts";

type Draw = (pen: CanvasRenderingContext2D) => void;

const WIDTH = 384;
const HEIGHT = 288;

export const IMAGES: Readonly<Record<string, Draw>> = {
  Shapes(pen) {
    pen.fillStyle = "#e8e4d8";
    pen.fillRect(0, 0, WIDTH, HEIGHT);
    pen.fillStyle = "#c4412f";
    pen.fillRect(40, 56, 110, 110);
    pen.fillStyle = "#2f6db5";
    circle(pen, 268, 96, 62);
    pen.fillStyle = "#2f8a57";
    polygon(pen, [
      [206, 252],
      [326, 252],
      [266, 168],
    ]);
    pen.fillStyle = "#e0a526";
    polygon(
      pen,
      Array.from({ length: 10 }, (_, tip) => {
        const [radius, angle] = [tip % 2 === 0 ? 48 : 20, (tip * Math.PI) / 5 - Math.PI / 2];
        return [100 + radius * Math.cos(angle), 224 + radius * Math.sin(angle)] as const;
      }),
    );
  },
  Landscape(pen) {
    const sky = pen.createLinearGradient(0, 0, 0, HEIGHT);
    sky.addColorStop(0, "#5b9bd5");
    sky.addColorStop(1, "#f6dcb4");
    pen.fillStyle = sky;
    pen.fillRect(0, 0, WIDTH, HEIGHT);
    pen.fillStyle = "#fff3c4";
    circle(pen, 300, 70, 30);
    pen.fillStyle = "#6d7f99";
    polygon(pen, [
      [-20, 220],
      [110, 70],
      [240, 220],
    ]);
    pen.fillStyle = "#52667f";
    polygon(pen, [
      [150, 220],
      [270, 110],
      [420, 220],
    ]);
    pen.fillStyle = "#5d8a4a";
    pen.fillRect(0, 205, WIDTH, HEIGHT - 205);
    pen.fillStyle = "#b5533c";
    pen.fillRect(70, 180, 76, 56);
    pen.fillStyle = "#6b3427";
    polygon(pen, [
      [60, 182],
      [108, 142],
      [156, 182],
    ]);
    pen.fillStyle = "#f4e3b2";
    pen.fillRect(84, 196, 18, 18);
    pen.fillRect(116, 202, 16, 34);
  },
  Invoice(pen) {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, WIDTH, HEIGHT);
    pen.fillStyle = "#1c2430";
    pen.font = "bold 24px sans-serif";
    pen.fillText("INVOICE 2041", 28, 48);
    pen.font = "16px sans-serif";
    const lines = ["Paper, 4 boxes", "36.00", "Ink, 2 bottles", "18.50", "Total", "54.50"];
    lines.forEach((line, index) => {
      const y = 100 + Math.floor(index / 2) * 44;
      pen.fillText(line, index % 2 === 0 ? 28 : 300, y);
      if (index % 2 === 0) pen.fillRect(28, y + 14, WIDTH - 56, 1);
    });
  },
};

function circle(pen: CanvasRenderingContext2D, x: number, y: number, radius: number): void {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fill();
}

function polygon(
  pen: CanvasRenderingContext2D,
  points: readonly (readonly [number, number])[],
): void {
  pen.beginPath();
  for (const [x, y] of points) pen.lineTo(x, y);
  pen.fill();
}

export async function makeImage(name: string): Promise<MediaFile> {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const pen = canvas.getContext("2d");
  if (pen === null) throw new Error("This browser cannot draw");
  IMAGES[name]?.(pen);
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob === null) throw new Error("This browser cannot write PNG files");
  return toMediaFile("image", blob, `${name.toLowerCase()}.png`);
}

/** What most models of sounds were trained with. */
const RATE = 16_000;
const SECONDS = 2;

type Play = (context: OfflineAudioContext) => void;

export const SOUNDS: Readonly<Record<string, Play>> = {
  Chord: (context) => [261.6, 329.6, 392].forEach((pitch) => tone(context, { pitch })),
  Siren: (context) => tone(context, { pitch: 500, wobble: 220 }),
  Knocking(context) {
    for (let at = 0.1; at < SECONDS; at += 0.4) tone(context, { pitch: 90, at, fade: 0.12 });
  },
};

function tone(
  context: OfflineAudioContext,
  sound: { pitch: number; wobble?: number; at?: number; fade?: number },
): void {
  const { pitch, wobble = 0, at = 0, fade = SECONDS } = sound;
  const [source, volume] = [context.createOscillator(), context.createGain()];
  source.frequency.value = pitch;
  if (wobble > 0) {
    const [slow, depth] = [context.createOscillator(), context.createGain()];
    slow.frequency.value = 1.5;
    depth.gain.value = wobble;
    slow.connect(depth).connect(source.frequency);
    slow.start();
  }
  volume.gain.setValueAtTime(0.25, at);
  volume.gain.exponentialRampToValueAtTime(0.001, at + fade);
  source.connect(volume).connect(context.destination);
  source.start(at);
  source.stop(at + fade);
}

export async function makeSound(name: string): Promise<MediaFile> {
  const context = new OfflineAudioContext(1, RATE * SECONDS, RATE);
  SOUNDS[name]?.(context);
  const sound = await context.startRendering();
  const blob = toWav(sound.getChannelData(0), RATE);
  return toMediaFile("audio", blob, `${name.toLowerCase()}.wav`);
}
