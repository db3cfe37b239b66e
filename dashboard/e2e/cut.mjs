// A way to a cloud that can be cut: connections end at once, and nobody is reached until it is mended.
import net from 'node:net';

export class Cuttable {
  #server;
  #sockets = new Set();
  #down = false;

  /** Listens on a port of the loopback interface, for connections to host and port. */
  static async to(host, port) {
    const c = new Cuttable();
    c.#server = net.createServer((from) => {
      if (c.#down) return from.destroy();
      const to = net.connect(port, host);
      for (const [a, b] of [[from, to], [to, from]]) {
        c.#sockets.add(a);
        a.on('error', () => {});
        a.on('close', () => {
          c.#sockets.delete(a);
          b.destroy();
        });
        a.pipe(b);
      }
    });
    await new Promise((go) => c.#server.listen(0, '127.0.0.1', go));
    return c;
  }

  get port() {
    return this.#server.address().port;
  }

  down() {
    this.#down = true;
    for (const s of this.#sockets) s.destroy();
  }

  up() {
    this.#down = false;
  }

  async close() {
    this.down();
    await new Promise((go) => this.#server.close(go));
  }
}
