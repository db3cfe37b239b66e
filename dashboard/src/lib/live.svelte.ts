/** What the cloud has, kept true by one stream of events a browser. A list is read once, with the
 * event that it is as of; what has happened since is told by the events after that. */
import { type Agent, type Board, type Bridge, type Event, type Fleet, type Lease, type Network, type Offer, type Operation, type Plugin, type Rollout, type Service, call, events, open, pages, Problem } from './api.ts';
import { Collection, type Identified } from './collection.svelte.ts';
import { base } from './base.ts';

/** The kinds of objects that are kept, with the list of each and what of it is asked for. */
const kinds = {
  boards: { path: 'boards', fields: 'name,project,lease,type,labels,location,status,problems,last_seen,created_at,wamp_agent,tunnel_agent,info.version,info.arch,info.os,info.terminal,code_expires_at' },
  bridges: { path: 'bridges', fields: '' },
  networks: { path: 'networks', fields: '' },
  services: { path: 'services', fields: '' },
  fleets: { path: 'fleets', fields: '' },
  leases: { path: 'leases', fields: '' },
  offers: { path: 'offers', fields: '' },
  plugins: { path: 'plugins', fields: '' },
  rollouts: { path: 'rollouts', fields: '' },
  operations: { path: 'operations', fields: '' },
  agents: { path: 'agents', fields: '' },
} as const;

export type Kind = keyof typeof kinds;

interface Objects {
  boards: Board;
  bridges: Bridge;
  networks: Network;
  services: Service;
  fleets: Fleet;
  leases: Lease;
  offers: Offer;
  plugins: Plugin;
  rollouts: Rollout;
  operations: Operation;
  agents: Agent;
}

/** How many events this page keeps to show. */
const keepEvents = 500;
/** How long nothing may come over the stream, ms. */
const silence = 35_000;
/** After how long without a word a stream is given up where the cloud is known to be reached again, ms:
 * it says something every 15 s, and answers soon. */
const doubt = { open: 17_000, asked: 5000 };
/** How many objects are read one by one after events about them; with more, the list is read. */
const readOneByOne = 16;

class Live {
  readonly boards = new Collection<Board & Identified>();
  readonly bridges = new Collection<Bridge & Identified>();
  readonly networks = new Collection<Network & Identified>();
  readonly services = new Collection<Service & Identified>();
  readonly fleets = new Collection<Fleet & Identified>();
  readonly leases = new Collection<Lease & Identified>();
  readonly offers = new Collection<Offer & Identified>();
  readonly plugins = new Collection<Plugin & Identified>();
  readonly rollouts = new Collection<Rollout & Identified>();
  readonly operations = new Collection<Operation & Identified>(1000); // the newest: a cloud makes them without end
  readonly agents = new Collection<Agent & Identified>();

  /** Whether the stream is there; null: it was not tried yet. */
  connected = $state<boolean | null>(null);
  /** When the connection was lost. */
  since = $state<Date | null>(null);
  /** The newest events that came, newest first. */
  recent = $state.raw<Event[]>([]);
  /** Id of the event up to which everything here is as it is at the cloud. */
  last = 0;

  #loading = new Map<Kind, Promise<void>>();
  /** Objects that events were about while their list was read: a page may be older than what it replaces. */
  #meanwhile = new Map<Kind, Set<string>>();
  #dirty = new Map<Kind, Set<string>>();
  #reading = false;
  #heard = new Set<(e: Event) => void>();
  #channel = new BroadcastChannel('s4t-events:' + base.pathname);
  #fresh: Event[] = [];
  #retry = 500;
  /** Whether the cloud refused the stream when it was asked last: then it is there, and another answer of it says nothing. */
  #refused = false;

