/** What is said of leases and offers. */
import type { Lease } from './api.ts';

/** What a lease may be for, with what each lets one do. */
export const actions: [string, string][] = [
  ['ssh', 'SSH, and a terminal'],
  ['service', 'other services'],
  ['bridge', 'networks'],
  ['pins', 'pins'],
  ['commands', 'commands'],
  ['plugins', 'plugins'],
];

export const isOver = (l: { status?: string }): boolean => l.status !== 'pending' && l.status !== 'active';

let short: Intl.DateTimeFormat | undefined;
let dayOf: Intl.DateTimeFormat | undefined;
/** A time without seconds, with its day: "Tue, 1 Dec, 14:00". */
export const when = (at: number | string): string =>
  (short ??= new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' })).format(new Date(at));
/** A day: "Tue, 1 Dec". */
export const dayName = (at: number): string => (dayOf ??= new Intl.DateTimeFormat(undefined, { weekday: 'short', day: 'numeric', month: 'short' })).format(at);

const clocks = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
export const clockTime = (at: number): string => clocks.format(at);

/** From when until when, short where both are on one day. */
export function windowText(from: number | string, until: number | string): string {
  const [a, b] = [new Date(from), new Date(until)];
  return when(from) + ' – ' + (a.toDateString() === b.toDateString() ? clockTime(b.getTime()) : when(until));
}

/** The share of which lease a lease is, as far as it is known. */
export const above = (l: Lease, all: Lease[]): Lease | undefined => (l.parent ? all.find((x) => x.id === l.parent) : undefined);
