// What a test does with pages, a step each; the pages are known by names. See drive.mjs.
import { page, another, ask as askOf, settled, patience } from './browser.mjs';
import { judge, judgeLogin, scenes } from './axe.mjs';

export const of = (lab, step) => {
  const p = lab.pages.get(step.as);
  if (!p) throw new Error(`there is no page ${step.as}`);
  return p;
};
export const goto = async (p, path) => {
  await p.goto(p.base + path);
  await p.waitForSelector('main h1');
};

/** Opens a page, logged in by a link; or, with `like`, one more of another page's browser. */
export async function open(lab, { as, link, like, path = '' }) {
  if (like) {
    const p = await another(lab.pages.get(like).context());
    p.base = lab.pages.get(like).base;
    lab.pages.set(as, p);
    await goto(p, path);
    return;
  }
  const p = await page(lab.browser, link);
  lab.pages.set(as, p);
  if (/login=/.test(p.url())) throw new Error('the code stays in the URL: ' + p.url());
}

/** Opens a page and logs in as a person does. */
export async function login(lab, { as, url, user, password }) {
  const p = await page(lab.browser, '');
  lab.pages.set(as, p);
  p.base = url.replace(/\/*$/, '/');
  await p.goto(p.base);
  await p.getByLabel('User', { exact: true }).fill(user);
  await p.getByLabel('Password').fill(password);
  await p.getByRole('button', { name: 'Log in', exact: true }).click();
  await p.locator('nav').first().waitFor({ state: 'attached' });
  await p.waitForSelector('main h1');
}

export async function close(lab, { as }) {
  const p = of(lab, { as });
  lab.pages.delete(as);
  await p.context().close();
}

/** Goes to a view, and says what it shows. */
export async function text(lab, step) {
  const p = of(lab, step);
  await goto(p, step.path);
  await settled(p);
  return p.locator('body').innerText();
}

/** Asks the API by the page's session. */
export async function ask(lab, step) {
  return askOf(of(lab, step), step.method ?? 'GET', step.path, step.body);
}

/** Follows the page's instructions to add a board; the line that they end with is the answer. */
export async function addBoard(lab, step) {
  const p = of(lab, step);
  await goto(p, '');
  await p.getByRole('button', { name: 'Add a board', exact: true }).click();
  await p.getByLabel('Name', { exact: true }).fill(step.name);
  await p.getByRole('button', { name: 'Create', exact: true }).click();
  const line = p.locator('dialog pre').filter({ hasText: 'lightning-rod join' });
  return (await line.innerText()).trim();
}

/** Waits until the instructions say that the board has come, and goes on to it. */
export async function boardCame(lab, step) {
  const p = of(lab, step);
  await p.locator('dialog').getByText(`${step.name} is here`).waitFor();
  await p.getByRole('link', { name: 'Show it', exact: true }).click();
  await p.getByRole('heading', { name: step.name, level: 1 }).getByText('online').waitFor();
}

/** Waits until a board has a status in the list. */
export async function boardIs(lab, step) {
  const p = of(lab, step);
  await goto(p, 'boards');
  await p.getByRole('row').filter({ hasText: step.board }).getByText(step.status).waitFor();
}

/** Waits until nothing is shown over the map: what was done just before is, for some seconds. */
export const free = (p) => p.locator('.panel.steps').waitFor({ state: 'hidden', timeout: 15_000 }).catch(() => {});

/** Drags a board onto another thing on the map, to a dialog that says what it would do. */
export async function drop(p, from, onto, frame = async () => {}) {
  await goto(p, 'map');
  await free(p);
  const node = (name) => p.locator('.svelte-flow__node').filter({ hasText: name }).first();
  await node(from).waitFor();
  await settled(p);
  const middle = async (name) => {
    const box = await node(name).boundingBox();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const [x, y] = await middle(from);
  const [tx, ty] = await middle(onto);
  await frame(1000, [x + 60, y + 40]);
  await p.mouse.move(x, y);
  await frame(500, [x, y]);
  await p.mouse.down();
  const parts = 14;
  for (let i = 1; i <= parts; i++) {
    const at = [x + ((tx - x) * i) / parts, y + ((ty - y) * i) / parts];
    await p.mouse.move(...at);
    await p.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    await frame(i === parts ? 700 : 60, at);
  }
  await p.mouse.up();
  const dialog = p.getByRole('dialog');
  await dialog.waitFor();
  return dialog;
}

/** Bridges a board with another one, or adds it to a network, by drag. */
export async function drag(lab, step) {
  const p = of(lab, step);
  await p.setViewportSize({ width: 1280, height: 1200 }); // what was done last is shown over the map's end
  const dialog = await drop(p, step.from, step.onto);
  const boards = await dialog.locator('.chip').allInnerTexts();
  if (step.name) {
    const name = dialog.getByLabel(/^Name/);
    await name.fill(step.name);
    if ((await askOf(p, 'GET', `bridges/${step.name}`)).status !== 404) throw new Error('the bridge is made before anybody said so');
    await name.press('Enter');
  } else {
    await dialog.getByRole('button', { name: 'Add', exact: true }).click();
  }
  await dialog.getByText(/^took/).waitFor();
  await dialog.locator('.steps ol > li.done').nth(9).waitFor();
  const steps = await dialog.locator('.steps ol > li.done').allInnerTexts();
  const lanes = await dialog.locator('table.lanes tbody tr').allInnerTexts();
  await dialog.getByRole('button', { name: 'Done', exact: true }).click();
  return { boards, steps, lanes };
}

/** Switches a pin, and waits until the page has it from the board. */
export async function pin(lab, step) {
  const p = of(lab, step);
  await goto(p, `boards/${step.board}/pins`);
  const control = p.getByRole('switch', { name: new RegExp(step.pin) });
  await control.waitFor();
  const was = await control.getAttribute('aria-checked');
  await control.click();
  await p.locator(`[role=switch][aria-checked="${was === 'true' ? 'false' : 'true'}"]`).and(control).waitFor();
  return was !== 'true';
}

/** Runs a command by the form that its schema makes, and waits for a text of its result. */
export async function command(lab, step) {
  const p = of(lab, step);
  await goto(p, `boards/${step.board}/commands`);
  await p.getByRole('link', { name: step.command, exact: true }).click();
  for (const [name, value] of Object.entries(step.params)) await p.getByLabel(new RegExp('^' + name)).fill(value);
  await p.getByRole('button', { name: 'Run', exact: true }).click();
  await p.locator('main').getByText(step.want).first().waitFor();
}

/** Watches a board in the list; `seen` says when, in ms of Unix time, a frame showed it away. */
export async function watch(lab, step) {
  const p = of(lab, step);
  await goto(p, 'boards');
  await p.getByRole('row').filter({ hasText: step.board }).getByText('online').waitFor();
  const seen = p.evaluate(
    ([board, status]) =>
      new Promise((done) => {
        const look = () => {
          const row = [...document.querySelectorAll('[role=row]')].find((r) => r.textContent.includes(board));
          if (row && [...row.querySelectorAll('.status')].some((s) => s.textContent.includes(status))) done(Date.now());
          else requestAnimationFrame(look);
        };
        look();
      }),
    [step.board, step.status],
  );
  seen.catch(() => {});
  lab.waiting.set(step.as, seen);
}

export async function seen(lab, step) {
  return bounded(lab.waiting.get(step.as), 'what is watched for');
}

function bounded(promise, what) {
  let timer;
  return Promise.race([promise, new Promise((_, no) => (timer = setTimeout(() => no(new Error(`${what} does not come within ${patience / 1000} s`)), patience)))]).finally(() => clearTimeout(timer));
}

/** Goes through all pages; answers with where a word is that must not be there, and how many were looked at. */
export async function walk(lab, step) {
  const p = of(lab, step);
  const list = (await scenes(p)).filter((s) => !s.open);
  for (const path of step.also ?? []) list.push({ name: path, path });
  const found = [];
  for (const scene of list) {
    await p.goto(p.base + scene.path);
    await settled(p, 'main h1, main [role=alert]');
    const html = await p.content();
    for (const word of step.never) if (html.includes(word) && !scene.path.includes(word)) found.push(`${scene.path}: ${word}`);
    for (const word of step.never) if (scene.path.includes(word) && (await p.locator('main .status').count()) > 0) found.push(`${scene.path} shows something`);
  }
  return { pages: list.length, found };
}

/** Reads the stream of events by the page's session, until one is about `until`; `heard` says what came. */
export async function listen(lab, step) {
  const p = of(lab, step);
  const begun = p.evaluate(
    ([until]) =>
      new Promise((ready, no) => {
        const half = Object.entries(localStorage).find(([k]) => k.startsWith('s4t-session'))?.[1] ?? '';
        window.s4tHeard = (async () => {
          const res = await fetch(new URL('v1/events', document.baseURI), { headers: { 'X-S4T-Session': half, Accept: 'text/event-stream' } });
          if (!res.ok) throw new Error(`the stream answers ${res.status}`);
          ready();
          const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
          let all = '';
          while (!all.includes(until)) {
            const { value, done } = await reader.read();
            if (done) throw new Error('the stream ended');
            all += value;
          }
          await reader.cancel();
          return all;
        })();
        window.s4tHeard.catch(no);
      }),
    [step.until],
  );
  await bounded(begun, 'the stream of events');
}

export async function heard(lab, step) {
  return bounded(of(lab, step).evaluate(() => window.s4tHeard), 'the event');
}

/** Begins to add a board, and types its name. */
export async function type(lab, step) {
  const p = of(lab, step);
  await goto(p, 'boards');
  await p.getByRole('button', { name: /^Add (a|the first) board$/ }).first().click();
  await p.getByLabel('Name', { exact: true }).fill(step.name);
  await p.getByLabel(/^Labels/).fill(step.labels);
}

/** Sends what was typed when the session has ended: a dialog asks who one is, and then it goes on. */
export async function again(lab, step) {
  const p = of(lab, step);
  await p.getByRole('button', { name: 'Create', exact: true }).click();
  const asks = p.getByRole('dialog').filter({ hasText: 'Your session has ended' });
  await asks.waitFor();
  const kept = await p.getByLabel('Name', { exact: true }).inputValue();
  if (kept !== step.name) throw new Error(`the name that was typed is now "${kept}"`);
  if ((await asks.getByLabel('User', { exact: true }).inputValue()) !== step.user) await asks.getByLabel('User', { exact: true }).fill(step.user);
  await asks.getByLabel('Password').fill(step.password);
  await asks.getByRole('button', { name: 'Log in', exact: true }).click();
  await asks.waitFor({ state: 'detached' });
  await p.locator('dialog pre').filter({ hasText: 'lightning-rod join' }).waitFor();
}

/** Waits until the page says that the cloud cannot be reached. */
export async function away(lab, step) {
  const p = of(lab, step);
  await p.getByText('The cloud cannot be reached').first().waitFor();
  return p.locator('main').innerText();
}

/** Waits until it does not any more, and shows a board that came meanwhile. */
export async function back(lab, step) {
  const p = of(lab, step);
  await p.getByText('The cloud cannot be reached').first().waitFor({ state: 'detached' });
  if (step.board) await p.getByRole('row').filter({ hasText: step.board }).waitFor();
}

/** Has axe judge every page at each theme and width. */
export async function axe(lab, step) {
  const p = of(lab, step);
  const how = { shots: step.shots };
  return [...(await judgeLogin(lab.browser, p.base, how)), ...(await judge(p.context(), p.base, await scenes(p), how))];
}

/** Waits until a page shows a text. */
export async function shows(lab, step) {
  await of(lab, step).getByText(step.text).first().waitFor();
}

/** How much of its heap a page uses, in bytes, when all that is garbage has been collected. */
export async function heap(lab, step) {
  const p = of(lab, step);
  const cdp = await p.context().newCDPSession(p);
  for (let i = 0; i < 3; i++) {
    await cdp.send('HeapProfiler.collectGarbage');
    await p.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0))));
  }
  const { usedSize } = await cdp.send('Runtime.getHeapUsage');
  await cdp.detach();
  return usedSize;
}

/** What went wrong in pages, as the browser saw it; it is asked for at the end. */
export async function trouble(lab) {
  const all = [];
  for (const [name, p] of lab.pages) for (const t of p.trouble.splice(0)) all.push(`${name}: ${t}`);
  return all;
}
