/** SSH in this page: what is typed and who logs in is between it and the board's sshd. The cloud
 * carries what it cannot read. */
import './buffer.ts';
import { Buffer } from 'buffer';
import { BaseStream, ChannelRequestMessage, SshClientSession, SshDisconnectReason, SshSessionConfiguration, type KeyPair, type SshChannel } from '@microsoft/dev-tunnels-ssh';
import { ed25519, fingerprint, parseKey } from './keys.ts';
import type { Resumed } from './resume.ts';
import type { Ask, Shell } from './shell.ts';
import { stream } from './stream.ts';

/** A carried stream, as the library reads and writes one. */
class Carried extends BaseStream {
  resumed: Resumed | null = null;
  take(bytes: Uint8Array) {
    this.onData(Buffer.from(bytes));
  }
  over(why: string) {
    if (why) this.onError(new Error(why));
    else this.onEnd();
  }
  override async write(data: Buffer): Promise<void> {
    this.resumed!.write(new Uint8Array(data));
  }
  override async close(error?: Error): Promise<void> {
    this.resumed!.close();
    this.fireOnClose(error);
  }
}

type Writer = Parameters<ChannelRequestMessage['write']>[0];

/** A terminal is asked for (RFC 4254, 6.2). */
class PtyRequest extends ChannelRequestMessage {
  constructor(readonly columns: number, readonly rows: number) {
    super('pty-req', true);
  }
  protected override onWrite(w: Writer) {
    super.onWrite(w);
    w.writeString('xterm-256color', 'utf8');
    for (const n of [this.columns, this.rows, 0, 0]) w.writeUInt32(n);
    w.writeString('\0', 'ascii'); // no modes: the board's own
  }
}

/** It has another size (RFC 4254, 6.7). */
class WindowChange extends ChannelRequestMessage {
  constructor(readonly columns: number, readonly rows: number) {
    super('window-change', false);
  }
  protected override onWrite(w: Writer) {
    super.onWrite(w);
    for (const n of [this.columns, this.rows, 0, 0]) w.writeUInt32(n);
  }
}

/** Who logs in, and to what. */
export interface Login {
  board: string;
  port: number;
  user: string;
  /** The text of a private key; empty: a password is asked for. */
  key: string;
}

export interface SshAsk extends Ask {
  /** A password; null where nobody gives one. */
  password: () => Promise<string | null>;
  /** Whether this host key is the board's: known says that its agent has told so. */
  trust: (fingerprint: string, known: boolean, told: boolean) => Promise<boolean>;
}

export class SshShell implements Shell {
  #channel: SshChannel | null = null;
  #session: SshClientSession;
  #carried = new Carried();
  #resumed: Resumed;
  #known: string[] = [];
  #size = [80, 24]; // the last that was told
  #over = false;
  #failed: (e: Error) => void = () => {};

  constructor(readonly login: Login, readonly ask: SshAsk) {
    this.#resumed = this.#carried.resumed = stream(
      { board: login.board, port: login.port },
      {
        data: (b) => this.#carried.take(b),
        end: (why) => {
          this.#carried.over(why);
          this.#end(why);
        },
        connected: (is) => this.ask.connected(is),
      },
      (grant) => (this.#known = (grant.host_keys ?? []).map((k) => k.split(' ')[1] ?? '')),
    );
    const config = new SshSessionConfiguration();
    config.publicKeyAlgorithms.unshift(ed25519);
    this.#session = new SshClientSession(config);
  }

  async start(columns: number, rows: number): Promise<void> {
    this.#size = [columns, rows];
    // The library waits for ever where the other end has gone.
    const gone = new Promise<never>((_, failed) => (this.#failed = failed));
    await Promise.race([gone, this.#start()]);
  }

  async #start(): Promise<void> {
    const key = this.login.key ? await parseKey(this.login.key) : null;
    void this.#resumed.run();
    this.#session.onAuthenticating((e) => {
      if (e.publicKey) e.authenticationPromise = this.#trust(e.publicKey);
    });
    await this.#session.connect(this.#carried);
    if (!(await this.#session.authenticateServer())) throw new Error('the host key was not trusted');
    await this.#authenticate(key);
    const channel = await this.#session.openChannel();
    this.#channel = channel;
    channel.onDataReceived((data) => {
      const taken = this.ask.data(new Uint8Array(data));
      // The window opens as the screen has shown what came: a flood waits at the board.
      void Promise.resolve(taken).then(() => channel.adjustWindow(data.length));
    });
    channel.onClosed((e) => {
      const status = e.exitStatus ?? 0;
      this.#end(status || e.exitSignal ? `the shell ended with ${e.exitSignal ? 'the signal ' + e.exitSignal : 'status ' + status}` : '');
    });
    if (!(await channel.request(new PtyRequest(this.#size[0]!, this.#size[1]!)))) throw new Error('the board gives no terminal');
    if (!(await channel.request(new ChannelRequestMessage('shell', true)))) throw new Error('the board gives no shell');
  }

  async #trust(key: KeyPair): Promise<object | null> {
    const bytes = new Uint8Array((await key.getPublicKeyBytes()) ?? []);
    const known = this.#known.includes(Buffer.from(bytes).toString('base64'));
    return (await this.ask.trust(await fingerprint(bytes), known, this.#known.length > 0)) ? {} : null;
  }

  async #authenticate(key: KeyPair | null): Promise<void> {
    const username = this.login.user;
    if (key) {
      if (await this.#session.authenticateClient({ username, publicKeys: [key] })) return;
      throw new Error(`the board does not take this key for ${username}: its public half belongs into ~/.ssh/authorized_keys there`);
    }
    for (let tries = 0; tries < 3; tries++) {
      const password = await this.ask.password();
      if (password === null) throw new Error('nobody has logged in');
      if (await this.#session.authenticateClient({ username, password })) return;
    }
    throw new Error('the board refused the password');
  }

  type(text: string) {
    this.#channel?.send(Buffer.from(text, 'utf8')).catch(() => {}); // it has ended, and that was told
  }

  resize(columns: number, rows: number) {
    this.#size = [columns, rows];
    this.#channel?.request(new WindowChange(columns, rows)).catch(() => {});
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
    this.#session.close(SshDisconnectReason.byApplication).catch(() => {});
    this.#resumed.close();
    this.ask.ended(why);
  }
}
