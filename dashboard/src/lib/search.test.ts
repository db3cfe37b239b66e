import { expect, test } from 'vitest';
import type { Board } from './api.ts';
import { duration, filter, parse, toggle } from './search.ts';

const board = (b: Partial<Board>): Board => ({ id: 'x', name: 'x', status: 'online', ...b }) as Board;
const boards = [
  board({ id: '1', name: 'kitchen', type: 'yun', labels: { site: 'messina' } }),
  board({ id: '2', name: 'attic', type: 'pi', labels: { site: 'catania', floor: '2' }, status: 'offline', last_seen: '2026-01-01T00:00:00Z' }),
  board({ id: '3', name: 'cellar', type: 'pi', status: 'registered' }),
];
const around = { now: Date.parse('2026-01-02T12:00:00Z'), bridgesOf: (id: string) => (id === '1' ? ['lab'] : []) };
const found = (q: string) => boards.filter(filter(q, around)).map((b) => b.id).join('');

test.each([
  ['', '123'],
  ['kit', '1'],
  ['!kit', '23'],
  ['status:offline', '2'],
  ['!status:offline', '13'],
  ['status:offline,registered', '23'],
  ['label:site', '12'],
  ['label:site=messina', '1'],
  ['type:pi !label:site=catania', '3'],
  ['seen:>1d', '23'],
  ['seen:<2d', '12'],
  ['seen:<1h', '1'],
  ['seen:soon', ''],
  ['bridge:lab', '1'],
  ['!bridge:lab', '23'],
  ['floor=2', '2'],
  ['http://x', ''],
])('%s finds %s', (q, want) => expect(found(q)).toBe(want));

test('words', () => {
  expect(parse('name:"big board" -type:yun')).toMatchObject([{ key: 'name', values: ['big board'] }, { not: true, key: 'type' }]);
  expect(toggle('status:online kit', 'status:online')).toBe('kit');
  expect(toggle('kit', 'type:pi')).toBe('kit type:pi');
  expect(duration('1.5h')).toBe(5400e3);
  expect(duration('x')).toBeNaN();
});
