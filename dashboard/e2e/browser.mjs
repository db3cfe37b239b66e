// What the tests of the dashboard share: Debian's Chromium, a session, and the ways to wait.
import { chromium } from 'playwright-core';

const executable = process.env.S4T_CHROMIUM ?? '/usr/bin/chromium';

/** How long anything that must happen may take, in ms: machines are busy with other tests. */
export const patience = 60_000;

/** A browser; args are added to its own. */
export async function browser(args = []) {
  return chromium.launch({ executablePath: executable, args: ['--no-sandbox', '--disable-dev-shm-usage', ...args] });
}

/** A page in a context of its own; a link of `s4t dashboard --print` logs it in. The cloud's CA is
 * not in the browser's store: who tests certificates does so elsewhere. What goes wrong in the page is
 * in its list `trouble`. */
export async function page(b, link, options = {}) {
  const context = await b.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce', ...options });
  context.setDefaultTimeout(patience);
  const p = await another(context);
  if (link) {
    await p.goto(link);
    await p.waitForSelector('main h1');
    p.base = new URL(await p.evaluate(() => document.baseURI)).href;
  }
  return p;
}

/** Another page of a context. */
export async function another(context) {
  const p = await context.newPage();
  p.trouble = [];
  p.on('pageerror', (e) => p.trouble.push('error: ' + e.message));
  p.on('console', (m) => {
    // A refusal, and a cloud that is away, are answers that the page shows; the browser tells them too.
    if (m.type() === 'error' && !/Failed to load resource/.test(m.text())) p.trouble.push('console: ' + m.text());
  });
  return p;
}

/** Waits until a page shows something, and has been the same for a while: what it reads has come and is drawn. A page
 * with live values is never the same; it is as good after five seconds. */
export async function settled(p, first = 'main h1', quiet = 300) {
  await p.waitForSelector(first);
  await p.evaluate(
    (quiet) =>
      new Promise((done) => {
        const begun = performance.now();
        let last = begun;
        const o = new MutationObserver(() => (last = performance.now()));
        o.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
        const timer = setInterval(() => {
          const now = performance.now();
          if (now - begun < 5000 && (now - last < quiet || document.querySelector('[aria-busy=true]'))) return;
          clearInterval(timer);
          o.disconnect();
          done();
        }, 50);
      }),
    quiet,
  );
}

/** Asks the API as the page does, with its session: { status, body }. */
export async function ask(p, method, path, body) {
  return p.evaluate(
    async ([method, path, body]) => {
      const half = Object.entries(localStorage).find(([k]) => k.startsWith('s4t-session'))?.[1] ?? '';
      const headers = { 'X-S4T-Session': half };
      if (body !== undefined) headers['Content-Type'] = 'application/json';
      const res = await fetch(new URL('v1/' + path, document.baseURI), { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
      const text = await res.text();
      let parsed = text;
      try {
        parsed = text ? JSON.parse(text) : undefined;
      } catch {
        // it is text
      }
      return { status: res.status, body: parsed };
    },
    [method, path, body],
  );
}
