/** SSH in this page: what is typed and who logs in is between it and the board's sshd. The cloud
 * carries what it cannot read. */
import { Buffer } from 'buffer';
import {
  BaseStream,
  ChannelRequestMessage,
  SshClientSession,
  SshDisconnectReason,
  SshSessionConfiguration,
  type SshChannel,
} from '@microsoft/dev-tunnels-ssh';
import { stream, type Wanted } from './stream.ts';
import type { Resumed } from './resume.ts';

/** A carried stream, as the library reads and writes one. */
class Carried extends BaseStream {
  constructor(readonly over: { resumed: Resumed }) {
    super();
  }
  take(bytes: Uint8Array) {
    this.onData(Buffer.from(bytes));
  }
  over_(why: string) {
    if (why) this.onError(new Error(why));
    else this.onEnd();
  }
  override async write(data: Buffer): Promise<void> {
    this.over.resumed.write(new Uint8Array(data));
  }
  override async close(error?: Error): Promise<void> {
    this.over.resumed.close();
    this.fireOnClose(error);
  }
}

/** A terminal is asked for (RFC 4254, 6.2). */
class PtyRequest extends ChannelRequestMessage {
  constructor(readonly columns: number, readonly rows: number) {
    super('pty-req', true);
  }
  protected override onWrite(w: Parameters<ChannelRequestMessage['write']>[0]) {
    super.onWrite(w);
    w.writeString('xterm-256color', 'utf8');
    for (const n of [this.columns, this.rows, 0, 0]) w.writeUInt32(n);
    w.writeString('\0', 'ascii'); // no modes: those of the board's
  }
}

/** It has another size (RFC 4254, 6.7). */
class WindowChange extends ChannelRequestMessage {
  constructor(readonly columns: number, readonly rows: number) {
    super('window-change', false);
  }
  protected override onWrite(w: Parameters<ChannelRequestMessage['write']>[0]) {
    super.onWrite(w);
    for (const n of [this.columns, this.rows, 0, 0]) w.writeUInt32(n);
  }
}

export interface Ask {
  user: string;
  password: () => Promise<string | null>;
  /** Whether this host key (SHA-256, base64) is the board's: as its agent said, or a person says. */
  trust: (fingerprint: string, known: boolean) => Promise<boolean>;
  data: (bytes: Uint8Array) => Promise<void> | void;
  connected: (is: boolean) => void;
  ended: (why: string) => void;
}

export class Shell {
  #channel: SshChannel | null = null;
  #session: SshClientSession;
  #resumed: Resumed;
  #known: string[] = [];

  constructor(wanted: Wanted, readonly ask: Ask) {
    const over = { resumed: null as unknown as Resumed };
    const carried = new Carried(over);
    this.#resumed = over.resumed = stream(
      wanted,
      { data: (b) => carried.take(b), end: (why) => (carried.over_(why), this.ask.ended(why)), connected: (is) => this.ask.connected(is) },
      (keys) => (this.#known = keys.map((k) => k.split(' ')[1] ?? '')),
    );
    this.#session = new SshClientSession(new SshSessionConfiguration());
    this.#carried = carried;
  }
  #carried: Carried;

  /** Logs in and begins a shell of a size. */
  async start(columns: number, rows: number): Promise<void> {
    void this.#resumed.run();
    this.#session.onAuthenticating((e) => {
      const key = e.publicKey;
      if (!key) return;
      e.authenticationPromise = (async () => {
        const bytes = await key.getPublicKeyBytes();
        const is = bytes ? Buffer.from(bytes).toString('base64') : '';
        const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(bytes ?? [])));
        const fingerprint = 'SHA256:' + Buffer.from(sum).toString('base64').replaceAll('=', '');
        return (await this.ask.trust(fingerprint, this.#known.includes(is))) ? {} : null;
      })();
    });
    await this.#session.connect(this.#carried);
    if (!(await this.#session.authenticateServer())) throw new Error('the host key was not trusted');
    for (let tries = 0; ; tries++) {
      const password = await this.ask.password();
      if (password === null) return this.close();
      if (await this.#session.authenticateClient({ username: this.ask.user, password })) break;
      if (tries >= 2) throw new Error('the board refused the password');
    }
    const channel = await this.#session.openChannel();
    this.#channel = channel;
    channel.onDataReceived((data) => {
      const taken = this.ask.data(new Uint8Array(data));
      // The window opens as the terminal has shown what came: a flood waits at the board.
      void Promise.resolve(taken).then(() => channel.adjustWindow(data.length));
    });
    channel.onClosed(() => this.close());
    if (!(await channel.request(new PtyRequest(columns, rows)))) throw new Error('the board gives no terminal');
    if (!(await channel.request(new ChannelRequestMessage('shell', true)))) throw new Error('the board gives no shell');
  }

  type(text: string) {
    void this.#channel?.send(Buffer.from(text, 'utf8'));
  }

  resize(columns: number, rows: number) {
    void this.#channel?.request(new WindowChange(columns, rows));
  }

  /** Has a connection that may be dead looked at. */
  look() {
    this.#resumed.look();
  }

  close() {
    void this.#session.close(SshDisconnectReason.byApplication).catch(() => {});
    this.#resumed.close();
    this.ask.ended('');
  }
}
