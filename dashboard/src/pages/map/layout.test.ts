import { expect, test } from 'vitest';
import { layout } from './layout.ts';

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
