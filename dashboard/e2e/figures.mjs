// What pages cost, as steps; see steps.mjs. Times are of this machine, and worth something on a quiet one.
import { another, browser, settled } from './browser.mjs';
import { drop, of } from './steps.mjs';

const sorted = (list) => list.toSorted((a, b) => a - b);
const median = (list) => sorted(list)[Math.floor(list.length / 2)];
const p95 = (list) => sorted(list)[Math.min(list.length - 1, Math.floor(list.length * 0.95))];

/** How long until a page answers to its user, in ms: for who was never there, the second time, and the third, when
 * the browser has kept the code compiled too; and of a page that says nothing, which is what the browser takes by
 * itself. The processor is slowed down, and the way to the cloud is one of 10 Mbit/s and 40 ms. A browser keeps
 * nothing of who has no certificate that it trusts: step.key is this one's. */
export async function loads(lab, step) {
  const answers = { first: [], again: [], later: [], empty: [] };
  const b = await browser(['--ignore-certificate-errors-spki-list=' + step.key]);
  try {
    for (let i = 0; i < 5; i++) {
      const context = await b.newContext({ viewport: { width: 1280, height: 800 } });
      await context.addInitScript(() => localStorage.setItem('s4t-session:/', 'half'));
      await settled(await another(context), 'body'); // what a browser does as it starts is not the page's
      for (const kind of Object.keys(answers)) {
        const p = await another(context);
        const cdp = await context.newCDPSession(p);
        await cdp.send('Network.enable');
        await cdp.send('Network.emulateNetworkConditions', { offline: false, latency: 40, downloadThroughput: 10e6 / 8, uploadThroughput: 10e6 / 8 });
        await cdp.send('Emulation.setCPUThrottlingRate', { rate: 4 });
        const bare = kind === 'empty' ? 'empty' : '';
        await p.goto(step.url + '/' + bare, { waitUntil: 'commit' });
        answers[kind].push(
          await p.evaluate(
            (bare) =>
              new Promise((done) => {
                const look = () => {
                  if (bare || (document.querySelector('main h1') && document.querySelector('nav a'))) setTimeout(() => done(performance.now())); // the frame is drawn, and what waited is done
                  else requestAnimationFrame(look);
                };
                look();
              }),
            bare,
          ),
        );
        await settled(p, 'body');
        await p.close();
      }
      await context.close();
    }
  } finally {
    await b.close();
  }
  return { first: median(answers.first), again: median(answers.again), later: median(answers.later), empty: median(answers.empty) };
}

/** The table of boards: how long until it is there, ms; until a search is shown, ms; frames of scrolling
 * beside those of an empty page; and how many rows are in the document. */
export async function table(lab, step) {
  const p = of(lab, step);
  const begun = Date.now();
  await p.goto(p.base + 'boards');
  await p.waitForFunction((rows) => document.querySelector(`[role=table][aria-rowcount="${rows + 1}"] [role=row]:nth-child(2)`), step.rows, { polling: 'raf' });
  const usable = Date.now() - begun;
  await settled(p);
  const filter = await p.evaluate(async (words) => {
    const input = document.querySelector('main input[type=search]');
    const count = () => document.querySelector('[role=table]')?.getAttribute('aria-rowcount');
    const took = [];
    const type = (text) =>
      new Promise((done) => {
        const was = count();
        const begun = performance.now();
        input.value = text;
        input.dispatchEvent(new InputEvent('input', { bubbles: true }));
        const look = () => (count() !== was ? done(performance.now() - begun) : requestAnimationFrame(look));
        requestAnimationFrame(look);
      });
    for (const w of words) {
      took.push(await type(w));
      await type('');
    }
    return took;
  }, step.words);
  const rows = await p.locator('[role=table] [role=row]').count();
  const scroll = (p) =>
    p.evaluate(
      () =>
        new Promise((done) => {
          const frames = [];
          let before = 0;
          const next = (now) => {
            if (before) frames.push(now - before);
            before = now;
            scrollBy(0, 240);
            if (frames.length < 240) requestAnimationFrame(next);
            else done(frames);
          };
          requestAnimationFrame(next);
        }),
    );
  const full = await scroll(p);
  const bare = await another(p.context());
  await bare.setContent('<main style="height: 400000px"></main>');
  const empty = await scroll(bare);
  await bare.close();
  return { usable, filter: median(filter), rows, frame: p95(full), empty: p95(empty) };
}

/** Bridges two boards by drag; answers with how long each step took from the conductor's clock to a frame. */
export async function pixels(lab, step) {
  const p = of(lab, step);
  await p.setViewportSize({ width: 1280, height: 1200 });
  const dialog = await drop(p, step.from, step.onto);
  const seen = p.evaluate(
    () =>
      new Promise((done) => {
        const at = {};
        const look = () => {
          for (const li of document.querySelectorAll('dialog .steps ol > li.done')) at[li.querySelector('.n').textContent] ??= Date.now();
          if (at[10]) done(at);
          else requestAnimationFrame(look);
        };
        look();
      }),
  );
  await dialog.getByLabel(/^Name/).press('Enter');
  const at = await seen;
  await dialog.getByRole('button', { name: 'Done', exact: true }).click();
  return at;
}

