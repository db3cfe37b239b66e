/** Events from before a page was opened: they are told forward only, and of each project so many are kept. */
import { call, get, type Event } from './api.ts';

/** Id of the newest event. */
export async function newestId(): Promise<number> {
  const { headers } = await call<Event[]>('GET', ['events'], { query: { limit: 1 } });
  return Number(headers.get('X-Event-Id') ?? 0);
}

/** The newest events, oldest first: those with the last n ids, of which some may be others'. */
export async function newest(n: number): Promise<Event[]> {
  const last = await newestId();
  return (await get<Event[] | null>(['events'], { after: Math.max(0, last - n), limit: Math.min(n, 500) }) ?? []).filter((e) => e.kind !== 'reset');
}

/** Events of the last n ids, page by page; it ends where more is not asked for. */
export async function past(n: number, signal: AbortSignal): Promise<Event[]> {
  const last = await newestId();
  const out: Event[] = [];
  for (let after = Math.max(0, last - n); !signal.aborted && after < last; ) {
    const page = (await get<Event[] | null>(['events'], { after, limit: 500 }, signal)) ?? [];
    if (!page.length) break;
    out.push(...page.filter((e) => e.kind !== 'reset'));
    const to = page.at(-1)!.id;
    if (to <= after) break;
    after = to;
  }
  return out;
}
