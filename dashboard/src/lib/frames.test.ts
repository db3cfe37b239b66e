import { expect, test } from 'vitest';
import { encode, Frames, type Frame } from './frames.ts';
import rows from '../../../terminal/testdata/frames.json';

/** The table that Go's tests read too. */
const table = rows as {
  name: string;
  hex: string;
  bad?: boolean;
  incomplete?: boolean;
  frames?: (Omit<Frame, 'data'> & { data?: string })[];
}[];

const bytes = (hex: string) => new Uint8Array((hex.replaceAll(' ', '').match(/../g) ?? []).map((b) => parseInt(b, 16)));
const hex = (b: Uint8Array) => [...b].map((n) => n.toString(16).padStart(2, '0')).join('');

for (const row of table) {
  test(row.name, () => {
    const raw = bytes(row.hex);
    for (const piece of [raw.length, 1, 2]) {
      const take = () => {
        const d = new Frames();
        const got: Frame[] = [];
        for (let at = 0; at < raw.length; at += piece) got.push(...d.push(raw.subarray(at, at + piece)));
        return got;
      };
      if (row.bad) {
        expect(take).toThrow();
        continue;
      }
      const got = take();
      expect(got.map((f) => ('data' in f ? { ...f, data: hex(f.data) } : f))).toEqual(row.frames);
      if (!row.incomplete) expect(got.map((f) => hex(encode(f))).join('')).toBe(hex(raw));
    }
  });
}
