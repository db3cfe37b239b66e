import { expect, test } from 'vitest';
import { framed, layout, settle } from './layout.ts';

const boards = Array.from({ length: 40 }, (_, i) => ({ id: 'b' + i, networks: i < 20 ? ['n' + (i % 3)] : i < 25 ? ['n0', 'n1'] : [] }));
const networks = [{ id: 'n0' }, { id: 'n1' }, { id: 'n2' }];

test('everything stands somewhere, and at the same place again', () => {
  const at = layout(networks, boards);
  expect(at.size).toBe(43);
  expect([...at.values()].every((p) => Number.isFinite(p.x) && Number.isFinite(p.y))).toBe(true);
  expect([...layout(networks, boards)]).toEqual([...at]);
});

test('no two boards of one network stand on each other', () => {
  const at = layout(networks, boards);
  const on = boards.filter((b) => b.networks.length === 1 && b.networks[0] === 'n0').map((b) => at.get(b.id)!);
  for (const a of on) for (const b of on) if (a !== b) expect(Math.hypot(a.x - b.x, a.y - b.y)).toBeGreaterThan(50);
});

test('boards stand in the frame of their group', () => {
  const groups = [{ id: 'a', boards: boards.slice(0, 7) }, { id: 'b', boards: boards.slice(7, 9) }];
  const { at, frames } = framed(networks, groups);
  for (const g of groups) {
    const f = frames.find((f) => f.id === g.id)!;
    for (const b of g.boards) {
      expect(Math.abs(at.get(b.id)!.x - f.x)).toBeLessThan(f.w / 2);
      expect(Math.abs(at.get(b.id)!.y - f.y)).toBeLessThan(f.h / 2);
    }
  }
});

test('what stood stays where it was, and what is new stands on nothing', () => {
  const first = settle(new Map(), layout(networks, boards.slice(0, 39)), () => 'x');
  const then = settle(first, layout(networks, boards), () => 'x');
  for (const [id, p] of first) expect(then.get(id)).toEqual(p);
  const fresh = then.get('b39')!;
  for (const [id, p] of then) if (id !== 'b39') expect(Math.abs(p.x - fresh.x) > 100 || Math.abs(p.y - fresh.y) > 40).toBe(true);
  const tied = settle(then, layout(networks, boards), (id) => (id === 'b0' ? 'y' : 'x'));
  expect(tied.get('b1')).toEqual(then.get('b1'));
  expect(tied.get('b0')!.ties).toBe('y');
});
