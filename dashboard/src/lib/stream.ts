/** Connections to services of boards, for this page: a ticket, and a WebSocket that it opens. */
import { post, Problem } from './api.ts';
import { base } from './base.ts';
import { Final, Resumed, type Handlers } from './resume.ts';

export interface Grant {
  url: string;
  ticket: string;
  resumable?: boolean;
  recorded?: boolean;
  host_keys?: string[];
}

/** What of a board is wanted: a TCP port of it, or its terminal. */
export interface Wanted {
  board: string;
  port?: number;
  terminal?: boolean;
}

const openWithin = 20_000; // ms until the board has answered

/** A stream that outlives its connections; granted hears what the cloud said when it granted the first. */
export function stream(wanted: Wanted, on: Handlers, granted?: (grant: Grant) => void): Resumed {
  const name = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');
  return new Resumed(async (again) => {
    let grant: Grant;
    try {
      grant = await post<Grant>(['boards', wanted.board, 'streams'], { port: wanted.port, terminal: wanted.terminal, resumable: name, again: again || undefined, host_keys: again || wanted.terminal ? undefined : true });
    } catch (e) {
      if (e instanceof Problem && [400, 403, 404, 409].includes(e.status)) throw new Final(e.message + (e.hint ? '; ' + e.hint : ''));
      throw e;
    }
    if (!grant.resumable) throw new Final('the lightning-rod of this board is too old for it: use s4t ssh');
    if (!again) granted?.(grant);
    return dial(grant);
  }, on);
}

/** A browser says nothing of why it did not connect to another host than the page's. */
const elsewhere = (host: string) =>
  `this browser did not reach the tunnel agent at ${host}, which carries the board's streams. Where its certificate is of the cloud's own CA, browsers do not know it: s4t dashboard, s4t terminal and s4t ssh do`;

/** The WebSocket of a grant: the ticket is a subprotocol, since a page sets no header. */
async function dial(grant: Grant): Promise<WebSocket> {
  const at = new URL(grant.url);
  // The agent behind the page's own host and port is reached the way that the page came.
  const url = at.host === base.host ? new URL('rtunnel', base) : new URL(at.pathname.replace(/\/$/, '') + '/rtunnel', at);
  url.protocol = url.protocol === 'http:' ? 'ws:' : 'wss:';
  const ticket = btoa(grant.ticket).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  const ws = new WebSocket(url, ['s4t.stream.1', 's4t.ticket.' + ticket]);
  return new Promise((opened, failed) => {
    const late = setTimeout(() => end(new Error('the board does not answer')), openWithin);
    const end = (e: Error) => {
      clearTimeout(late);
      ws.onmessage = ws.onclose = null;
      ws.close();
      failed(e);
    };
    ws.onclose = () => end(new Error(at.host === base.host ? 'the connection to the board was refused' : elsewhere(at.host)));
    ws.onmessage = (m: MessageEvent<unknown>) => {
      if (typeof m.data !== 'string') return end(new Error('the board speaks before it was asked'));
      const control = JSON.parse(m.data) as { opened?: unknown; refused?: { msg?: string; kind?: string } };
      if (control.refused) {
        const why = control.refused.msg ?? 'the board refused it';
        end(['forbidden', 'invalid', 'not_found'].includes(control.refused.kind ?? '') ? new Final(why) : new Error(why));
      } else if (control.opened !== undefined) {
        clearTimeout(late);
        ws.onmessage = ws.onclose = null;
        opened(ws);
      }
    };
  });
}
