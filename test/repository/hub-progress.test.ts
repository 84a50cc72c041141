import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createLog } from "../../runtime/observe/log.ts";
import {
  createProgressMeter,
  formatBytes,
  type HubProgress,
} from "../../runtime/repository/hub-progress.ts";

function createMeter(onProgress?: (progress: HubProgress) => void) {
  const lines: string[] = [];
  const clock = { ms: 0 };
  const meter = createProgressMeter({
    name: "owner/name",
    bytesTotal: 1000,
    filesTotal: 2,
    log: createLog({ write: (line) => lines.push(line.slice("hh:mm:ss ".length)) }),
    now: () => clock.ms,
    onProgress,
  });
  return { meter, lines, clock };
}

describe("createProgressMeter()", () => {
  test("logs the start and the end of a fast download, and nothing between", () => {
    const { meter, lines, clock } = createMeter();
    for (let part = 0; part < 10; part += 1) meter.addBytes(100);
    clock.ms = 2500;
    meter.finish();
    assert.deepEqual(lines, [
      'Downloading 2 files of "owner/name": 1.0 kB',
      'Downloaded 2 files of "owner/name": 1.0 kB in 2.5 s',
    ]);
  });

  test("logs a line once 10 s have passed and 10 % have come", () => {
    const { meter, lines, clock } = createMeter();
    clock.ms = 10_000;
    meter.addBytes(99);
    assert.equal(lines.length, 1);
    meter.addBytes(1);
    assert.equal(lines[1], 'Downloaded 10 % of 2 files of "owner/name": 100 B of 1.0 kB');
    clock.ms = 19_999;
    meter.addBytes(500);
    assert.equal(lines.length, 2);
    clock.ms = 20_000;
    meter.addBytes(1);
    assert.equal(lines.length, 3);
  });

  test("logs a line each minute however little comes", () => {
    const { meter, lines, clock } = createMeter();
    clock.ms = 60_000;
    meter.addBytes(1);
    assert.equal(lines.length, 2);
  });

  test("draws at once, at most every 100 ms, and at the end, and logs nothing", () => {
    const drawn: HubProgress[] = [];
    const { meter, lines, clock } = createMeter((progress) => drawn.push(progress));
    meter.addBytes(400);
    clock.ms = 100;
    meter.addBytes(100);
    meter.addFiles(1);
    meter.addBytes(-500);
    meter.addBytes(1000);
    meter.addFiles(1);
    meter.finish();
    const totals = { bytesTotal: 1000, filesTotal: 2 };
    assert.deepEqual(drawn, [
      { bytesDone: 0, filesDone: 0, ...totals },
      { bytesDone: 500, filesDone: 0, ...totals },
      { bytesDone: 1000, filesDone: 2, ...totals },
    ]);
    assert.deepEqual(lines, []);
  });
});

test("formatBytes() counts in decimal units", () => {
  const sizes = [0, 999, 1000, 999_949, 999_950, 23_100_000, 4_200_000_000, 5e15];
  assert.deepEqual(sizes.map(formatBytes), [
    "0 B",
    "999 B",
    "1.0 kB",
    "999.9 kB",
    "1.0 MB",
    "23.1 MB",
    "4.2 GB",
    "5000.0 TB",
  ]);
});
