import { expect, test } from 'vitest';
import { Decoder, encode } from './resume.ts';

test('messages come back as they were, however they are cut', () => {
  const all = [encode('hello', { received: 5, limit: 2 ** 40 }), encode('data', { data: new Uint8Array([1, 2, 3]) }), encode('ack', { received: 8, limit: 9 }), encode('fin')];
  const bytes = new Uint8Array(all.reduce((n, b) => n + b.length, 0));
  let at = 0;
  for (const b of all) {
    bytes.set(b, at);
    at += b.length;
  }
  for (const step of [1, 2, 7, bytes.length]) {
    const d = new Decoder();
    const got = [];
    for (let i = 0; i < bytes.length; i += step) got.push(...d.push(bytes.subarray(i, i + step)));
    expect(got.map((m) => m.kind)).toEqual(['hello', 'data', 'ack', 'fin']);
    expect(got[0]).toMatchObject({ received: 5, limit: 2 ** 40 });
    expect([...got[1]!.data]).toEqual([1, 2, 3]);
  }
});

test('what is no message is refused', () => {
  expect(() => new Decoder().push(new Uint8Array([0x7a]))).toThrow('0x7a');
  expect(() => new Decoder().push(new Uint8Array([0x64, 0, 1, 0, 1]))).toThrow('65537');
  const old = encode('hello', { received: 0, limit: 0 });
  old[1] = 9;
  expect(() => new Decoder().push(old)).toThrow('version 9');
});
