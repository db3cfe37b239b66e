// Judges every page by axe-core, at each theme and width, and takes its picture:
//
//   node axe.mjs LINK [--shots DIR] [--only NAME,NAME] [PATH...]
//
// LINK is what `s4t dashboard --print` prints. Each violation is a line; the status is 1 where there
// is one. PATHs are looked at instead of all pages.
import { readFile, mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { browser, page, another, settled, ask } from './browser.mjs';

const source = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const themes = ['light', 'dark'];
export const widths = [1280, 360];

/** What people have their system ask for, and the pages that are looked at so: lists, the graph, one thing with all of
 * it, a dialog. */
const wishes = [
  { name: 'forced colours', media: { forcedColors: 'active' } },
  { name: 'more contrast', media: { contrast: 'more' } },
];
const wished = /^(boards|map|bridge|boards\/[^/?]+)$/;

/** Puts axe into a page, or every page of a context, and into the frames in it. The pages' policy allows no
 * foreign script: the browser itself runs this one. */
export const install = (into) => into.addInitScript({ content: source });

/** The violations that axe finds in a page as it is now, one line each. */
export async function violations(p, rules) {
  return p.evaluate(async (rules) => {
    const said = await window.axe.run(document, {
      resultTypes: ['violations'],
      ...(rules ? { runOnly: { type: 'rule', values: rules } } : {}),
    });
    return said.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(' ')}: ${(n.failureSummary ?? '').split('\n').slice(1).join(' ').replace(/\s+/g, ' ').trim().slice(0, 240)}`));
  }, rules);
}

/** What is looked at: the pages with what is in this cloud, and what opens over them. */
export async function scenes(p) {
  const list = async (path) => {
    const { status, body } = await ask(p, 'GET', path);
    return status === 200 && Array.isArray(body) ? body : [];
  };
  const first = (items, ...wanted) => wanted.map((w) => items.find((i) => i.status === w)).find(Boolean) ?? items[0];
  const all = ['', 'boards', 'boards?q=status%3Aoffline', 'map', 'networks', 'services', 'fleets', 'bookings', 'bookings?view=day', 'bookings/leases', 'bookings/offers', 'plugins', 'commands', 'operations', 'activity', 'project', 'project/recordings', 'cloud', 'no-such-page'];
  const boards = await list('boards?limit=500');
  let board = first(boards, 'online');
  let command;
  for (const b of boards.filter((b) => b.status === 'online').slice(0, 8)) {
    command = first(await list(`boards/${b.name}/commands`));
    if (command && (board = b)) break; // one with more to see
  }
  if (board) for (const tab of ['', '/services', '/pins', '/commands', '/plugins', '/access', '/history', '/timeline', '/terminal']) all.push(`boards/${board.name}${tab}`);
  const away = boards.find((b) => b.status === 'offline');
  if (away) all.push(`boards/${away.name}`);
  if (command) all.push(`boards/${board.name}/commands/${command.name}`);
  const bridge = first(await list('bridges'), 'up');
  if (bridge) all.push(`networks/${bridge.name}`);
  const fleet = first(await list('fleets'));
  if (fleet) all.push(`fleets/${fleet.name}`);
  const lease = first(await list('leases'), 'active', 'pending');
  if (lease) all.push(`bookings/leases/${lease.id}`);
  const offer = first(await list('offers'));
  if (offer) all.push(`bookings/offers/${offer.id}`);
  const rollout = (await list('rollouts')).at(-1);
  if (rollout) all.push(`fleets/${rollout.fleet_name}/rollouts/${rollout.id}`);
  const plugin = first(await list('plugins'));
  if (plugin) all.push(`plugins/${plugin.name}`);
  const operation = (await list('operations')).at(-1);
  if (operation) all.push(`operations/${operation.id}`);
  const over = [
    { name: 'find', path: '', open: (p) => p.keyboard.press('Control+k'), wait: 'dialog[open]' },
    { name: 'add-board', path: 'boards', open: (p) => p.getByRole('button', { name: /add a board/i }).first().click(), wait: 'dialog[open]' },
  ];
  if (board) over.push({ name: 'bridge', path: `boards/${board.name}`, open: (p) => p.getByRole('button', { name: /^bridge/i }).first().click(), wait: 'dialog[open]' });
  if (board) over.push({ name: 'book', path: 'bookings', open: (p) => p.getByRole('button', { name: /^book/i }).first().click(), wait: 'dialog[open]' });
  over.push({ name: 'who', path: '', open: (p) => p.locator('header details > summary').click(), wait: 'header details[open]' });
  return [...all.map((path) => ({ name: path, path })), ...over];
}

/** Looks at scenes, each width in a page of its own; answers with lines, and leaves pictures in a
 * folder where one is given. base is where the cloud is. */
export async function judge(context, base, list, { shots = '', log = () => {} } = {}) {
  const found = [];
  const tell = (line) => {
    found.push(line);
    log(line);
  };
  const through = async (width, scenes, ...how) => {
    const p = await another(context);
    await install(p);
    await p.setViewportSize({ width, height: 800 });
    for (const scene of scenes) await look(p, base, scene, width, shots, tell, ...how);
    for (const t of p.trouble) tell(t);
    await p.close();
  };
  const some = list.filter((s) => wished.test(s.name));
  await Promise.all([
    ...widths.map((width) => through(width, list)),
    ...wishes.map((wish) => through(widths[0], some, wish)),
  ]);
  return found;
}

/** Looks at one scene in each theme. */
async function look(p, base, scene, width, shots, tell, wish = { name: '', media: {} }) {
  const name = scene.name || 'now';
  for (const theme of themes) {
    await p.emulateMedia({ colorScheme: theme, ...wish.media });
    if (theme === themes[0]) {
      await p.goto(base + scene.path);
      await settled(p);
      if (scene.open) {
        await scene.open(p);
        await p.waitForSelector(scene.wait);
        await settled(p);
      }
    } else {
      await p.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    }
    // What changes with the theme is colours.
    for (const v of await violations(p, theme === themes[0] ? undefined : ['color-contrast', 'link-in-text-block'])) tell(`${name} ${width} ${theme}${wish.name && ', ' + wish.name}: ${v}`);
    if (shots) await p.screenshot({ path: `${shots}/${name.replaceAll(/[^\w.-]+/g, '-')}-${width}-${theme}${wish.name && '-' + wish.name.replace(' ', '-')}.png` });
  }
}

/** The page on which who is not logged in begins. */
export async function judgeLogin(b, base, how) {
  const p = await page(b, '');
  const found = await judge(p.context(), base, [{ name: 'login', path: '' }], how);
  await p.context().close();
  return found;
}

if (import.meta.filename === process.argv[1] || process.argv[1]?.endsWith('/axe.mjs')) {
  const args = process.argv.slice(2);
  const take = (name) => {
    const i = args.indexOf(name);
    return i < 0 ? '' : args.splice(i, 2)[1];
  };
  const shots = take('--shots');
  const only = take('--only').split(',').filter(Boolean);
  const [link, ...paths] = args;
  if (!link) {
    console.error('usage: node axe.mjs LINK [--shots DIR] [--only NAME,NAME] [PATH...]');
    process.exit(2);
  }
  if (shots) await mkdir(shots, { recursive: true });
  const b = await browser();
  const p = await page(b, link);
  let list = paths.length ? paths.map((path) => ({ name: path, path })) : await scenes(p);
  if (only.length) list = list.filter((s) => only.includes(s.name));
  const how = { shots, log: (line) => console.log(line) };
  const found = [...(paths.length || only.length ? [] : await judgeLogin(b, p.base, how)), ...(await judge(p.context(), p.base, list, how))];
  console.log(`${list.length} pages and dialogs, ${themes.length} themes, ${widths.length} widths: ${found.length} violations`);
  await b.close();
  process.exitCode = found.length ? 1 : 0;
}
