/** What passes the ports of networks that are looked at, and what guards drop there: read every few seconds
 * while somebody sees it. */
import { get, type Port } from '../../lib/api.ts';

export interface Rate {
  from: number; // bytes a second that the board sends
  to: number; // bytes a second that it gets
  dropped: number; // frames a second
  guard: string; // that drops most
}

const every = 5000; // ms
const most = 12; // networks at a time

/** What a guard is called. */
export const guards: Record<string, string> = {
  spoofed_mac: 'source MAC', spoofed_arp: 'ARP', spoofed_nd: 'neighbour discovery', spoofed_ip: 'source IP', dhcp_server: 'DHCP server', router_advertisement: 'router advertisement', bpdu: 'spanning tree',
  storm: 'storm', mac_limit: 'too many MACs', loop: 'loop', queue_full: 'queue full', invalid: 'malformed', no_destination: 'no destination',
};

/** Drops of a port by guard, those above 0, most first. */
export const dropped = (p: Port): [string, number][] =>
  Object.entries((p.counters?.dropped ?? {}) as Record<string, number>).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);

interface Seen {
  at: number; // ms
  port: Port;
}

/** The rate between two looks at a port; null where there is none: counters begin anew with a port. */
export function rateOf(was: Seen, now: Seen): Rate | null {
  const a = was.port.counters;
  const b = now.port.counters;
  const s = (now.at - was.at) / 1000;
  if (!a || !b || s <= 0 || b.rx_bytes < a.rx_bytes || b.tx_bytes < a.tx_bytes) return null;
  const before = (a.dropped ?? {}) as Record<string, number>;
  const grown = Object.entries((b.dropped ?? {}) as Record<string, number>).map(([k, n]) => [k, n - (before[k] ?? 0)] as const).filter(([, n]) => n > 0).sort((x, y) => y[1] - x[1]);
  return { from: (b.rx_bytes - a.rx_bytes) / s, to: (b.tx_bytes - a.tx_bytes) / s, dropped: grown.reduce((sum, [, n]) => sum + n, 0) / s, guard: grown[0]?.[0] ?? '' };
}

export class Traffic {
  /** By port. */
  rates = $state.raw(new Map<string, Rate>());
  #seen = new Map<string, Seen>();

  /** Looks at networks, until the answer is called. */
  watch(networks: string[]): () => void {
    const stop = new AbortController();
    const look = async () => {
      if (document.visibilityState !== 'visible') return;
      const rates = new Map<string, Rate>();
      for (const id of networks.slice(0, most)) {
        try {
          const ports = await get<Port[]>(['networks', id, 'ports'], {}, stop.signal);
          for (const port of ports) {
            const now = { at: Date.now(), port };
            const was = this.#seen.get(port.id);
            const rate = was && rateOf(was, now);
            if (rate) rates.set(port.id, rate);
            this.#seen.set(port.id, now);
          }
        } catch {
          if (stop.signal.aborted) return; // otherwise: with the next look
        }
      }
      if (!stop.signal.aborted) this.rates = rates;
    };
    void look();
    const t = setInterval(() => void look(), every);
    return () => {
      stop.abort();
      clearInterval(t);
    };
  }
}
