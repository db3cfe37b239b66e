import { expect, test } from 'vitest';
import { plainText, readCast } from './cast.ts';

const head = '{"version":2,"width":101,"height":31}\n';

test('a recording is read, also one that was cut', () => {
  const cast = readCast(head + '[0.1,"o","$ "]\n[0.5,"r","80x24"]\n[1,"o","ls\\r\\n"]\n[1.5,"o","cut');
  expect(cast).toEqual({ width: 101, height: 31, said: [{ at: 0.1, text: '$ ' }, { at: 1, text: 'ls\r\n' }] });
  expect(() => readCast('{"version":1}\n')).toThrow();
  expect(() => readCast('nonsense')).toThrow();
});

test.each([
  ['\x1b[1;32mgreen\x1b[0m and \x1b]0;a title\x07plain', 'green and plain'],
  ['10 %\r100 %\r\n', '100 %\n'],
  ['abcdef\rXY\r\n', 'XYcdef\n'],
  ['typoo\b \bs\r\n', 'typos\n'],
  ['bell\x07\r\ntab\there', 'bell\ntab\there'],
  ['\x1b(B\x1b=\x1b[?1049hvim', 'vim'],
])('%j reads %j', (written, read) => {
  expect(plainText({ width: 80, height: 24, said: [{ at: 0, text: written }] })).toBe(read);
});
