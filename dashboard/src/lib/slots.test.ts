import { expect, test } from 'vitest';
import { Slots } from './slots.ts';

test('a row keeps its element, and one that comes takes that of one that has gone', () => {
  const s = new Slots();
  const [a, b, c] = s.of(['a', 'b', 'c']);
  expect(new Set([a, b, c]).size).toBe(3);
  expect(s.of(['b', 'c', 'd'])).toEqual([b, c, a]);
  expect(s.of(['a', 'b', 'c'])).toEqual([a, b, c]);
});

test('the element that the focus is in goes with its row', () => {
  const s = new Slots();
  const [a, b] = s.of(['a', 'b']);
  const [c, d] = s.of(['c', 'd'], 'a');
  expect(c).toBe(b);
  expect([a, b]).not.toContain(d);
});

test('a list that became short and long again has no element twice', () => {
  const s = new Slots();
  s.of(['a', 'b', 'c']);
  s.of(['b']);
  expect(new Set(s.of(['x', 'b', 'y', 'z'])).size).toBe(4);
});
