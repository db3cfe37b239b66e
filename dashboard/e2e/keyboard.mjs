// The way of somebody who has no mouse, as a step; see steps.mjs.
import assert from 'node:assert/strict';
import { page, patience } from './browser.mjs';

/** What has the focus: its name, and what is wrong with how it is seen, or "". */
const focused = (p) =>
  p.evaluate(() => {
    const at = document.activeElement;
    if (!at || at === document.body) return { name: '', tag: '', wrong: '' };
    const name = (at.getAttribute('aria-label') ?? at.labels?.[0]?.textContent ?? at.textContent ?? '').replace(/\s+/g, ' ').trim();
    const style = getComputedStyle(at);
    const box = at.getBoundingClientRect();
    const around = at.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
    const marked = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
    return { name, tag: at.tagName, id: at.id, nav: at.closest('#nav') !== null, wrong: !around ? 'is nowhere to be seen' : marked ? '' : 'does not show that it has the focus' };
  });

/** Goes on by Tab until what has the focus has a name, and is a page's in the list of pages where that is said; each stop
 * on the way is to be seen. */
async function tabTo(p, name, { back = false, nav = false, most = 150 } = {}) {
  const way = [];
  for (let i = 0; i < most; i++) {
    await p.keyboard.press(back ? 'Shift+Tab' : 'Tab');
    const at = await focused(p);
    if (at.wrong) throw new Error(`at ${p.url()}: by Tab one comes to ${at.tag} "${at.name}", which ${at.wrong}`);
    if (name.test(at.name) && (at.nav || !nav)) return at;
    way.push(`${at.tag} "${at.name.slice(0, 40)}"`);
  }
  throw new Error(`at ${p.url()}: by Tab one does not come to ${name}, but to: ${way.slice(-40).join(', ')}`);
}

/** Waits until what has the focus has a name: it is given back in the turn after. */
async function back(p, name, what) {
  const end = Date.now() + patience;
  for (;;) {
    const at = await focused(p);
    if (name.test(at.name)) return;
    if (Date.now() > end) throw new Error(`${what}: the focus is at ${at.tag} "${at.name}", not back at ${name}`);
    await p.waitForTimeout(50);
  }
}

/** Whether the focus is in the page's content. */
const inMain = (p) => p.waitForFunction(() => document.activeElement?.closest('main'));

const exactly = (name) => new RegExp(`^${name.replaceAll('.', '\\.')}$`);

/** Logs in by a link; finds a board, leaves a dialog and a menu; bridges two boards at the topology; takes the bridge
 * away again. No step of it is by a pointer. */
export async function keyboard(lab, { link, board, other, name }) {
  const p = await page(lab.browser, link);
  lab.pages.set('keyboard', p);
  const press = (key) => p.keyboard.press(key);
  const heading = (text) => p.getByRole('heading', { level: 1 }).filter({ hasText: text }).waitFor();
  const open = p.locator('dialog[open]');
  const closed = () => p.locator('dialog').waitFor({ state: 'detached' });

  // The first stop leads over what is the same in every page.
  await tabTo(p, /^Skip to the content$/, { most: 1 });
  await press('Enter');
  assert.equal((await focused(p)).id, 'main');
  await press('Tab');
  await inMain(p);
  await tabTo(p, /^Boards$/, { back: true, nav: true });
  await press('Enter');
  await heading('Boards');
  await inMain(p);

  // Found by its name, and opened.
  await press('/');
  await p.keyboard.type(`name:${board}`);
  await p.getByRole('row').filter({ hasText: other }).first().waitFor({ state: 'detached' });
  await tabTo(p, exactly(`Actions of ${board}`));
  await press('Enter');
  await p.getByRole('menuitem').first().waitFor();
  await press('ArrowDown');
  assert.equal((await focused(p)).name, 'Terminal');
  await press('Escape');
  await p.getByRole('menu').waitFor({ state: 'detached' });
  await back(p, exactly(`Actions of ${board}`), 'Escape from a menu');
  await tabTo(p, exactly(board), { back: true });
  await press('Enter');
  await heading(board);
  await inMain(p);

  // A dialog is left by Escape, or by its button, to where one was.
  for (const leave of ['Escape', /^Cancel$/, /^Close$/]) {
    if (leave === 'Escape') await tabTo(p, /^Bridge…$/);
    await press('Enter');
    await open.waitFor();
    if (leave === 'Escape') await press('Escape');
    else {
      await tabTo(p, leave);
      await press('Enter');
    }
    await closed();
    await back(p, /^Bridge…$/, `out of a dialog by ${leave}`);
  }
  await tabTo(p, /^admin/, { back: true });
  await press('Enter');
  await p.locator('header details[open]').waitFor();
  await press('Escape');
  await p.locator('header details[open]').waitFor({ state: 'detached' });
  await back(p, /^admin/, 'out of what is shown of who one is');

  // Two boards are bridged where others drag.
  await tabTo(p, /^Topology$/, { nav: true });
  await press('Enter');
  await heading('Topology');
  await p.locator('.svelte-flow__node').filter({ hasText: board }).first().waitFor();
  await tabTo(p, new RegExp(`^(board )?${board}\\b`, 'i'));
  await press('b');
  await open.waitFor();
  const boards = open.getByRole('combobox', { name: 'Boards' });
  await boards.waitFor();
  await p.keyboard.type(other);
  await open.getByRole('option', { name: other }).waitFor();
  await press('Enter');
  await tabTo(p, /^Name of the bridge/);
  await p.keyboard.type(name);
  await press('Enter');
  await open.getByText(/^took/).waitFor();
  await tabTo(p, /^Done$/);
  await press('Enter');
  await closed();
  await inMain(p);

  // And it is taken away again, after a question.
  await tabTo(p, /^Networks$/, { back: true, nav: true });
  await press('Enter');
  await heading('Networks');
  await tabTo(p, exactly(name));
  await press('Enter');
  await heading(name);
  await tabTo(p, /^Delete…$/);
  await press('Enter');
  await open.waitFor();
  await press('Escape');
  await closed();
  await back(p, /^Delete…$/, 'Escape from a question');
  await press('Enter');
  await open.waitFor();
  await tabTo(p, /^Delete$/);
  await press('Enter');
  await closed();
  await p.getByRole('link', { name, exact: true }).waitFor({ state: 'detached' });
  await heading('Networks');
  assert.deepEqual(p.trouble, []);
  lab.pages.delete('keyboard');
  await p.context().close();
}
