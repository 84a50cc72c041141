/**
 * Zip and tar files byte by byte, so that a test can write what no archiver would.
 */
import { crc32, deflateRawSync, gzipSync } from "node:zlib";

export interface RawEntry {
  readonly name: string | Buffer;
  readonly content?: string | Buffer;
  /** Unix's mode with the file type; zip only. */
  readonly mode?: number;
  readonly isDeflated?: boolean;
  /** 1: encrypted. Zip only. */
  readonly flags?: number;
  readonly method?: number;
  /** What the headers say where that is not true. */
  readonly crc?: number;
  readonly size?: number;
  /** `"0"` file, `"1"` hard link, `"2"` symbolic link, `"3"` device, `"5"` folder, `"6"` pipe. Tar only. */
  readonly type?: string;
  readonly linkName?: string;
}

/** UTF-8 names, bit 11. */
const UTF8 = 0x800;

/** PKWARE's APPNOTE 6.3: local headers with data, the central directory, its end. */
export function rawZip(entries: readonly RawEntry[]): Buffer {
  const locals: Buffer[] = [];
  const listing: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name as string);
    const plain = Buffer.from((entry.content ?? "") as string);
    const data = entry.isDeflated ? deflateRawSync(plain) : plain;
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(UTF8 | (entry.flags ?? 0), 2);
    fields.writeUInt16LE(entry.method ?? (entry.isDeflated ? 8 : 0), 4);
    fields.writeUInt16LE(0x21, 8); // 1 January 1980
    fields.writeUInt32LE(entry.crc ?? crc32(plain), 10);
    fields.writeUInt32LE(data.length, 14);
    fields.writeUInt32LE(entry.size ?? plain.length, 18);
    fields.writeUInt16LE(name.length, 22);
    const local = Buffer.concat([Buffer.from("PK\u0003\u0004"), fields, name, data]);
    const central = Buffer.alloc(46);
    central.write("PK\u0001\u0002");
    central.writeUInt16LE((3 << 8) | 20, 4); // made on Unix
    fields.copy(central, 6);
    central.writeUInt32LE(((entry.mode ?? 0o100_644) << 16) >>> 0, 38);
    central.writeUInt32LE(offset, 42);
    locals.push(local);
    listing.push(central, name);
    offset += local.length;
  }
  const directory = Buffer.concat(listing);
  const end = Buffer.alloc(22);
  end.write("PK\u0005\u0006");
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, directory, end]);
}

/** POSIX's ustar: a header of 512 bytes, the data in blocks of 512, two empty blocks. */
export function rawTar(entries: readonly RawEntry[]): Buffer {
  const blocks = entries.flatMap((entry) => {
    const content = Buffer.from((entry.content ?? "") as string);
    const header = Buffer.alloc(512);
    header.write(String(entry.name), 0, 100);
    header.write("0000644\0", 100);
    header.write("0000000\0", 108);
    header.write("0000000\0", 116);
    header.write(`${(entry.size ?? content.length).toString(8).padStart(11, "0")}\0`, 124);
    header.write("00000000000\0", 136);
    header.write("        ", 148);
    header.write(entry.type ?? "0", 156);
    header.write(entry.linkName ?? "", 157, 100);
    header.write("ustar\u000000", 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    const padding = Buffer.alloc((512 - (content.length % 512)) % 512);
    return [header, content, padding];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

export function rawTgz(entries: readonly RawEntry[]): Buffer {
  return gzipSync(rawTar(entries));
}
