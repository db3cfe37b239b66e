/** The frames of a board's terminal: what package terminal of the cloud describes, at the user's end. */

export const maxData = 16 << 10;
const maxTerm = 64;
const maxProblem = 1024;
const head = 3;

export type Frame =
  | { kind: 'o'; columns: number; rows: number; term: string }
  | { kind: 's'; columns: number; rows: number }
  | { kind: 'd'; data: Uint8Array }
  | { kind: 'x'; status: number }
  | { kind: 'e'; problem: string };

/** The least and the most bytes of each kind. */
const bounds: Record<Frame['kind'], [number, number]> = { o: [5, 4 + maxTerm], s: [4, 4], d: [1, maxData], x: [1, 1], e: [0, maxProblem] };
const isTerm = /^[A-Za-z0-9+_][A-Za-z0-9+_.-]*$/;

/** One frame as it is sent. */
export function encode(f: Frame): Uint8Array<ArrayBuffer> {
  let body: Uint8Array;
  switch (f.kind) {
    case 'o':
    case 's': {
      const name = f.kind === 'o' ? new TextEncoder().encode(f.term) : new Uint8Array(0);
      body = new Uint8Array(4 + name.length);
      const v = new DataView(body.buffer as ArrayBuffer);
      v.setUint16(0, f.columns);
      v.setUint16(2, f.rows);
      body.set(name, 4);
      break;
    }
    case 'd':
      body = f.data;
      break;
    case 'x':
      body = new Uint8Array([f.status]);
      break;
    case 'e':
      body = new TextEncoder().encode(f.problem);
  }
  const out = new Uint8Array(head + body.length);
  out[0] = f.kind.charCodeAt(0);
  new DataView(out.buffer).setUint16(1, body.length);
  out.set(body, head);
  return out;
}

/** Takes bytes as they come and gives the frames in them; it throws where there is none. */
export class Frames {
  #rest = new Uint8Array(0);

  push(bytes: Uint8Array): Frame[] {
    let b = bytes;
    if (this.#rest.length) {
      b = new Uint8Array(this.#rest.length + bytes.length);
      b.set(this.#rest);
      b.set(bytes, this.#rest.length);
    }
    const out: Frame[] = [];
    let at = 0;
    while (at < b.length) {
      const kind = String.fromCharCode(b[at]!) as Frame['kind'];
      const bound = Object.hasOwn(bounds, kind) ? bounds[kind] : undefined;
      if (!bound) throw new Error(`the board sent a frame of the kind 0x${b[at]!.toString(16)}`);
      if (b.length - at < head) break;
      const v = new DataView(b.buffer, b.byteOffset + at, b.length - at);
      const n = v.getUint16(1);
      if (n < bound[0] || n > bound[1]) throw new Error(`the board sent ${n} bytes in a frame of the kind ${kind}`);
      if (b.length - at < head + n) break;
      const body = b.slice(at + head, at + head + n);
      out.push(read(kind, v, body));
      at += head + n;
    }
    this.#rest = b.slice(at);
    return out;
  }
}

function read(kind: Frame['kind'], v: DataView, body: Uint8Array): Frame {
  switch (kind) {
    case 'o': {
      const term = new TextDecoder().decode(body.subarray(4));
      if (!isTerm.test(term)) throw new Error('the board sent a terminal without a name');
      return { kind, columns: v.getUint16(head), rows: v.getUint16(head + 2), term };
    }
    case 's':
      return { kind, columns: v.getUint16(head), rows: v.getUint16(head + 2) };
    case 'd':
      return { kind, data: body };
    case 'x':
      return { kind, status: body[0]! };
    case 'e':
      return { kind, problem: new TextDecoder().decode(body) };
  }
}
