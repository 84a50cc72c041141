/**
 * Makes the file system of the small image: Node, npm, and the shared libraries that Node and the packages load. No shell, no
 * package manager, nothing else of a distribution.
 *
 *     node scripts/image-root.mjs <new folder> <folder with node_modules>
 *
 * Which libraries are needed is told by `ldd`, so it runs in the image that Node comes from.
 */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

const [target, packages] = process.argv.slice(2).map((path) => resolve(path));
if (target === undefined || packages === undefined) {
  console.error("Usage: node scripts/image-root.mjs <new folder> <folder with node_modules>");
  process.exit(2);
}

const node = realpathSync(process.execPath);
copyTo(node, "/usr/local/bin/node");

// npm installs what a repository's requirements.json asks for; it is started with node, never by its link.
const npm = join(dirname(node), "..", "lib", "node_modules", "npm");
if (!existsSync(join(npm, "bin", "npm-cli.js"))) throw new Error(`Cannot find npm beside ${node}`);
cpSync(npm, join(target, "usr/local/lib/node_modules/npm"), {
  recursive: true,
  filter: (path) => !/\/(?:docs|man)$|\.md$/.test(path) || /licen[cs]e/i.test(basename(path)),
});

const natives = [node, ...nativesIn(join(packages, "node_modules"))];
// Names of hosts and users are looked up by libraries that nobody links to.
const lookups = ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"];
const libraries = new Set(natives.flatMap(librariesOf));
const system = dirname([...libraries].find((path) => /\/libc\.so/.test(path)) ?? "/lib/libc.so.6");
for (const name of lookups) if (existsSync(join(system, name))) libraries.add(join(system, name));
for (const library of libraries) {
  if (!library.startsWith(packages)) copyTo(library, library);
}

// `lib` and `lib64` are links below `usr` in Debian, and the loader's path is compiled into every program.
for (const name of ["lib", "lib64"]) {
  const link = join("/", name);
  if (existsSync(link) && realpathSync(link) !== link && !existsSync(join(target, name)))
    symlinkSync(readlinkSync(link), join(target, name));
}

write(
  "/etc/passwd",
  "root:x:0:0:root:/root:/sbin/nologin\nhubserve:x:1001:0:hubserve:/data:/sbin/nologin\n",
);
write("/etc/group", "root:x:0:\nhubserve:x:1001:\n");
write("/etc/nsswitch.conf", "hosts: files dns\n");
mkdirSync(join(target, "repository"));
mkdirSync(join(target, "tmp"));
chmodSync(join(target, "tmp"), 0o1777);
console.log(`Copied ${libraries.size} libraries for ${natives.length} programs and addons`);

/** Copies what a path leads to, under the name that others know it by. Links in between become folders. */
function copyTo(from, to) {
  const place = join(
    target,
    existsSync(dirname(to)) ? realpathSync(dirname(to)) : dirname(to),
    basename(to),
  );
  mkdirSync(dirname(place), { recursive: true });
  cpSync(realpathSync(from), place);
}

function write(path, text) {
  mkdirSync(dirname(join(target, path)), { recursive: true });
  writeFileSync(join(target, path), text);
}

/** Absolute paths of the libraries that a program or an addon is linked to, and of the loader. */
function librariesOf(file) {
  let listing = "";
  try {
    listing = execFileSync("ldd", [file], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch {
    return []; // linked to nothing, as esbuild is
  }
  return [...listing.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path]) => path);
}

function nativesIn(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.node$|\.so(?:\.\d+)*$/.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}
