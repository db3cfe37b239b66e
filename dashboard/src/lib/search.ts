/** The words that find boards: `status:offline label:site=messina !type:yun seen:>1d kitchen`. All of
 * them hold; `!` before one means that it does not; `,` between values means any of them. */
import type { Board } from './api.ts';

export interface Term {
  not: boolean;
  key: string; // empty: anywhere in name, type, labels
  values: string[];
  text: string; // as it was written
}

/** The keys, with what each is for and values that are offered besides those that boards have. */
export const keys: Record<string, { about: string; values?: string[] }> = {
  status: { about: 'online, offline or registered', values: ['online', 'offline', 'registered'] },
  label: { about: 'a label, K or K=V' },
  type: { about: 'the type of the board' },
  name: { about: 'part of the name' },
  seen: { about: 'last seen, longer ago (>1d) or since (<1h)', values: ['>1h', '>1d', '>7d', '<1h'] },
  version: { about: 'version of lightning-rod' },
  arch: { about: 'processor' },
  agent: { about: 'WAMP or tunnel agent' },
  problem: { about: 'what the board says stands in the way; * is any', values: ['*'] },
  bridge: { about: 'boards on a bridge' },
};

/** Reads a search. Words in double quotes are one word. What is no key is looked for as it is. */
export function parse(text: string): Term[] {
  const terms: Term[] = [];
  for (const m of text.matchAll(/(!|-(?=\w+:))?(?:(\w+):)?("[^"]*"?|\S+)/g)) {
    const known = m[2] !== undefined && Object.hasOwn(keys, m[2]);
    let value = m[3]!.replace(/^"|"$/g, '');
    if (m[2] !== undefined && !known) value = m[2] + ':' + value;
    if (!value) continue;
    terms.push({ not: m[1] !== undefined, key: known ? m[2]! : '', values: (known ? value.split(',') : [value]).filter(Boolean).map((v) => v.toLowerCase()), text: m[0] });
  }
  return terms;
}

/** A duration like 90s, 15m, 2h, 1d or 1w in milliseconds; NaN where it is none. */
export function duration(text: string): number {
  const m = /^(\d+(?:\.\d+)?)(s|m|h|d|w)$/.exec(text);
  if (!m) return NaN;
  const unit = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3, w: 7 * 86400e3 }[m[2] as 's' | 'm' | 'h' | 'd' | 'w'];
  return Number(m[1]) * unit;
}

/** What a filter needs besides the board. */
export interface Around {
  now: number; // ms
  bridgesOf: (board: string) => string[]; // names of the bridges that a board is on, by its id
}

/** Makes the filter of a search. */
export function filter(text: string, around: Around): (b: Board) => boolean {
  const terms = parse(text).map((t) => ({ not: t.not, is: matcher(t, around) }));
  return (b) => terms.every((t) => t.is(b) !== t.not);
}

function matcher(t: Term, around: Around): (b: Board) => boolean {
  const any = (f: (v: string) => boolean) => t.values.some(f);
  switch (t.key) {
    case 'status':
      return (b) => any((v) => b.status === v);
    case 'type':
      return (b) => any((v) => (b.type ?? '').toLowerCase() === v);
    case 'name':
      return (b) => any((v) => b.name.toLowerCase().includes(v));
    case 'label':
      return (b) => any((v) => {
        const [k, want] = cut(v, '=');
        return Object.entries(b.labels ?? {}).some(([key, value]) => key.toLowerCase() === k && (want === undefined || value.toLowerCase() === want));
      });
    case 'version':
      return (b) => any((v) => (b.info?.version ?? '').toLowerCase().startsWith(v));
    case 'arch':
      return (b) => any((v) => (b.info?.arch ?? '').toLowerCase() === v);
    case 'agent':
      return (b) => any((v) => (b.wamp_agent ?? '').toLowerCase() === v || (b.tunnel_agent ?? '').toLowerCase() === v);
    case 'problem':
      return (b) => any((v) => (b.problems ?? []).some((p) => v === '*' || p.toLowerCase().includes(v)));
    case 'bridge':
      return (b) => any((v) => around.bridgesOf(b.id).some((n) => n.toLowerCase() === v));
    case 'seen':
      return (b) => any((v) => {
        const ms = duration(v.replace(/^[<>]/, ''));
        if (Number.isNaN(ms)) return false;
        if (b.status === 'online') return v.startsWith('<');
        if (!b.last_seen) return v.startsWith('>');
        const ago = around.now - Date.parse(b.last_seen);
        return v.startsWith('<') ? ago < ms : ago >= ms;
      });
    default:
      return (b) => {
        const text = textOf(b);
        return any((v) => text.includes(v));
      };
  }
}

/** Name, type and labels of each board in small letters, a line each, for as long as the board is as it is:
 * thousands are sifted at every key that is pressed. */
const texts = new WeakMap<Board, string>();

function textOf(b: Board): string {
  let text = texts.get(b);
  if (text === undefined) {
    text = b.name + '\n' + (b.type ?? '');
    for (const k in b.labels) text += '\n' + k + '=' + b.labels[k];
    texts.set(b, (text = text.toLowerCase()));
  }
  return text;
}

/** What of boards there is most of, as words that narrow a search, with how many are like that; those
 * that were chosen stay, the others are left out where all are like that. */
export function facetsOf(boards: Board[], chosen: string[], most = 12): [string, number][] {
  const counts = new Map<string, Map<string, number>>(); // by what is before the value: a text is made of few
  const add = (key: string, value: string) => {
    let of = counts.get(key);
    if (!of) counts.set(key, (of = new Map()));
    of.set(value, (of.get(value) ?? 0) + 1);
  };
  for (const b of boards) {
    add('status:', b.status);
    if (b.type) add('type:', b.type);
    for (const k in b.labels) add('label:' + k + '=', b.labels[k]!);
    if (b.problems?.length) add('problem:', '*');
  }
  const all: [string, number][] = [];
  for (const [key, of] of counts) for (const [value, n] of of) all.push([key.startsWith('label:') ? quoted(key + value) : key + quoted(value), n]);
  const first = (t: string) => (t.startsWith('problem:') ? 0 : t.startsWith('status:') ? 1 : 2);
  return all.filter(([t, n]) => chosen.includes(t) || n < boards.length).sort((a, b) => first(a[0]) - first(b[0]) || b[1] - a[1]).slice(0, most);
}

function cut(s: string, sep: string): [string, string | undefined] {
  const i = s.indexOf(sep);
  return i < 0 ? [s, undefined] : [s.slice(0, i), s.slice(i + 1)];
}

/** Puts a term into a search, or takes it out where it is there. */
export function toggle(text: string, term: string): string {
  const words = parse(text).map((t) => t.text);
  const i = words.indexOf(term);
  if (i >= 0) words.splice(i, 1);
  else words.push(term);
  return words.join(' ');
}

/** A value as it is written in a search. */
export const quoted = (v: string) => (/\s/.test(v) ? `"${v}"` : v);
