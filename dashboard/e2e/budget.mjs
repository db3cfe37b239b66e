// Says what of a bundle a browser loads first, and fails where that is more than was promised:
//
//   node budget.mjs DIR
import { readFile, readdir } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { dirname, join, normalize } from 'node:path';

const budget = { js: 110_000, css: 15_000 }; // bytes, gzip
/** What loads when it is used; a word of each is in no other code. */
const lazy = { 'the terminal': 'xterm-viewport', 'the topology': 'svelte-flow__viewport', 'the charts': 'u-over', 'SSH': 'ssh-userauth' };

const dir = process.argv[2] ?? 'dist';
const page = await readFile(join(dir, 'index.html'), 'utf8');
const queue = [...page.matchAll(/(?:src|href)="([^"]+\.(?:js|css))"/g)].map((m) => normalize(m[1]));
const first = new Map();
while (queue.length) {
  const name = queue.pop();
  if (first.has(name)) continue;
  const text = await readFile(join(dir, name), 'utf8');
  first.set(name, text);
  if (!name.endsWith('.js')) continue;
  for (const m of text.matchAll(/(?:\bimport|\bfrom)\s*["'](\.[^"']+)["']/g)) queue.push(normalize(join(dirname(name), m[1])));
}

const sums = { js: 0, css: 0 };
const rows = [...first].map(([name, text]) => ({ name, size: gzipSync(text, { level: 9 }).length }));
for (const { name, size } of rows) sums[name.endsWith('.css') ? 'css' : 'js'] += size;
for (const { name, size } of rows.sort((a, b) => b.size - a.size)) console.log(`${(size / 1000).toFixed(1).padStart(7)} kB  ${name}`);

let failed = false;
for (const [kind, most] of Object.entries(budget)) {
  const over = sums[kind] > most;
  failed ||= over;
  console.log(`${(sums[kind] / 1000).toFixed(1).padStart(7)} kB  of ${most / 1000} kB of ${kind.toUpperCase()} of the first load${over ? '  OVER' : ''}`);
}
const all = (await readdir(join(dir, 'a'))).filter((n) => n.endsWith('.js')).map((n) => join('a', n));
for (const [what, word] of Object.entries(lazy)) {
  const holders = [];
  for (const name of all) if ((await readFile(join(dir, name), 'utf8')).includes(word)) holders.push(name);
  const early = holders.filter((n) => first.has(n));
  if (early.length) {
    failed = true;
    console.log(`${what} is loaded at once: "${word}" is in ${early.join(', ')}`);
  } else if (!holders.length) {
    failed = true;
    console.log(`${what} is not found by "${word}": say another word in budget.mjs`);
  }
}
process.exitCode = failed ? 1 : 0;
