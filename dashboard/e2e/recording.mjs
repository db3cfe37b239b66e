// A terminal that is recorded, and its recording, as steps; see steps.mjs.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { goto, of } from './steps.mjs';
import { until } from './terminal.mjs';

/** Opens the board's own terminal, which says that it is recorded before anything is typed, runs a line in it, and
 * leaves it. The recording is then in the list: read, and saved. */
export async function recorded(lab, step) {
  const p = of(lab, step);
  await goto(p, 'project/recordings');
  await p.getByRole('heading', { name: 'Nothing was recorded yet' }).waitFor();
  await goto(p, `boards/${step.board}/terminal`);
  const frame = await (await p.waitForSelector('iframe')).contentFrame();
  await until(frame, 'a prompt', (lines) => lines.some((l) => /[$#] ?$/.test(l)));
  const said = await frame.locator('.recorded').innerText();
  assert.match(said, /^This terminal is recorded: what .* shows, for the managers of its project\.$/);
  await frame.locator('.xterm-helper-textarea').focus();
  await p.keyboard.type(step.line + '\n');
  await until(frame, step.says, (lines) => lines.includes(step.says));
  await p.keyboard.type('exit\n');
  await frame.getByRole('button', { name: 'Again' }).waitFor();

  await goto(p, 'project/recordings');
  const row = p.getByRole('row').filter({ hasText: step.board });
  await row.waitFor();
  await row.getByText('goes on').waitFor({ state: 'detached' });
  await row.getByRole('button', { name: /^Read/ }).click();
  await p.getByRole('dialog').locator('pre').filter({ hasText: step.says }).first().waitFor();
  await p.keyboard.press('Escape');
  await p.getByRole('dialog').waitFor({ state: 'detached' });
  const saved = p.waitForEvent('download');
  await row.getByRole('button', { name: /^Actions/ }).click();
  await p.getByRole('menuitem', { name: 'Save' }).click();
  const file = await saved;
  assert.match(file.suggestedFilename(), new RegExp(`^${step.board}-.*\\.cast$`));
  const cast = await readFile(await file.path(), 'utf8');
  assert.equal(JSON.parse(cast.split('\n')[0]).version, 2);
  assert.ok(cast.includes(step.says), cast);
  return row.innerText();
}

/** Deletes the recording of a board, after a question. */
export async function unrecord(lab, step) {
  const p = of(lab, step);
  await goto(p, 'project/recordings');
  const row = p.getByRole('row').filter({ hasText: step.board });
  await row.getByRole('button', { name: /^Actions/ }).click();
  await p.getByRole('menuitem', { name: 'Delete…' }).click();
  await p.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await p.getByRole('dialog').waitFor({ state: 'detached' });
  await row.waitFor({ state: 'detached' });
}
