/** How boards and networks were: made out of the events that tell what changed. */
import type { Board, Bridge, Event } from './api.ts';
import { net, spot, type Net, type Spot, type Tie, type World } from '../pages/map/world.ts';

type Past<T> = { at: number; is: T | null }[]; // by time; null: it is not there

interface Port {
  tie: Tie;
  past: Past<string>;
}

/** Time of a moment, and what happened in it. */
export interface Moment {
  at: number;
  say: string;
}

/** Kinds of events that a map shows. */
const shown = /^(board\.(created|joined|online|offline|deleted|left)|port\.(up|down)|bridge\.(created|deleted|up|down|degraded))$/;

export class Replay {
  /** The moments at which something changed, the oldest first. */
  readonly moments: Moment[] = [];
  #boards = new Map<string, { spot: Spot; past: Past<string> }>();
  #nets = new Map<string, { net: Net; past: Past<string> }>();
  #ports = new Map<string, Port>();

  /** Takes events by time, and what there is now, which is what was where no event says otherwise. */
  constructor(events: Event[], boards: Board[], bridges: Bridge[]) {
    const bridgeOf = new Map<string, string>(); // by network
    for (const b of boards) this.#boards.set(b.id, { spot: spot(b), past: [{ at: Date.parse(b.created_at ?? '') || 0, is: b.status }] });
    for (const n of bridges) {
      bridgeOf.set(n.network, n.id);
      this.#nets.set(n.id, { net: net(n), past: [{ at: Date.parse(n.created_at ?? '') || 0, is: n.status }] });
      for (const p of n.ports ?? []) this.#ports.set(p.id, { tie: { id: p.id, board: p.board_id, network: n.id, status: p.status, problem: p.problem ?? '' }, past: [{ at: 0, is: p.status }] });
    }
    const told = new Set<string>();
    let network = ''; // of the port that the last event was about
    let networkAt = '';
    for (const e of events) {
      if (!shown.test(e.kind)) continue;
      const [noun, verb] = e.kind.split('.') as [string, string];
      const at = Date.parse(e.at);
      const first = !told.has(e.object);
      told.add(e.object);
      const data = (e.data ?? {}) as { status?: string; network?: string; board_id?: string; problem?: string };
      if (noun === 'board') {
        const was = verb === 'created' ? null : ({ joined: 'registered', online: 'offline', offline: 'online' }[verb] ?? 'offline');
        const b = this.#boards.get(e.object) ?? { spot: { id: e.object, name: e.name ?? e.object, status: '', note: '', labels: {}, place: null }, past: [] };
        this.#boards.set(e.object, b);
        if (first) b.past = [{ at: 0, is: was }];
        b.past.push({ at, is: verb === 'deleted' || verb === 'left' ? null : (data.status ?? verb) });
        this.#say(at, `${b.spot.name} ${{ created: 'is made', joined: 'joins', online: 'is online', offline: 'is away', deleted: 'is deleted', left: 'leaves' }[verb] ?? verb}`);
      } else if (noun === 'bridge') {
        // The network of a bridge that is gone: its port changed in the same transaction.
        if (network && networkAt === e.at && !bridgeOf.has(network)) bridgeOf.set(network, e.object);
        const n = this.#nets.get(e.object) ?? { net: { id: e.object, name: e.name ?? e.object, status: '', note: '' }, past: [] };
        this.#nets.set(e.object, n);
        if (first) n.past = [{ at: 0, is: verb === 'created' ? null : verb === 'up' ? 'degraded' : 'up' }];
        n.past.push({ at, is: verb === 'deleted' ? null : verb === 'created' ? 'degraded' : verb });
        this.#say(at, `network ${n.net.name} ${{ created: 'is made', deleted: 'is deleted' }[verb] ?? 'is ' + verb}`);
      } else {
        const p = this.#ports.get(e.object) ?? { tie: { id: e.object, board: data.board_id ?? '', network: data.network ?? '', status: '', problem: '' }, past: [] };
        this.#ports.set(e.object, p);
        if (data.network) [network, networkAt] = [data.network, e.at];
        if (first) p.past = [{ at: 0, is: verb === 'up' ? 'down' : 'up' }];
        p.past.push({ at, is: e.detail === 'removed' ? null : verb });
        this.#say(at, `${e.board ?? 'a board'}'s port is ${e.detail === 'removed' ? 'removed' : verb}`);
      }
    }
    for (const p of this.#ports.values()) {
      p.tie.network = bridgeOf.get(p.tie.network) ?? p.tie.network;
      if (!p.tie.board) p.past = [];
    }
  }

  #say(at: number, say: string) {
    const last = this.moments.at(-1);
    if (last && last.at === at) last.say += ', ' + say;
    else this.moments.push({ at, say });
  }

  /** The world as it was; of the boards that a filter lets through. */
  at(time: number, is: (id: string) => boolean = () => true): World {
    const boards: Spot[] = [];
    const there = new Set<string>();
    for (const { spot, past } of this.#boards.values()) {
      const status = then(past, time);
      if (status === null || !is(spot.id)) continue;
      there.add(spot.id);
      boards.push({ ...spot, status, note: spot.note });
    }
    const networks: Net[] = [];
    for (const { net, past } of this.#nets.values()) {
      const status = then(past, time);
      if (status === null) continue;
      there.add(net.id);
      networks.push({ ...net, status });
    }
    const ties: Tie[] = [];
    for (const { tie, past } of this.#ports.values()) {
      const status = then(past, time);
      if (status !== null && there.has(tie.board) && there.has(tie.network)) ties.push({ ...tie, status, problem: '' });
    }
    return { boards, networks, ties };
  }
}

/** What something was at a time: what the last change before it made of it. */
function then<T>(past: Past<T>, time: number): T | null {
  let low = 0;
  let high = past.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (past[mid]!.at <= time) low = mid + 1;
    else high = mid;
  }
  return low ? past[low - 1]!.is : null;
}
