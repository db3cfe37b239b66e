import { expect, test } from 'vitest';
import { compare } from './order.ts';

test.each([
  ['', '', 0],
  ['', 'a', -1],
  ['a', 'a', 0],
  ['node2', 'node10', -1],
  ['node10', 'node10', 0],
  ['node10', 'node10a', -1],
  ['node', 'node1', -1],
  ['Kitchen', 'attic', 1],
  ['kitchen', 'Kitchen', 1],
  ['007', '7', -1],
  ['a007b', 'a7c', -1],
  ['0', '00', -1],
  ['x0', 'x', 1],
  ['1.10.0', '1.9.3', 1],
  ['123456789012345678901234567890', '123456789012345678901234567891', -1],
  ['über', 'uber', 1],
])('%j beside %j', (a, b, by) => {
  expect(Math.sign(compare(a, b))).toBe(by);
  expect(Math.sign(compare(b, a))).toBe(by ? -by : 0);
});

test('it is an order: whatever is sorted is the same from any beginning', () => {
  const names = ['b', 'B', 'a1', 'a01', 'a10', 'a2', '', '0', '00', 'a', 'A', 'a-1', 'a_1', 'a1b', 'a1B', '10', '9'];
  const sorted = names.toSorted(compare);
  for (let i = 0; i < names.length; i++) expect([...names.slice(i), ...names.slice(0, i)].reverse().sort(compare)).toEqual(sorted);
});
