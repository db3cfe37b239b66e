import { expect, test } from 'vitest';
import type { Board } from './api.ts';
import table from './search.cases.json';
import { duration, facetsOf, filter, parse, toggle } from './search.ts';

const boards = table.boards as unknown as Board[];
const around = { now: Date.parse(table.now), bridgesOf: (id: string) => (table.bridges as Record<string, string[]>)[id] ?? [] };
const found = (q: string) => boards.filter(filter(q, around)).map((b) => b.id).join('');

test.each(table.cases as [string, string][])('%s finds %s', (q, want) => expect(found(q)).toBe(want));

test('words', () => {
  expect(parse('name:"big board" -type:yun')).toMatchObject([{ key: 'name', values: ['big board'] }, { not: true, key: 'type' }]);
  expect(toggle('status:online kit', 'status:online')).toBe('kit');
  expect(toggle('kit', 'type:pi')).toBe('kit type:pi');
  expect(duration('1.5h')).toBe(5400e3);
  expect(duration('x')).toBeNaN();
});

test('facets are words of a search, most first', () => {
  const b = (id: string, status: string, type: string, labels: Record<string, string>) => ({ id, name: id, status, type, labels }) as unknown as Board;
  const list = [b('a', 'online', 'pi', { site: 'the lab' }), b('b', 'online', 'pi', { site: 'roof' }), b('c', 'offline', 'pi', {})];
  expect(facetsOf(list, [])).toEqual([['status:online', 2], ['status:offline', 1], ['"label:site=the lab"', 1], ['label:site=roof', 1]]);
  expect(facetsOf(list, ['type:pi']).at(2)).toEqual(['type:pi', 3]);
  expect(facetsOf(list, [], 1)).toEqual([['status:online', 2]]);
});
