// What the tests of the dashboard share: Debian's Chromium, a session, and axe.
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const executable = process.env.S4T_CHROMIUM ?? '/usr/bin/chromium';

/** A browser; args are added to its own. The cloud's CA is not in its store: who tests certificates does so elsewhere. */
export async function browser(args = []) {
  return chromium.launch({ executablePath: executable, args: ['--no-sandbox', '--disable-dev-shm-usage', ...args] });
}

/** A page that is logged in at a cloud by a link of `s4t dashboard --print`. What goes wrong in it is told. */
export async function page(b, link, options = {}) {
  const context = await b.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 800 }, ...options });
  const p = await context.newPage();
  p.trouble = [];
  p.on('pageerror', (e) => p.trouble.push('error: ' + e.message));
  p.on('console', (m) => {
    if (m.type() === 'error' && !/status of 40[13]/.test(m.text())) p.trouble.push('console: ' + m.text());
  });
  if (link) {
    await p.goto(link);
    await p.waitForSelector('main h1');
  }
  return p;
}

const axeSource = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The violations that axe finds, one line each. */
export async function axe(p) {
  await p.context().addInitScript({ content: axeSource });
  const found = await p.evaluate(async ([source]) => {
    if (!window.axe) {
      const policy = window.trustedTypes?.createPolicy ? null : null;
      void policy;
      new Function(source)();
    }
    const r = await window.axe.run(document, { resultTypes: ['violations'] });
    return r.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(' ')}: ${n.failureSummary?.split('\n')[1]?.trim() ?? ''}`));
  }, [axeSource]);
  return found;
}
