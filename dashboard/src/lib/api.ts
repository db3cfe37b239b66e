/** The REST API, as every program uses it; see /v1/docs. */
import type { components } from './schema.d.ts';
import { base } from './base.ts';
import { session } from './session.svelte.ts';

type Schemas = components['schemas'];
export type Board = Schemas['Board'];
export type Bridge = Schemas['Bridge'];
export type Network = Schemas['Network'];
export type Port = Schemas['Port'];
export type Rollout = Schemas['Rollout'];
export type Service = Schemas['Service'];
export type Fleet = Schemas['Fleet'];
export type Lease = Schemas['Lease'];
export type Offer = Schemas['Offer'];
export type Access = Schemas['Access'];
export type BoardCalendar = Schemas['BoardCalendar'];
export type Booking = Schemas['Booking'];
export type Plugin = Schemas['Plugin'];
export type Operation = Schemas['Operation'];
export type Event = Schemas['Event'];
export type AuditRecord = Schemas['AuditRecord'];
export type Agent = Schemas['Agent'];
export type Cloud = Schemas['Cloud'];
export type Project = Schemas['Project'];
export type User = Schemas['User'];
export type Token = Schemas['Token'];
export type Pin = Schemas['Pin'];
export type Recording = Schemas['Recording'];
export type Session = Schemas['Session'];

/** An answer that is an error (RFC 9457), or, with status 0, none at all. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    detail: string,
    readonly hint = '',
    readonly operation = '',
    readonly retryAfter = 0,
  ) {
    super(detail);
  }
}

export interface Ask {
  query?: Record<string, string | number | string[] | undefined>;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Of a login: a refusal is an answer, and no end of the session. */
  anonymous?: boolean;
}

export interface Answer<T> {
  status: number;
  body: T;
  headers: Headers;
}

/** The URL of elements of a path below /v1, which are escaped, and a query. */
export function url(parts: string[], query: Ask['query'] = {}): URL {
  const u = new URL('v1/' + parts.map(encodeURIComponent).join('/'), base);
  for (const [k, v] of Object.entries(query)) {
    for (const one of Array.isArray(v) ? v : [v]) if (one !== undefined && one !== '') u.searchParams.append(k, String(one));
  }
  return u;
}

/** Tells the pages of this browser that the cloud answers: who waits to try again does it now. */
const channel = new BroadcastChannel('s4t-reached:' + base.pathname);
let lost = false;
let told = 0;

/** Notes whether the cloud answered. */
function reached(answered: boolean) {
  if (answered && (lost || Date.now() - told > 1000)) {
    told = Date.now();
    channel.postMessage(true);
  }
  lost = !answered;
}

/** Asks, and gives the response once its head is there. A session that has ended is begun anew by
 * who sits there, and then it is asked again: nothing that was typed is lost. */
export async function open(method: string, at: string[] | URL, ask: Ask = {}): Promise<Response> {
  for (;;) {
    const headers = new Headers(ask.headers);
    if (session.half) headers.set('X-S4T-Session', session.half);
    let body: BodyInit | undefined;
    if (ask.body !== undefined) {
      headers.set('Content-Type', 'application/json');
      body = JSON.stringify(ask.body);
    }
    let res: Response;
    try {
      res = await fetch(at instanceof URL ? at : url(at, ask.query), { method, headers, body, signal: ask.signal, credentials: 'same-origin', redirect: 'error' });
    } catch (e) {
      if (ask.signal?.aborted) throw e;
      reached(false);
      throw new Problem(0, 'unreachable', 'the cloud cannot be reached', 'it is tried again by itself');
    }
    if (res.ok || res.status === 304) {
      reached(true);
      return res;
    }
    if (res.status === 401 && !ask.anonymous) {
      await session.again();
      continue;
    }
    throw await problemOf(res);
  }
}

async function problemOf(res: Response): Promise<Problem> {
  const after = Number(res.headers.get('Retry-After') ?? 0);
  try {
    const p = (await res.json()) as { detail?: string; title?: string; kind?: string; hint?: string; operation?: string };
    return new Problem(res.status, p.kind ?? 'internal', p.detail ?? p.title ?? res.statusText, p.hint, p.operation, after);
  } catch {
    return new Problem(res.status, 'unavailable', `something between here and the cloud answered ${res.status}`, 'a proxy in front of the cloud has a log', '', after);
  }
}

/** Asks, and reads the JSON of the answer. */
export async function call<T>(method: string, at: string[] | URL, ask: Ask = {}): Promise<Answer<T>> {
  const res = await open(method, at, ask);
  const text = await res.text();
  return { status: res.status, body: (text ? JSON.parse(text) : undefined) as T, headers: res.headers };
}

export const get = async <T>(parts: string[], query?: Ask['query'], signal?: AbortSignal): Promise<T> => (await call<T>('GET', parts, { query, signal })).body;
export const post = async <T>(parts: string[], body?: unknown, query?: Ask['query']): Promise<T> => (await call<T>('POST', parts, { body, query })).body;
export const put = async <T>(parts: string[], body?: unknown): Promise<T> => (await call<T>('PUT', parts, { body })).body;
export const patch = async <T>(parts: string[], body: unknown): Promise<T> => (await call<T>('PATCH', parts, { body })).body;
export const remove = async <T>(parts: string[]): Promise<T> => (await call<T>('DELETE', parts)).body;

/** A list, page by page as they come; answers with the event that its first page is as of. The next page
 * is asked for once the head of one is there: the cloud makes it while this one is read. */
export async function pages<T>(parts: string[], query: Ask['query'], page: (items: T[], first: boolean) => void, signal?: AbortSignal): Promise<number> {
  let asOf = 0;
  let coming: Promise<Response> | null = open('GET', url(parts, query), { signal });
  for (let first = true; coming; first = false) {
    const res: Response = await coming;
    const next = nextOf(res.headers);
    coming = next && open('GET', next, { signal });
    coming?.catch(() => {}); // it is told where it is waited for
    if (first) asOf = Number(res.headers.get('X-Event-Id') ?? 0);
    page((await res.json()) as T[], first);
  }
  return asOf;
}

/** The next page of a list (RFC 8288): its path is the API's, which a proxy may have put below another. */
function nextOf(headers: Headers): URL | null {
  const found = /<\/?([^>]*)>\s*;\s*rel="next"/.exec(headers.get('Link') ?? '');
  return found ? new URL(found[1]!, base) : null;
}

/** Parses an event stream (HTML standard, 9.2) out of a response. */
export async function* events(res: Response): AsyncGenerator<{ id: string; event: string; data: string }> {
  const reader = res.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      let end: number;
      while ((end = rest.indexOf('\n\n')) >= 0) {
        const block = rest.slice(0, end);
        rest = rest.slice(end + 2);
        const one = { id: '', event: '', data: '' };
        for (const line of block.split('\n')) {
          if (line.startsWith('id:')) one.id = line.slice(3).trim();
          else if (line.startsWith('event:')) one.event = line.slice(6).trim();
          else if (line.startsWith('data:')) one.data += (one.data ? '\n' : '') + line.slice(5).trimStart();
        }
        yield one;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
