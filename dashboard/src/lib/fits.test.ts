import { expect, test } from 'vitest';
import { fits } from './fits.ts';

test.each([
  ['', true],
  ['status:up', true],
  ['status:down,up', true],
  ['!status:up', false],
  ['!status:down lab', true],
  ['kitchen', true],
  ['!kitchen', false],
  ['other:up', false],
  ['status:', false],
  ['!', false],
])('%s fits', (q, want) => expect(fits(q, (k, v) => (k === 'status' ? v === 'up' : undefined), () => 'lab kitchen')).toBe(want));