  /** Has a kind of objects read, and kept true from then on. Safe to call often. */
  use(...wanted: Kind[]): void {
    for (const kind of wanted) {
      if (this.#loading.has(kind)) continue;
      this.#loading.set(kind, this.#load(kind));
    }
  }

  /** Calls f with every event that comes, until the answer is called. */
  on(f: (e: Event) => void): () => void {
    this.#heard.add(f);
    return () => this.#heard.delete(f);
  }

  /** Follows the events, until the answer is called. One page of this browser reads the stream, and
   * tells the others: browsers open six connections to a host, over HTTP/1. */
  follow(): () => void {
    const stop = new AbortController();
    this.#channel.onmessage = (m: MessageEvent<{ event?: Event; connected?: boolean }>) => {
      if (m.data.event) this.#take(m.data.event);
      else if (m.data.connected !== undefined) this.#state(m.data.connected);
    };
    void navigator.locks
      .request('s4t-events:' + base.pathname, { signal: stop.signal }, async () => {
        while (!stop.signal.aborted) await this.#stream(stop.signal);
      })
      .catch(() => {});
    const wake = () => {
      if (document.visibilityState === 'visible') this.#hurry?.();
    };
    document.addEventListener('visibilitychange', wake);
    addEventListener('online', wake);
    const answers = new BroadcastChannel('s4t-reached:' + base.pathname); // to any page of this browser
    answers.onmessage = () => {
      if (!this.#refused) this.#hurry?.();
    };
    return () => {
      stop.abort();
      answers.close();
      document.removeEventListener('visibilitychange', wake);
      removeEventListener('online', wake);
    };
  }

  /** Ends the wait before the next try, or a try that comes to nothing: there is reason to think that the cloud is reached. */
  #hurry: (() => void) | null = null;

  async #stream(stop: AbortSignal): Promise<void> {
    // The cloud says something every 15 s: where nothing comes for longer, the way to it is cut, and only trying anew finds out.
    const silent = new AbortController();
    const signal = AbortSignal.any([stop, silent.signal]);
    let heard = Date.now();
    const watch = setInterval(() => {
      if (Date.now() - heard > silence || !navigator.onLine) silent.abort();
    }, 1000);
    let patience = this.connected === false ? doubt.asked : silence; // at first much is asked at once
    this.#hurry = () => {
      if (Date.now() - heard > patience) silent.abort();
    };
    this.#refused = false;
    try {
      const res = await open('GET', ['events'], { query: { after: this.last || undefined, kinds: 'operation.step,*' }, headers: { Accept: 'text/event-stream' }, signal });
      heard = Date.now();
      patience = doubt.open;
      this.last ||= Number(res.headers.get('X-Event-Id') ?? 0);
      this.#tell({ connected: true });
      this.#retry = 500;
      for await (const one of events(res)) {
        heard = Date.now();
        if (one.data) this.#tell({ event: JSON.parse(one.data) as Event });
        if (one.id) this.last = Number(one.id);
      }
    } catch (e) {
      if (stop.aborted) return;
      this.#refused = e instanceof Problem && e.status !== 0;
      if (!silent.signal.aborted && !(e instanceof Problem && e.status === 0)) console.warn('events', e);
    } finally {
      clearInterval(watch);
    }
    this.#tell({ connected: false });
    await new Promise<void>((go) => {
      const t = setTimeout(go, this.#retry * (0.75 + Math.random() / 2));
      this.#hurry = () => {
        clearTimeout(t);
        this.#retry = 250;
        go();
      };
    });
    this.#hurry = null;
    this.#retry = Math.min(this.#retry * 2, 8000);
  }

  /** Takes what the stream says, and tells the other pages. */
  #tell(what: { event?: Event; connected?: boolean }) {
    this.#channel.postMessage(what);
    if (what.event) this.#take(what.event);
    if (what.connected !== undefined) this.#state(what.connected);
  }

  #state(connected: boolean) {
    if (connected === this.connected) return;
    this.since = connected ? null : new Date();
    this.connected = connected;
  }

  #take(e: Event) {
    this.last = Math.max(this.last, e.id ?? 0);
    if (e.kind === 'reset') {
      for (const kind of this.#loading.keys()) this.#loading.set(kind, this.#load(kind));
      return;
    }
    if (e.kind !== 'operation.step') {
      this.#fresh.push(e);
      if (this.#fresh.length === 1) {
        requestIdle(() => {
          this.recent = [...this.#fresh.reverse(), ...this.recent].slice(0, keepEvents);
          this.#fresh = [];
        });
      }
    }
    this.#apply(e);
    for (const f of this.#heard) f(e);
  }

  /** Makes what is known of the object of an event true. */
  #apply(e: Event) {
    const [noun, verb] = e.kind.split('.') as [string, string];
    switch (noun) {
      case 'board':
      case 'bridge':
      case 'network':
      case 'service':
      case 'fleet':
      case 'lease':
      case 'offer':
      case 'plugin':
      case 'rollout':
      case 'operation':
      case 'agent': {
        const kind = (noun + 's') as Kind;
        if (noun === 'lease' && this.#loading.has('boards')) this.#leaseSoon();
        if (noun === 'agent' && verb === 'away' && this.#loading.has('boards')) this.#loading.set('boards', this.#load('boards')); // of thousands at once, told in one
        if (!this.#loading.has(kind)) return;
        this.#meanwhile.get(kind)?.add(e.object);
        if (kind === 'operations' && older(e.data, this.operations.get(e.object))) return;
        if (verb === 'deleted' || verb === 'hidden') this.#of(kind).delete(e.object);
        else if (e.kind === 'rollout.board') this.#touch(kind, e.object); // its data are of the board
        else if (isFields(e.data) && this.#of(kind).has(e.object)) this.#of(kind).merge(e.object, e.data);
        else this.#touch(kind, e.object);
        if (noun === 'board' && verb !== 'online' && verb !== 'offline') for (const f of this.fleets.list) this.#touch('fleets', f.id); // who is a member goes by labels
        return;
      }
      case 'port': // a bridge is shown with its ports
        for (const b of this.bridges.list) {
          const ports = b.ports ?? [];
          if (!ports.some((p) => p.id === e.object)) continue;
          if (isFields(e.data)) this.bridges.merge(b.id, { ports: ports.map((p) => (p.id === e.object ? { ...p, ...(e.data as object) } : p)) } as Partial<Bridge>);
          else this.#touch('bridges', b.id);
        }
        return;
      case 'cloud':
        for (const kind of this.#loading.keys()) this.#loading.set(kind, this.#load(kind));
    }
  }

  /** Has an object read anew, soon, with others. */
  #touch(kind: Kind, id: string) {
    if (!this.#loading.has(kind)) return;
    let ids = this.#dirty.get(kind);
    if (!ids) this.#dirty.set(kind, (ids = new Set()));
    ids.add(id);
    if (this.#reading) return;
    this.#reading = true;
    setTimeout(() => void this.#readDirty(), 50);
  }

  async #readDirty() {
    const dirty = this.#dirty;
    this.#dirty = new Map();
    await Promise.all(
      [...dirty].map(async ([kind, ids]) => {
        try {
          if (ids.size > readOneByOne) await this.#load(kind);
          else await Promise.all([...ids].map((id) => this.#readOne(kind, id)));
        } catch {
          // The stream comes again, and then everything is read.
        }
      }),
    );
    this.#reading = false;
    for (const [kind, ids] of this.#dirty) for (const id of ids) return this.#touch(kind, id);
  }

  async #readOne(kind: Kind, id: string) {
    const of = this.#of(kind);
    try {
      const { body } = await call<Objects[typeof kind]>('GET', [kinds[kind].path, id]);
      of.put(body as never);
    } catch (e) {
      if (e instanceof Problem && e.status === 404) of.delete(id);
      else throw e;
    }
  }

  async #load(kind: Kind): Promise<void> {
    const of = this.#of(kind);
    const seen = new Set<string>();
    const meanwhile = new Set<string>();
    this.#meanwhile.set(kind, meanwhile);
    try {
      const asOf = await pages<Identified>([kinds[kind].path], { fields: kinds[kind].fields || undefined, limit: kind === 'boards' ? 2000 : undefined }, (items) => {
        for (const i of items) seen.add(i.id);
        of.put(...(items as never[]));
      });
      if (kind === 'boards') for (const b of await this.#leased()) seen.add(b.id);
      of.keep((id) => seen.has(id) || meanwhile.has(id));
      of.complete = true;
      of.problem = null;
      if (!this.last) this.last = asOf;
    } catch (e) {
      if (!(e instanceof Problem)) throw e;
      of.problem = e;
      this.#loading.delete(kind);
    } finally {
      this.#meanwhile.delete(kind);
    }
    for (const id of meanwhile) this.#touch(kind, id);
  }

  /** Reads the boards that are leased to the project: they are among its boards, each with its lease. */
  async #leased(): Promise<Board[]> {
    const all: Board[] = [];
    await pages<Board>(['boards'], { leased: 'true', fields: kinds.boards.fields, limit: 2000 }, (items) => all.push(...items));
    this.boards.put(...(all as (Board & Identified)[]));
    return all;
  }

  /** Has them read anew, soon: a lease began, ended or changed. */
  #leaseSoon() {
    this.#leaseDue ??= setTimeout(async () => {
      this.#leaseDue = undefined;
      try {
        const now = new Set((await this.#leased()).map((b) => b.id));
        for (const b of this.boards.list) if (b.lease && !now.has(b.id)) this.#touch('boards', b.id);
      } catch {
        // The stream comes again, and then everything is read.
      }
    }, 100);
  }
  #leaseDue: ReturnType<typeof setTimeout> | undefined;

  #of<K extends Kind>(kind: K): Collection<Objects[K] & Identified> {
    return this[kind] as unknown as Collection<Objects[K] & Identified>;
  }
}

function isFields(data: unknown): data is Record<string, unknown> & object {
  return typeof data === 'object' && data !== null && !Array.isArray(data) && 'id' in data;
}

/** Whether what an event says of an operation is from before what is known: the answer to a long poll may come first. */
function older(data: unknown, known: Operation | undefined): boolean {
  return isFields(data) && Array.isArray(data.steps) && data.steps.length < (known?.steps?.length ?? 0);
}

function requestIdle(f: () => void) {
  if (document.visibilityState === 'visible') requestAnimationFrame(f);
  else setTimeout(f, 500);
}

export const live = new Live();
