// What is lent, by a calendar, as steps; see steps.mjs.
import { goto, of } from './steps.mjs';
import { settled } from './browser.mjs';

const day = 24 * 60 * 60 * 1000;

/** When the first of these steps was: a night may begin between two of them. */
const begun = Date.now();

/** The calendar of a day, as many days from now as is said. */
async function calendar(p, days) {
  const at = await p.evaluate((at) => {
    const d = new Date(at);
    return [d.getFullYear(), d.getMonth() + 1, d.getDate()].map((n) => String(n).padStart(2, '0')).join('-');
  }, begun + days * day);
  await goto(p, `bookings?view=day&at=${at}`);
  await p.getByRole('grid', { name: 'Calendar of boards' }).waitFor();
  await settled(p);
}

const row = (p, board) => p.getByRole('row').filter({ has: p.getByText(board, { exact: true }) });
/** Where an hour of the day is in the row of a board. */
async function spot(p, board, hour) {
  const box = await row(p, board).getByRole('gridcell').boundingBox();
  return [box.x + (box.width * hour) / 24, box.y + box.height / 2];
}

/** Drags by the pointer, with steps between that are drawn. */
async function drags(p, from, to) {
  await p.mouse.move(...from);
  await p.mouse.down();
  for (let i = 1; i <= 8; i++) {
    await p.mouse.move(from[0] + ((to[0] - from[0]) * i) / 8, from[1] + ((to[1] - from[1]) * i) / 8);
    await p.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  }
  await p.mouse.up();
}

const closed = (p) => p.locator('dialog').waitFor({ state: 'detached' });
const bar = (p, board, name) => row(p, board).getByRole('button', { name: new RegExp(`^${board}: ${name}\\b`) });

/** Books the boards from one row to another by a drag over them, from an hour until another; what the dialog says. */
export async function book(lab, { as, days = 1, from, to, begin, end, name }) {
  const p = of(lab, { as });
  await calendar(p, days);
  await drags(p, await spot(p, from, begin), await spot(p, to, end));
  const dialog = p.getByRole('dialog', { name: 'Book boards' });
  await dialog.waitFor();
  const said = { boards: await dialog.locator('.chip').allInnerTexts(), from: await dialog.getByLabel('From', { exact: true }).inputValue(), until: await dialog.getByLabel('Until', { exact: true }).inputValue() };
  await dialog.getByLabel(/^Name/).fill(name);
  await dialog.getByRole('button', { name: 'Book', exact: true }).click();
  await closed(p);
  await bar(p, from, name).waitFor();
  await bar(p, to, name).waitFor();
  return said;
}

/** Wants what is taken: the page says so, and from when on it is free; that is taken then. */
export async function instead(lab, { as, days = 1, board, begin, end, name }) {
  const p = of(lab, { as });
  await calendar(p, days);
  const taken = row(p, board).locator('.busy');
  await taken.waitFor();
  const tells = (await taken.innerText()) + (await row(p, board).getByRole('button').allInnerTexts());
  await drags(p, await spot(p, board, begin), await spot(p, board, end));
  const dialog = p.getByRole('dialog', { name: 'Book boards' });
  await dialog.getByText('is taken').waitFor();
  await dialog.getByLabel(/^Name/).fill(name);
  await dialog.getByRole('button', { name: 'Book', exact: true }).click();
  await dialog.getByRole('button', { name: /^Take .* instead$/ }).click();
  await dialog.getByRole('button', { name: 'Book', exact: true }).click();
  await closed(p);
  await bar(p, board, name).waitFor();
  return tells;
}

/** Drags the end of a lease to an hour, and agrees. */
export async function extend(lab, { as, board, name, end }) {
  const p = of(lab, { as });
  await calendar(p, 1);
  const box = await bar(p, board, name).boundingBox();
  await drags(p, [box.x + box.width - 4, box.y + box.height / 2], await spot(p, board, end));
  const dialog = p.getByRole('dialog', { name: `Extend ${name}` });
  const until = await dialog.getByLabel('New end').inputValue();
  await dialog.getByRole('button', { name: 'Extend', exact: true }).click();
  await closed(p);
  return until;
}

