/** Private keys, as ssh-keygen writes them, and Ed25519, which the library lacks: it is the browser's. */
import './buffer.ts';
import { Buffer } from 'buffer';
import { BigInt as Number_, PublicKeyAlgorithm, SshAlgorithms, SshDataReader, SshDataWriter, type KeyPair } from '@microsoft/dev-tunnels-ssh';

const maxKey = 64 << 10; // bytes of a file

/** The fingerprint of a public key, as ssh-keygen -l says it. */
export async function fingerprint(key: Uint8Array<ArrayBuffer>): Promise<string> {
  return 'SHA256:' + Buffer.from(await crypto.subtle.digest('SHA-256', key)).toString('base64').replaceAll('=', '');
}

const url = (b: Uint8Array) => Buffer.from(b).toString('base64').replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

class Ed25519Key implements KeyPair {
  readonly keyAlgorithmName = 'ssh-ed25519';
  comment: string | null = null;
  public: Uint8Array<ArrayBuffer> | null = null;
  private: Uint8Array<ArrayBuffer> | null = null;

  get hasPublicKey() {
    return this.public !== null;
  }
  get hasPrivateKey() {
    return this.private !== null;
  }
  async setPublicKeyBytes(bytes: Buffer) {
    const r = new SshDataReader(bytes);
    if (r.readString('ascii') !== this.keyAlgorithmName) throw new Error('this is no Ed25519 key');
    this.public = new Uint8Array(r.readBinary());
  }
  async getPublicKeyBytes(): Promise<Buffer | null> {
    if (!this.public) return null;
    const w = new SshDataWriter(Buffer.alloc(64));
    w.writeString(this.keyAlgorithmName, 'ascii');
    w.writeBinary(Buffer.from(this.public));
    return w.toBuffer();
  }
  async generate() {
    throw new Error('keys are made elsewhere');
  }
  async importParameters() {
    throw new Error('keys are read from files');
  }
  async exportParameters(): Promise<object> {
    throw new Error('keys stay here');
  }
  dispose() {}

  key(use: 'sign' | 'verify'): Promise<CryptoKey> {
    const jwk: JsonWebKey = { kty: 'OKP', crv: 'Ed25519', x: url(this.public!) };
    if (use === 'sign') jwk.d = url(this.private!);
    return crypto.subtle.importKey('jwk', jwk, 'Ed25519', false, [use]);
  }
}

/** ssh-ed25519 (RFC 8709). */
class Ed25519 extends PublicKeyAlgorithm {
  constructor() {
    super('ssh-ed25519', 'ssh-ed25519', 'SHA2-512');
  }
  createKeyPair(): KeyPair {
    return new Ed25519Key();
  }
  async generateKeyPair(): Promise<KeyPair> {
    throw new Error('keys are made elsewhere');
  }
  createSigner(pair: KeyPair) {
    const sign = async (data: Buffer) => Buffer.from(await crypto.subtle.sign('Ed25519', await (pair as Ed25519Key).key('sign'), new Uint8Array(data)));
    return { digestLength: 64, sign, dispose() {} };
  }
  createVerifier(pair: KeyPair) {
    const verify = async (data: Buffer, signature: Buffer) => crypto.subtle.verify('Ed25519', await (pair as Ed25519Key).key('verify'), new Uint8Array(signature), new Uint8Array(data));
    return { digestLength: 64, verify, dispose() {} };
  }
}

export const ed25519: PublicKeyAlgorithm = new Ed25519();

/** Reads a private key (OpenSSH's PROTOCOL.key). One with a passphrase is refused: what would open
 * it is a password hash that no browser has. */
export async function parseKey(text: string): Promise<KeyPair> {
  if (text.length > maxKey) throw new Error('this file is too long for a key');
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([\sA-Za-z0-9+/=]+)-----END OPENSSH PRIVATE KEY-----/.exec(text)?.[1];
  if (!body) {
    if (/^(ssh-|ecdsa-)/.test(text)) throw new Error('this is the public half of a key; choose the file without .pub');
    throw new Error('this is no private key as ssh-keygen writes them (BEGIN OPENSSH PRIVATE KEY)');
  }
  const r = new SshDataReader(Buffer.from(body.replaceAll(/\s/g, ''), 'base64'));
  const magic = 'openssh-key-v1\0';
  if (r.read(magic.length).toString('latin1') !== magic) throw new Error('this private key is of another version');
  if (r.readString('ascii') !== 'none') throw new Error('this key has a passphrase: take one without, or `s4t ssh`, where an agent holds it');
  r.readString('ascii'); // of the key derivation: none
  r.readBinary(); // and its options
  if (r.readUInt32() !== 1) throw new Error('this file has more than one key');
  r.readBinary(); // the public half, which comes again
  const p = new SshDataReader(r.readBinary());
  if (p.readUInt32() !== p.readUInt32()) throw new Error('this private key is damaged');
  const kind = p.readString('ascii');
  switch (kind) {
    case 'ssh-ed25519': {
      const key = new Ed25519Key();
      key.public = new Uint8Array(p.readBinary());
      key.private = new Uint8Array(p.readBinary().subarray(0, 32));
      return key;
    }
    case 'ssh-rsa': {
      const [n, e, d, qi, prime, other] = [p.readBinary(), p.readBinary(), p.readBinary(), p.readBinary(), p.readBinary(), p.readBinary()].map((b) => big(b)) as [bigint, bigint, bigint, bigint, bigint, bigint];
      const key = SshAlgorithms.publicKey.rsaWithSha512!.createKeyPair();
      const parts = { modulus: n, exponent: e, d, qi, p: prime, q: other, dp: d % (prime - 1n), dq: d % (other - 1n) };
      await key.importParameters(Object.fromEntries(Object.entries(parts).map(([k, v]) => [k, number(v)])) as never);
      return key;
    }
    case 'ecdsa-sha2-nistp256':
    case 'ecdsa-sha2-nistp384':
    case 'ecdsa-sha2-nistp521': {
      const curve = p.readString('ascii');
      const point = p.readBinary();
      const half = (point.length - 1) / 2;
      const d = big(p.readBinary());
      const by = { nistp256: SshAlgorithms.publicKey.ecdsaSha2Nistp256!, nistp384: SshAlgorithms.publicKey.ecdsaSha2Nistp384!, nistp521: SshAlgorithms.publicKey.ecdsaSha2Nistp521! }[curve];
      if (!by || point[0] !== 4) throw new Error('this private key is damaged');
      const key = by.createKeyPair();
      await key.importParameters({ curve: { name: curve }, x: number(big(point.subarray(1, 1 + half))), y: number(big(point.subarray(1 + half))), d: number(d) } as never);
      return key;
    }
  }
  throw new Error(`keys of the kind ${kind} are not taken here; Ed25519, ECDSA and RSA are`);
}

const big = (b: Uint8Array) => BigInt('0x' + (Buffer.from(b).toString('hex') || '0'));

/** A number as the library has it. */
function number(v: bigint): Number_ {
  const hex = v.toString(16);
  return Number_.fromBytes(Buffer.from(hex.length % 2 ? '0' + hex : hex, 'hex'), { unsigned: true });
}
