import { expect, test } from 'vitest';
import { days, look } from './outages.ts';

const at = (day: number, hour = 0, minute = 0) => new Date(2026, 5, day, hour, minute).getTime();
const outage = (from: number, to?: number) => ({ began: new Date(from).toISOString(), ended: to ? new Date(to).toISOString() : undefined, reason: 'power' });

test('days begin when the board was made, and the last ends now', () => {
  const d = days([], at(9, 12), at(10, 6), 4);
  expect(d.map(look)).toEqual(['none', 'none', 'ok', 'ok']);
  expect(d.map((x) => x.there)).toEqual([NaN, NaN, 1, 1]);
});

test('an outage over midnight is of both days, one that lasts ends now', () => {
  const d = days([outage(at(8, 23, 30), at(9, 12)), outage(at(10, 3))], 0, at(10, 6), 4);
  expect(d.map(look)).toEqual(['ok', 'warn', 'bad', 'bad']);
  expect(d.map((x) => Math.round(x.there * 1000) / 1000)).toEqual([1, 0.979, 0.5, 0.5]);
});
