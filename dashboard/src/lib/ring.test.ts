import { expect, test } from 'vitest';
import { Ring } from './ring.ts';

test('the newest within the span are kept, in order', () => {
  const r = new Ring(10, 1000);
  for (let i = 0; i <= 100; i++) r.push(i, i * 2);
  expect(r.read().times).toEqual([90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100]);
  expect(r.read().values[0]).toBe(180);
});

test('there is room for so many', () => {
  const r = new Ring(1e9, 700);
  for (let i = 0; i < 5000; i++) r.push(i, -i);
  const { times, values } = r.read();
  expect(times.length).toBe(700);
  expect([times[0], times[699], values[699]]).toEqual([4300, 4999, -4999]);
});

test('what was told before is left out', () => {
  const r = new Ring(10, 10);
  r.push(5, 1);
  r.push(5, 2);
  r.push(4, 3);
  expect(r.read()).toEqual({ times: [5], values: [1] });
  expect(new Ring(1, 1).read()).toEqual({ times: [], values: [] });
});
