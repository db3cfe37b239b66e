// A browser that a Go test drives (e2e/dashboard_test.go): node drive.mjs ARTIFACTS
//
// A line of standard input is a step, {"do":"open", ...}; its answer is a line of standard output,
// {"value": ...} or {"error": "..."}. What a failed step's pages looked like is in ARTIFACTS.
import { createInterface } from 'node:readline';
import { browser } from './browser.mjs';
import * as steps from './steps.mjs';
import * as keyboard from './keyboard.mjs';
import * as bookings from './bookings.mjs';
import * as recording from './recording.mjs';
import * as pictures from './pictures.mjs';
import * as figures from './figures.mjs';

const artifacts = process.argv[2] ?? '.';
const b = await browser();
const lab = { browser: b, pages: new Map(), waiting: new Map(), artifacts };

const does = { ...steps, ...keyboard, ...bookings, ...recording, ...pictures, ...figures };
const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');

async function run(step) {
  const f = does[step.do];
  if (!f) return { error: `there is no step ${step.do}` };
  try {
    return { value: (await f(lab, step)) ?? null };
  } catch (e) {
    const seen = [];
    for (const [name, p] of lab.pages) {
      const file = `${artifacts}/${step.do}-${name}.png`;
      await p.screenshot({ path: file, timeout: 10_000 }).then(() => seen.push(`${name} is at ${p.url()}, see ${file}`), () => {});
      for (const t of p.trouble) seen.push(`${name}: ${t}`);
    }
    return { error: [`${step.do}: ${e.message}`, ...seen].join('\n') };
  }
}

say({ value: 'ready' });
for await (const line of createInterface({ input: process.stdin })) say(await run(JSON.parse(line)));
await b.close();
