/** A byte stream to a service of a board that outlives the connections which carry it: what package
 * rtunnel/resume of the cloud describes, at the user's end. A connection is a WebSocket at /rtunnel. */

const kinds = { hello: 'h', data: 'd', ack: 'a', fin: 'f', reset: 'r', ping: 'p', pong: 'q', bye: 'b' } as const;
type Kind = keyof typeof kinds;
const kindOf = new Map(Object.entries(kinds).map(([k, c]) => [c.charCodeAt(0), k as Kind]));

const version = 1;
const maxData = 64 << 10; // bytes of one data message
const smallWindow = 64 << 10; // what may be sent before the other end said more
const ackEvery = 128 << 10; // bytes that are taken before the other end hears of it
const aliveEvery = 15_000; // ms between pings
const deadAfter = 10_000; // ms without an answer to one

export interface Message {
  kind: Kind;
  received: number;
  limit: number;
  data: Uint8Array;
}

/** One message as it is sent. */
export function encode(kind: Kind, m: { received?: number; limit?: number; data?: Uint8Array } = {}): Uint8Array<ArrayBuffer> {
  const numbers = kind === 'hello' || kind === 'ack';
  const size = 1 + (kind === 'hello' ? 1 : 0) + (numbers ? 16 : 0) + (kind === 'data' ? 4 + m.data!.length : 0);
  const b = new Uint8Array(size);
  const v = new DataView(b.buffer);
  b[0] = kinds[kind].charCodeAt(0);
  let at = 1;
  if (kind === 'hello') b[at++] = version;
  if (numbers) {
    v.setBigUint64(at, BigInt(m.received!));
    v.setBigUint64(at + 8, BigInt(m.limit!));
  }
  if (kind === 'data') {
    v.setUint32(at, m.data!.length);
    b.set(m.data!, at + 4);
  }
  return b;
}

/** Takes bytes as they come and gives the messages in them; it throws where there is none. */
export class Decoder {
  #rest = new Uint8Array(0);

