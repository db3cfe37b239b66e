/** Arithmetic of the calendar of bookings: times to places and back, by the clock of who looks. All times are ms of
 * Unix time; a day has as many hours as the clock gives it. */

export type View = 'day' | 'week' | 'month';
export const views: View[] = ['day', 'week', 'month'];

export interface Span {
  from: number;
  until: number; // without this instant
}

const minute = 60_000;
export const hour = 60 * minute;

/** The midnight at which the day of a time begins, and some days later. */
export function midnight(at: number, days = 0): number {
  const d = new Date(at);
  return new Date(d.getFullYear(), d.getMonth(), d.getDate() + days).getTime();
}

/** What a view shows that has a time in it: the day, its week from Monday, four weeks. */
export function shown(view: View, at: number): Span {
  if (view === 'day') return { from: midnight(at), until: midnight(at, 1) };
  const monday = midnight(at, -((new Date(at).getDay() + 6) % 7));
  return { from: monday, until: midnight(monday, view === 'week' ? 7 : 28) };
}

/** A time of what the view shows n times later, or earlier. */
export const moved = (view: View, at: number, n: number): number => midnight(at, n * { day: 1, week: 7, month: 28 }[view]);

/** Where a time is in a span, from 0 to 1. */
export const place = (s: Span, at: number): number => Math.min(1, Math.max(0, (at - s.from) / (s.until - s.from)));

/** The time at a place. */
export const timeAt = (s: Span, place: number): number => s.from + (s.until - s.from) * Math.min(1, Math.max(0, place));

/** To what times snap: a quarter of an hour, an hour, six hours. */
export const step = (view: View): number => ({ day: 15 * minute, week: hour, month: 6 * hour })[view];

/** How far the clock there is from UTC, ms. */
const offset = (at: number): number => -new Date(at).getTimezoneOffset() * minute;

/** The last round time, of the clock, that is not after a time. */
export function floor(at: number, step: number): number {
  const back = Math.floor((at + offset(at)) / step) * step - offset(at);
  // Over a change of the clock the offset there is another one.
  const there = back + offset(at) - offset(back);
  return there <= at ? there : back;
}

/** The first round time that is not before a time. */
export function ceil(at: number, step: number): number {
  const down = floor(at, step);
  return down === at ? at : floor(down + step + (offset(down) - offset(down + step)), step);
}

/** What is meant by a drag from one time to another: whole steps, one at least, in either direction, and not before now. */
export function dragged(a: number, b: number, step: number, now: number): Span {
  const from = Math.max(floor(Math.min(a, b), step), now);
  const until = ceil(Math.max(a, b), step);
  return { from, until: until > from ? until : ceil(from + 1, step) };
}

/** The parts of a span that are in none of some others, which are in order. */
export function without(s: Span, others: Span[]): Span[] {
  const out: Span[] = [];
  let at = s.from;
  for (const o of others) {
    if (o.from > at) out.push({ from: at, until: Math.min(o.from, s.until) });
    at = Math.max(at, o.until);
    if (at >= s.until) break;
  }
  if (at < s.until) out.push({ from: at, until: s.until });
  return out.filter((p) => p.until > p.from);
}

export const overlaps = (a: Span, b: Span): boolean => a.from < b.until && b.from < a.until;

/** Lanes for what stands side by side: the lane of each, and how many there are. */
export function lanes(all: Span[]): { lane: number[]; count: number } {
  const ends: number[] = [];
  const order = all.map((_, i) => i).sort((a, b) => all[a]!.from - all[b]!.from);
  const lane: number[] = new Array(all.length);
  for (const i of order) {
    const free = ends.findIndex((end) => end <= all[i]!.from);
    lane[i] = free < 0 ? ends.length : free;
    ends[lane[i]!] = all[i]!.until;
  }
  return { lane, count: Math.max(1, ends.length) };
}

/** The lines of a view, each with whether it has a name: days, and of a day its hours. */
export function ticks(view: View, s: Span): { at: number; day: boolean; named: boolean }[] {
  const out = [];
  if (view === 'day') {
    for (let at = s.from; at < s.until; at += hour) out.push({ at, day: at === s.from, named: new Date(at).getHours() % 3 === 0 });
  } else {
    for (let at = s.from, n = 0; at < s.until; at = midnight(at, 1), n++) out.push({ at, day: true, named: view === 'week' || n % 7 === 0 });
  }
  return out;
}

const two = (n: number) => String(n).padStart(2, '0');

/** A time as fields of forms have it, by the clock here: 2026-12-24T18:00. */
export function toField(at: number): string {
  const d = new Date(at);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}T${two(d.getHours())}:${two(d.getMinutes())}`;
}

/** The time of a field, or NaN. What the clock skips is what it would have been; what it shows twice is the first. */
export const fromField = (text: string): number => (/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text) ? new Date(text).getTime() : NaN);

/** The zone of the clock here at a time: "Europe/Rome, UTC+2". */
export function zone(at: number): string {
  const m = offset(at) / minute;
  const far = m === 0 ? '' : (m > 0 ? '+' : '−') + Math.floor(Math.abs(m) / 60) + (m % 60 ? ':' + two(Math.abs(m) % 60) : '');
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return name === 'UTC' ? name : `${name}, UTC${far}`;
}

/** A length of time as s4t takes it: "1h30m". */
export function length(ms: number): string {
  const m = Math.round(ms / 1000);
  const [h, min, s] = [Math.floor(m / 3600), Math.floor((m % 3600) / 60), m % 60];
  return (h ? h + 'h' : '') + (min ? min + 'm' : '') + (s || !m ? s + 's' : '');
}

/** The time that an error of the API names as free again, or NaN. */
export function freeFrom(hint: string): number {
  const found = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/.exec(hint);
  return found ? Date.parse(found[0]) : NaN;
}
