/** When a board was there, day by day: a strip of the last ones. */
export interface Outage {
  began: string;
  ended?: string;
  reason: string;
  likely?: boolean;
  detail?: string;
}

export interface Day {
  from: number; // ms
  to: number;
  there: number; // part of it, 0 to 1; NaN: the board was not known yet
  gone: { from: number; to: number; of: Outage }[];
}

const hour = 3600e3;

/** The last days, the oldest first. Days are local ones; the last ends now. */
export function days(outages: Outage[], made: number, now: number, n = 30): Day[] {
  const out: Day[] = [];
  const spans = outages.map((of) => ({ from: Date.parse(of.began), to: of.ended ? Date.parse(of.ended) : now, of }));
  const today = new Date(now);
  today.setHours(0, 0, 0, 0);
  for (let i = n - 1; i >= 0; i--) {
    const day = new Date(today);
    day.setDate(day.getDate() - i);
    const next = new Date(day);
    next.setDate(next.getDate() + 1);
    const from = Math.max(day.getTime(), made);
    const to = Math.min(next.getTime(), now);
    if (to <= from) {
      out.push({ from: day.getTime(), to: next.getTime(), there: NaN, gone: [] });
      continue;
    }
    const gone = spans.filter((s) => s.from < to && s.to > from).map((s) => ({ ...s, from: Math.max(s.from, from), to: Math.min(s.to, to) }));
    const away = gone.reduce((sum, g) => sum + (g.to - g.from), 0);
    out.push({ from: day.getTime(), to: next.getTime(), there: Math.max(0, 1 - away / (to - from)), gone });
  }
  return out;
}

/** How a day looks: all there, away for minutes, for longer, or not known. */
export const look = (d: Day): 'none' | 'ok' | 'warn' | 'bad' => (Number.isNaN(d.there) ? 'none' : !d.gone.length ? 'ok' : d.gone.reduce((sum, g) => sum + g.to - g.from, 0) < hour ? 'warn' : 'bad');
