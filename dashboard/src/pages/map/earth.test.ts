import { expect, test } from 'vitest';
import { cluster, outline } from './earth.ts';

test('the outline is closed paths within the earth', () => {
  const path = outline();
  expect(path.startsWith('M')).toBe(true);
  expect(path.endsWith('Z')).toBe(true);
  for (const [, x, y] of path.matchAll(/(-?[\d.]+) (-?[\d.]+)/g)) {
    expect(Math.abs(Number(x))).toBeLessThanOrEqual(180);
    expect(Math.abs(Number(y))).toBeLessThanOrEqual(90);
  }
});

test('an arc that is negative goes the other way round', () => {
  const t = { arcs: [[[0, 0], [10, 0]], [[0, 5], [10, 0]]] as [number, number][][], transform: { scale: [1, 1] as [number, number], translate: [0, 0] as [number, number] }, objects: { land: { geometries: [{ arcs: [[[0, ~1]]] }] } } };
  expect(outline(t).replaceAll('-0.0', '0.0')).toBe('M0.0 0.0L10.0 0.0L10.0 -5.0L0.0 -5.0Z');
});

test('what is close is one mark in the middle', () => {
  const marks = cluster([{ x: 0, y: 0, of: 'a' }, { x: 1, y: 0, of: 'b' }, { x: 50, y: 0, of: 'c' }], 10);
  expect(marks).toEqual([{ x: 0.5, y: 0, of: ['a', 'b'] }, { x: 50, y: 0, of: ['c'] }]);
});
