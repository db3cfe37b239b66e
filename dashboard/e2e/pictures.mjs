// Pictures for the documentation, as steps; see steps.mjs.
import { writeFile, stat } from 'node:fs/promises';
import { another, patience, settled } from './browser.mjs';
import { encode } from './png.mjs';
import { drop, free, goto, of } from './steps.mjs';

/** Another page of the same session, of a size and a theme. */
async function like(lab, step) {
  const from = of(lab, step);
  const p = await another(from.context());
  p.base = from.base;
  await p.setViewportSize({ width: step.width ?? 1280, height: step.height ?? 800 });
  await p.emulateMedia({ colorScheme: step.theme ?? 'light' });
  return p;
}

async function write(file, frames) {
  await writeFile(file, encode(frames));
  return (await stat(file)).size;
}

/** Takes a picture of a page; answers with its size in bytes. */
export async function picture(lab, step) {
  const p = await like(lab, step);
  await goto(p, step.path);
  await settled(p);
  for (const row of step.charts ?? []) await p.getByRole('row').filter({ hasText: row }).getByRole('button', { name: 'Chart', exact: true }).click();
  if (step.charts) await p.waitForTimeout(step.after ?? 0); // for eyes: a chart needs a while to have something to show
  const size = await write(step.file, [{ png: await p.screenshot(), ms: 0 }]);
  await p.close();
  return size;
}

/** Films a bridge that is made by drag; answers with the size in bytes. */
export async function film(lab, step) {
  const p = await like(lab, step);
  lab.pages.set('film', p);
  const frames = [];
  const frame = async (ms, at) => {
    await p.evaluate((at) => {
      // Pictures are taken without the pointer.
      let hand = document.getElementById('hand');
      if (!hand) {
        hand = document.createElement('div');
        hand.id = 'hand';
        Object.assign(hand.style, { position: 'fixed', zIndex: 99, width: '18px', height: '26px', background: '#111', outline: '0', pointerEvents: 'none', clipPath: 'polygon(0 0, 0 78%, 24% 60%, 42% 100%, 60% 92%, 44% 54%, 76% 54%)' });
        document.body.append(hand);
      }
      hand.hidden = !at;
      if (at) Object.assign(hand.style, { left: at[0] + 'px', top: at[1] + 'px' });
    }, at);
    frames.push({ png: await p.screenshot(), ms });
  };
  const dialog = await drop(p, step.from, step.onto, frame);
  await frame(1500);
  const name = dialog.getByLabel(/^Name/);
  await name.press('Enter');
  const done = dialog.getByText(/^took/);
  for (const end = performance.now() + patience; performance.now() < end && !(await done.isVisible()); ) {
    const begun = performance.now();
    await frame(0);
    frames.at(-1).ms = Math.round(performance.now() - begun);
  }
  await dialog.locator('.steps ol > li.done').nth(9).waitFor();
  await settled(p);
  await frame(2500);
  await dialog.getByRole('button', { name: 'Done', exact: true }).click();
  await settled(p);
  await frame(1200);
  // The steps are shown over the map for some seconds more; then it is all to be seen.
  await free(p);
  await p.getByRole('button', { name: /fit view/i }).click({ timeout: 5000 }).catch(() => {});
  await settled(p);
  await frame(3000);
  const size = await write(step.file, frames);
  if (process.env.S4T_FRAMES) await Promise.all(frames.map((f, i) => writeFile(`${process.env.S4T_FRAMES}/${String(i).padStart(3, '0')}.png`, f.png)));
  lab.pages.delete('film');
  await p.close();
  return size;
}