/** Books a board by the keyboard alone: arrows choose it and the time, Enter books; and gives it back. */
export async function bookByKeys(lab, { as, rows, name }) {
  const p = of(lab, { as });
  await calendar(p, 2);
  const grid = p.getByRole('grid', { name: 'Calendar of boards' });
  await grid.focus();
  for (let i = 0; i < rows; i++) await p.keyboard.press('ArrowDown');
  for (let i = 0; i < 8; i++) await p.keyboard.press('ArrowRight'); // quarters of an hour
  for (let i = 0; i < 4; i++) await p.keyboard.press('Shift+ArrowRight');
  const said = await p.getByRole('gridcell', { name: /, free$/ }).getAttribute('aria-label');
  await p.keyboard.press('Enter');
  const dialog = p.getByRole('dialog', { name: 'Book boards' });
  await dialog.getByLabel(/^Name/).focus();
  await p.keyboard.type(name);
  await p.keyboard.press('Enter');
  await closed(p);
  const made = grid.getByRole('button', { name: new RegExp(`: ${name}\\b`) });
  await made.focus();
  await p.keyboard.press('Enter');
  const lease = p.getByRole('dialog', { name: 'Lease' });
  await lease.getByRole('button', { name: 'Release…' }).focus();
  await p.keyboard.press('Enter');
  const sure = p.getByRole('dialog', { name: `Release ${name}` });
  await sure.getByRole('button', { name: 'Release', exact: true }).focus();
  await p.keyboard.press('Enter');
  await closed(p);
  await made.waitFor({ state: 'detached' });
  return said;
}

/** Offers boards by the form, and waits until the offer is shown. */
export async function offer(lab, { as, name, label, to }) {
  const p = of(lab, { as });
  await goto(p, 'bookings/offers');
  await p.getByLabel('Name', { exact: true }).fill(name);
  await p.getByLabel(/^Boards by label/).fill(label);
  await p.getByLabel(/^To projects/).fill(to);
  await p.getByLabel(/^plugins/).uncheck();
  await p.getByRole('button', { name: 'Offer', exact: true }).click();
  await p.getByRole('heading', { name }).waitFor();
}

/** Shares a lease with another project, by its page. */
export async function share(lab, { as, name, to }) {
  const p = of(lab, { as });
  await goto(p, 'bookings/leases');
  await p.getByRole('link', { name, exact: true }).click();
  await p.getByRole('button', { name: 'Share…' }).click();
  const dialog = p.getByRole('dialog', { name: `Share ${name}` });
  await dialog.getByLabel('To the project').fill(to);
  await dialog.getByLabel(/^service/).uncheck();
  await dialog.getByRole('button', { name: 'Share', exact: true }).click();
  await closed(p);
  await p.getByRole('heading', { name: 'Shared on' }).waitFor();
}

/** What the calendar shows of a board: its bars, by their names. */
export async function bars(lab, { as, board, days = 1, until = '' }) {
  const p = of(lab, { as });
  await calendar(p, days);
  if (until) await bar(p, board, until).waitFor();
  return row(p, board).locator('.bar').evaluateAll((all) => all.map((b) => b.getAttribute('aria-label') ?? b.textContent));
}

/** Gives a lease back, by its bar, and waits until it is gone from another page that shows it. */
export async function release(lab, { as, board, name, watch }) {
  const p = of(lab, { as });
  await calendar(p, 1);
  const other = watch && of(lab, { as: watch });
  if (other) {
    await calendar(other, 1);
    await bar(other, board, name).waitFor();
  }
  await bar(p, board, name).click();
  await p.getByRole('button', { name: 'Release…' }).click();
  await p.getByRole('button', { name: 'Release', exact: true }).click();
  await closed(p);
  await bar(p, board, name).waitFor({ state: 'detached' });
  if (other) await bar(other, board, name).waitFor({ state: 'detached' });
}
