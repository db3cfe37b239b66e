/** A shell that the board's own agent begins, where the board's owner allows it. */
import { encode, Frames, maxData } from './frames.ts';
import type { Resumed } from './resume.ts';
import type { Ask, Shell } from './shell.ts';
import { stream } from './stream.ts';

export class BoardShell implements Shell {
  #resumed: Resumed;
  #frames = new Frames();
  #over = false;
  #begun: () => void = () => {};
  #failed: (e: Error) => void = () => {};

  constructor(board: string, readonly ask: Ask) {
    this.#resumed = stream(
      { board, terminal: true },
      { data: (b) => this.#take(b), end: (why) => this.#end(why), connected: (is) => (is && this.#begun(), this.ask.connected(is)) },
      (grant) => {
        if (grant.recorded) this.ask.recorded?.();
      },
    );
  }

  async start(columns: number, rows: number): Promise<void> {
    const begun = new Promise<void>((go, failed) => {
      this.#begun = go;
      this.#failed = failed;
    });
    this.#resumed.write(encode({ kind: 'o', columns, rows, term: 'xterm-256color' }));
    void this.#resumed.run();
    await begun;
  }

  async #take(bytes: Uint8Array): Promise<void> {
    for (const f of this.#frames.push(bytes)) {
      if (f.kind === 'd') await this.ask.data(f.data);
      else if (f.kind === 'x') this.#end(f.status ? `the shell ended with status ${f.status}` : '');
      else if (f.kind === 'e') this.#end(f.problem);
    }
  }

  type(text: string) {
    const all = new TextEncoder().encode(text);
    for (let at = 0; at < all.length; at += maxData) this.#resumed.write(encode({ kind: 'd', data: all.subarray(at, at + maxData) }));
  }

  resize(columns: number, rows: number) {
    this.#resumed.write(encode({ kind: 's', columns, rows }));
  }

  look() {
    this.#resumed.look();
  }

  close() {
    this.#end('');
  }

  #end(why: string) {
    if (this.#over) return;
    this.#over = true;
    this.#failed(new Error(why || 'the board ended the connection'));
    this.#resumed.close();
    this.ask.ended(why);
  }
}
