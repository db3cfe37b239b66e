// A shell of a board in the page's terminal: an editor in it, another size of the window, a cut of
// 10 s, and on. node terminal.mjs LINK BOARD [SHOTS]
//
// How one logs in stands in the environment: S4T_TERM_USER with S4T_TERM_PASSWORD or S4T_TERM_KEY (a
// file) for SSH; without a user it is the board's own terminal.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { browser, page } from './browser.mjs';
import { Cuttable } from './cut.mjs';

const { S4T_TERM_USER: user, S4T_TERM_PASSWORD: password, S4T_TERM_KEY: key } = process.env;
const within = { timeout: Number(process.env.S4T_TERM_WITHIN ?? 60_000) };

/** What the terminal shows, a line each. */
const shown = (frame) => frame.locator('.xterm-rows > div').evaluateAll((rows) => rows.map((r) => r.textContent.replaceAll('\u00a0', ' ').trimEnd()));

/** Its size, as the page has it. */
const sizeOf = (frame) => frame.locator('.term').evaluate((n) => ({ cols: Number(n.dataset.columns), rows: Number(n.dataset.rows) }));

/** Waits until the terminal shows text. */
export async function until(frame, what, is) {
  const end = Date.now() + within.timeout;
  for (;;) {
    const lines = await shown(frame);
    if (is(lines)) return lines;
    if (Date.now() > end) throw new Error(`the terminal never showed ${what}; it shows:\n${lines.join('\n')}`);
    await frame.waitForTimeout(50);
  }
}

/** Runs the proof, and throws where it fails. */
export async function terminal(link, board, shots) {
  const at = new URL(link);
  const cut = await Cuttable.to(at.hostname, Number(at.port || 443));
  const b = await browser([`--host-resolver-rules=MAP ${at.host} 127.0.0.1:${cut.port}`]);
  try {
    const p = await page(b, link);
    const shot = (name) => shots && p.screenshot({ path: `${shots}/terminal-${name}.png` });
    await p.goto(new URL(`boards/${board}/terminal`, at.origin + at.pathname).href);
    await p.waitForSelector('iframe', within);
    const ssh = p.getByRole('button', { name: 'SSH instead' });
    if (user && (await ssh.isVisible())) await ssh.click();
    const frame = await (await p.waitForSelector('iframe', within)).contentFrame();
    if (user) {
      await frame.getByLabel('User on the board').fill(user, within);
      if (key) await frame.locator('input[type=file]').setInputFiles({ name: 'key', mimeType: 'text/plain', buffer: await readFile(key) });
      await shot('ask');
      await frame.getByRole('button', { name: 'Connect' }).click();
      if (!key) {
        await frame.getByLabel(/^Password of/).fill(password, within);
        await frame.getByRole('button', { name: 'Log in' }).click();
      }
    }
    await until(frame, 'a prompt', (lines) => lines.some((l) => /[$#] ?$/.test(l)));
    await frame.locator('.xterm-helper-textarea').focus();
    const type = async (text) => {
      await p.keyboard.type(text);
    };

    // The size is the window's from the beginning.
    await type('echo $((6*7)) $(stty size)\n');
    const size = (lines) => lines.map((l) => /^42 (\d+) (\d+)$/.exec(l)).findLast(Boolean);
    await shot('shell');
    const first = size(await until(frame, 'the size of the terminal', (l) => size(l)));
    const of = await sizeOf(frame);
    assert.deepEqual([Number(first[2]), Number(first[1])], [of.cols, of.rows], 'the shell knows another size than the page has');
    assert.notEqual(of.cols, 80, 'the terminal was not fitted before it was opened');

    // An editor draws, follows the window, and survives a cut.
    await type('vi /tmp/s4t-$$\n');
    await until(frame, 'an editor', (lines) => lines.filter((l) => l === '~').length > 5);
    await type('ibefore the cut');
    await until(frame, 'what was typed', (l) => l.some((s) => s.startsWith('before the cut')));
    await shot('editor');
    await p.setViewportSize({ width: 1000, height: 620 });
    const tall = (lines) => lines.filter((l) => l === '~').length;
    const now = await untilSize(frame, of);
    await until(frame, `an editor of ${now.rows} lines`, (l) => tall(l) > now.rows - 4 && tall(l) < now.rows);
    cut.down();
    await frame.getByText('The connection was lost').waitFor(within);
    await type(' and in it');
    await shot('cut');
    await new Promise((go) => setTimeout(go, 10_000)); // the cut
    cut.up();
    await until(frame, 'what was typed in the cut', (l) => l.some((s) => s.startsWith('before the cut and in it')));
    await frame.getByText('The connection was lost').waitFor({ state: 'hidden', ...within });
    await type(' and after');
    await until(frame, 'what was typed after it', (l) => l.some((s) => s.startsWith('before the cut and in it and after')));
    await shot('after');
    await p.keyboard.press('Escape');
    await type(':wq\n');
    // What is typed before the editor has gone may be taken by nobody.
    await until(frame, 'the shell again', (l) => !l.includes('~') && /[$#]$/.test(l.findLast(Boolean) ?? ''));
    await type('cat /tmp/s4t-$$; rm /tmp/s4t-$$; stty size\n');
    await until(frame, 'the file', (l) => l.includes('before the cut and in it and after') && l.includes(`${now.rows} ${now.cols}`));

    // A flood is shown to its end, and the page lives meanwhile.
    await type('seq 200000; echo flood-$((1+1))\n');
    await until(frame, 'the end of a flood', (l) => l.includes('flood-2'));
    await type('exit 3\n');
    await frame.getByRole('button', { name: 'Again' }).waitFor(within);
    await shot('ended');
    // What the browser itself says of connections that were cut is no trouble of the page.
    const trouble = p.trouble.filter((t) => !/ERR_(CONNECTION|EMPTY|NETWORK|SOCKET|HTTP2|SSL|TIMED|INTERNET)|WebSocket connection/.test(t));
    assert.deepEqual(trouble, []);
  } finally {
    await b.close();
    await cut.close();
  }
}

/** The terminal's size when it is another than before. */
async function untilSize(frame, before) {
  const end = Date.now() + within.timeout;
  for (;;) {
    const now = await sizeOf(frame);
    if (now.rows !== before.rows && now.cols !== before.cols) return now;
    if (Date.now() > end) throw new Error('the terminal does not follow its window');
    await frame.waitForTimeout(50);
  }
}

if (import.meta.filename === process.argv[1]) {
  await terminal(...process.argv.slice(2));
  console.log('terminal: passed');
}