  push(bytes: Uint8Array): Message[] {
    let b = bytes;
    if (this.#rest.length) {
      b = new Uint8Array(this.#rest.length + bytes.length);
      b.set(this.#rest);
      b.set(bytes, this.#rest.length);
    }
    const out: Message[] = [];
    let at = 0;
    while (at < b.length) {
      const kind = kindOf.get(b[at]!);
      if (!kind) throw new Error(`a message of type 0x${b[at]!.toString(16)}`);
      const head = kind === 'hello' ? 18 : kind === 'ack' ? 17 : kind === 'data' ? 5 : 1;
      if (b.length - at < head) break;
      const v = new DataView(b.buffer, b.byteOffset + at, head);
      const m: Message = { kind, received: 0, limit: 0, data: new Uint8Array(0) };
      if (kind === 'hello' && v.getUint8(1) !== version) throw new Error(`the other end speaks version ${v.getUint8(1)}`);
      if (kind === 'hello' || kind === 'ack') {
        m.received = Number(v.getBigUint64(head - 16));
        m.limit = Number(v.getBigUint64(head - 8));
      }
      let size = head;
      if (kind === 'data') {
        const n = v.getUint32(1);
        if (n === 0 || n > maxData) throw new Error(`${n} bytes of data in one message`);
        size += n;
        if (b.length - at < size) break;
        m.data = b.slice(at + head, at + size);
      }
      out.push(m);
      at += size;
    }
    this.#rest = b.slice(at);
    return out;
  }
}

export interface Handlers {
  /** Bytes that came; the promise is kept when they have been taken, and more may come. */
  data: (bytes: Uint8Array) => Promise<void> | void;
  /** The stream has ended; why is empty where both ends have. */
  end: (why: string) => void;
  /** The connection was lost, or there is one again. */
  connected: (is: boolean) => void;
}

/** Opens a connection that has begun: a WebSocket whose first text message said "opened". */
export type Connect = (again: boolean) => Promise<WebSocket>;

/** Thrown by a [Connect] where another try can only fail alike. */
export class Final extends Error {}

const holdTime = 5 * 60_000; // ms that the board keeps a stream without a connection

export class Resumed {
  #connect: Connect;
  #on: Handlers;
  #ws: WebSocket | null = null;
  #out: Uint8Array[] = []; // from offset acked on
  #acked = 0;
  #sent = 0;
  #queued = 0; // offset behind out
  #limit = smallWindow;
  #finished = false; // no more is written
  #received = 0;
  #consumed = 0;
  #told = 0; // of consumed, what the other end was told last
  #window = 1 << 20;
  #over = false;
  #asked = 0; // when the last ping without an answer was sent
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(connect: Connect, on: Handlers) {
    this.#connect = connect;
    this.#on = on;
  }

  /** Carries the stream until it has ended. */
  async run(): Promise<void> {
    let lost = Date.now();
    let wait = 200;
    for (let again = false; !this.#over; ) {
      let ws: WebSocket;
      try {
        ws = await this.#connect(again);
      } catch (e) {
        if (e instanceof Final || Date.now() - lost > holdTime) return this.#end(e instanceof Error ? e.message : String(e));
        await new Promise((go) => setTimeout(go, wait));
        wait = Math.min(2 * wait, 3000);
        continue;
      }
      again = true;
      wait = 200;
      await this.#carry(ws);
      lost = Date.now();
      if (!this.#over) this.#on.connected(false);
    }
  }

  /** Bytes to send; they are kept until the other end has them. */
  write(bytes: Uint8Array) {
    if (this.#over || this.#finished) return;
    for (let at = 0; at < bytes.length; at += maxData) this.#out.push(bytes.slice(at, at + maxData));
    this.#queued += bytes.length;
    this.#pump();
  }

  /** Ends the stream: nobody reads it any more. */
  close() {
    if (this.#over) return;
    if (this.#ws?.readyState === WebSocket.OPEN) this.#ws.send(encode('bye'));
    this.#end('');
  }

  async #carry(ws: WebSocket): Promise<void> {
    ws.binaryType = 'arraybuffer';
    this.#ws = ws;
    const decoder = new Decoder();
    let greeted = false;
    await new Promise<void>((done) => {
      let taking: Promise<unknown> = Promise.resolve();
      const cut = () => {
        ws.close();
        done();
      };
      ws.onclose = ws.onerror = () => done();
      ws.onmessage = (m: MessageEvent<ArrayBuffer | string>) => {
        this.#asked = 0;
        if (typeof m.data === 'string') {
          const control = JSON.parse(m.data) as { reset?: unknown; eof?: unknown };
          if (control.reset || control.eof) cut();
          return;
        }
        let messages: Message[];
        try {
          messages = decoder.push(new Uint8Array(m.data));
        } catch (e) {
          this.#end(e instanceof Error ? e.message : String(e));
          return cut();
        }
        for (const one of messages) {
          if (one.kind === 'hello') {
            greeted = true;
            this.#acknowledge(one.received);
            this.#limit = one.limit;
            this.#sent = this.#acked;
            this.#on.connected(true);
            this.#pump();
          } else if (!greeted) return cut();
          else if (one.kind === 'ack') {
            this.#acknowledge(one.received);
            this.#limit = Math.max(this.#limit, one.limit);
            this.#pump();
          } else if (one.kind === 'data') {
            this.#received += one.data.length;
            taking = taking.then(async () => {
              await this.#on.data(one.data);
              this.#consumed += one.data.length;
              if (this.#consumed - this.#told >= ackEvery) this.#tell();
            });
          } else if (one.kind === 'fin') {
            this.#received++;
            void taking.then(() => {
              this.#consumed++;
              this.#tell();
              if (ws.readyState === WebSocket.OPEN) ws.send(encode('bye'));
              this.#end('');
              cut();
            });
          } else if (one.kind === 'reset') {
            this.#end('the other end broke it');
            return cut();
          } else if (one.kind === 'ping') ws.send(encode('pong'));
        }
      };
      ws.send(encode('hello', { received: this.#received, limit: this.#consumed + this.#window }));
      this.#told = this.#consumed;
      this.#timer = setInterval(() => {
        if (this.#asked && Date.now() - this.#asked > deadAfter) return cut();
        if (this.#consumed > this.#told) this.#tell();
        if (!this.#asked && ws.readyState === WebSocket.OPEN) {
          this.#asked = Date.now();
          ws.send(encode('ping'));
        }
      }, aliveEvery);
    });
    clearInterval(this.#timer);
    this.#asked = 0;
    this.#ws = null;
  }

  /** What the network says of itself: a connection that may be dead is asked at once. */
  look() {
    const ws = this.#ws;
    if (!ws || ws.readyState !== WebSocket.OPEN || this.#asked) return;
    this.#asked = Date.now();
    ws.send(encode('ping'));
    setTimeout(() => {
      if (this.#asked) ws.close();
    }, 3000);
  }

  #tell() {
    if (this.#ws?.readyState !== WebSocket.OPEN) return;
    this.#told = this.#consumed;
    this.#ws.send(encode('ack', { received: this.#received, limit: this.#consumed + this.#window }));
  }

  #acknowledge(upTo: number) {
    while (this.#out.length && this.#acked + this.#out[0]!.length <= upTo) this.#acked += this.#out.shift()!.length;
    if (upTo > this.#acked && this.#out.length) {
      this.#out[0] = this.#out[0]!.slice(upTo - this.#acked);
      this.#acked = upTo;
    }
    this.#sent = Math.max(this.#sent, this.#acked);
  }

  /** Sends what may be sent. */
  #pump() {
    const ws = this.#ws;
    if (ws?.readyState !== WebSocket.OPEN) return;
    let at = this.#acked;
    for (const piece of this.#out) {
      const end = at + piece.length;
      if (end > this.#sent) {
        const from = Math.max(0, this.#sent - at);
        const room = Math.min(piece.length, this.#limit - at);
        if (room <= from) return;
        ws.send(encode('data', { data: piece.subarray(from, room) }));
        this.#sent = at + room;
      }
      at = end;
    }
  }

  #end(why: string) {
    if (this.#over) return;
    this.#over = true;
    this.#ws?.close();
    this.#on.end(why);
  }
}
