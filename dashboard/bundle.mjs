// The bundle as it is committed: code is compressed there, as browsers are sent it.
//
//   node bundle.mjs write BUILD DIST     makes DIST of what Vite built
//   node bundle.mjs compare BUILD DIST   says where DIST is something else, and fails
//
// What has not changed keeps its bytes: versions of zlib write the same text in different ways.
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

const [act, build, dist] = process.argv.slice(2);
const files = async (dir) => (await readdir(dir, { recursive: true, withFileTypes: true })).filter((f) => f.isFile()).map((f) => relative(dir, join(f.parentPath, f.name)));
const packed = (name) => /^a\/.*\.(js|css)$/.test(name);
const committed = async (name) => {
  try {
    const b = await readFile(join(dist, name));
    return name.endsWith('.gz') ? gunzipSync(b) : b;
  } catch (e) {
    if (e.code === 'ENOENT' || e.code?.startsWith('Z_')) return null;
    throw e;
  }
};

const seen = new Set(['SOURCE']); // written by the test that reads it
const other = [];
for (const name of await files(build)) {
  const as = packed(name) ? name + '.gz' : name;
  seen.add(as);
  const is = await readFile(join(build, name));
  if ((await committed(as))?.equals(is)) continue;
  if (act === 'compare') {
    other.push(as);
    continue;
  }
  await mkdir(dirname(join(dist, as)), { recursive: true });
  await writeFile(join(dist, as), packed(name) ? gzipSync(is, { level: 9 }) : is);
}
for (const name of await files(dist)) {
  if (seen.has(name)) continue;
  if (act === 'compare') other.push(name);
  else await rm(join(dist, name));
}
if (other.length) {
  console.error('dashboard: of dashboard/dist these are not what the sources make: ' + other.join(', ') + '; run `make dashboard` and commit what it makes');
  process.exitCode = 1;
}
