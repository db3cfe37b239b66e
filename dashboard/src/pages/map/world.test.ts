import { expect, test } from 'vitest';
import { collapse, placeOf, type World } from './world.ts';

const spots = (n: number, site: (i: number) => string) => Array.from({ length: n }, (_, i) => ({ id: 'b' + i, name: 'b' + i, status: 'online', note: '', labels: site(i) ? { site: site(i) } : ({} as Record<string, string>), place: null }));
const nets = (n: number) => Array.from({ length: n }, (_, i) => ({ id: 'n' + i, name: 'n' + i, status: 'up', note: '' }));
const tie = (b: number, n: number) => ({ id: `${b}-${n}`, board: 'b' + b, network: 'n' + n, status: 'up', problem: '' });
const things = (w: ReturnType<typeof collapse>) => w.boards.length + w.networks.length + w.bundles.length;
const count = (w: ReturnType<typeof collapse>) => w.boards.length + w.bundles.reduce((n, b) => n + b.boards.length, 0);

test('what fits is drawn as it is', () => {
  const w: World = { boards: spots(20, () => ''), networks: nets(2), ties: [tie(0, 0), tie(1, 0)] };
  expect(collapse(w, 300)).toEqual({ ...w, bundles: [], left: 0 });
});

test('boards on no network become one a site, before others', () => {
  const w: World = { boards: spots(1000, (i) => (i % 2 ? 'a' : 'b')), networks: nets(1), ties: [tie(0, 0), tie(1, 0)] };
  const c = collapse(w, 300);
  expect(c.bundles.map((b) => [b.site, b.boards.length])).toEqual([['b', 499], ['a', 499]]);
  expect(c.ties.length).toBe(2);
  expect(count(c)).toBe(1000);
});

test.each([[10_000, 3, 1], [10_000, 400, 1], [5_000, 5000, 1], [2_000, 2, 2]])('%d boards on %d networks, %d each: few things, and none is lost', (boards, networks, each) => {
  const w: World = { boards: spots(boards, () => ''), networks: nets(networks), ties: Array.from({ length: boards }, (_, i) => i).flatMap((i) => Array.from({ length: each }, (_, k) => tie(i, (i + k) % networks))) };
  const c = collapse(w, 300);
  expect(things(c)).toBeLessThanOrEqual(301);
  expect(count(c)).toBe(boards);
  const drawn = new Set(c.boards.map((b) => b.id));
  expect(c.ties.every((t) => drawn.has(t.board))).toBe(true);
});

test('a place is said by the board, or by its labels', () => {
  const of = (b: object) => placeOf(b as Parameters<typeof placeOf>[0]);
  expect(of({ location: { latitude: 1, longitude: 2 } })).toEqual({ latitude: 1, longitude: 2 });
  expect(of({ labels: { lat: '38.19', lon: '15.55' } })).toEqual({ latitude: 38.19, longitude: 15.55 });
  expect(of({ labels: { lat: '138', lon: '15' } })).toBeNull();
  expect(of({ labels: { lat: 'x', lon: '15' } })).toBeNull();
  expect(of({})).toBeNull();
});
