/**
 * Writes what the image is made of, as CycloneDX: `npm sbom` of the production packages, without its random number and its
 * date, so that the same packages give the same file.
 *
 *     node scripts/sbom.mjs <file>
 *
 * Names what is installed in the current folder, so it runs after `prune-runtime.mjs`.
 * npm's own `--omit=dev` leaves out what development and production share (npm 11.19), so the development packages are taken
 * out of a copy of the lock first.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [file] = process.argv.slice(2);
if (file === undefined) {
  console.error("Usage: node scripts/sbom.mjs <file>");
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), "hubserve-sbom-"));
try {
  const about = JSON.parse(readFileSync("package.json", "utf8"));
  const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
  for (const { devDependencies } of [about, lock.packages[""]])
    for (const name of Object.keys(devDependencies)) delete devDependencies[name];
  for (const [place, { dev }] of Object.entries(lock.packages))
    if (dev === true) delete lock.packages[place];
  const installed = new Set(
    Object.entries(lock.packages)
      .filter(([place]) => place !== "" && existsSync(join(place, "package.json")))
      .map(
        ([place, { name, version }]) => `${name ?? place.split("node_modules/").at(-1)}@${version}`,
      ),
  );
  writeFileSync(join(folder, "package.json"), JSON.stringify(about));
  writeFileSync(join(folder, "package-lock.json"), JSON.stringify(lock));
  const text = execFileSync("npm", ["sbom", "--package-lock-only", "--sbom-format=cyclonedx"], {
    cwd: folder,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  const { serialNumber: _, ...bill } = JSON.parse(text);
  delete bill.metadata.timestamp;
  bill.metadata.component.name = about.name; // npm takes the folder's
  // The lock has every platform's packages, and pruning took some more.
  const gone = new Set(
    bill.components
      .filter((one) => !installed.has(`${one.name}@${one.version}`))
      .map((one) => one["bom-ref"]),
  );
  bill.components = bill.components.filter((one) => !gone.has(one["bom-ref"]));
  bill.dependencies = bill.dependencies
    .filter(({ ref }) => !gone.has(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((one) => !gone.has(one)) }));
  writeFileSync(file, `${JSON.stringify(bill, undefined, 2)}\n`);
  console.log(`${bill.components.length} packages in ${file}`);
} finally {
  rmSync(folder, { recursive: true });
}
