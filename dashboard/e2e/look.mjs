// Writes screenshots of pages: node look.mjs LINK DIR [PATH...], each at every theme and width.
import { mkdir } from 'node:fs/promises';
import { browser, page } from './browser.mjs';

const [link, dir, ...paths] = process.argv.slice(2);
await mkdir(dir, { recursive: true });
const b = await browser();
const p = await page(b, link, { bypassCSP: false });
const base = new URL('/', link).href;
const sizes = (process.env.SIZES ?? '1280,360').split(',').map(Number);
const themes = (process.env.THEMES ?? 'light,dark').split(',');
for (const path of paths.length ? paths : ['', 'boards']) {
  for (const width of sizes) {
    for (const theme of themes) {
      await p.setViewportSize({ width, height: 800 });
      await p.emulateMedia({ colorScheme: theme });
      await p.goto(base + path);
      await p.waitForSelector('main h1');
      await p.waitForTimeout(700); // for eyes only: what moves has come
      await p.screenshot({ path: `${dir}/${(path || 'now').replaceAll('/', '-').replaceAll(/[?=&:]/g, '_')}-${width}-${theme}.png` });
    }
  }
}
for (const t of p.trouble) console.log(t);
await b.close();
