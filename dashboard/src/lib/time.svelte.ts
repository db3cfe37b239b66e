/** Times as people say them. One clock for all that is shown, by the second while the page is seen. */
let now = $state(Date.now());
setInterval(() => {
  if (document.visibilityState === 'visible') now = Date.now();
}, 1000);
document.addEventListener('visibilitychange', () => (now = Date.now()));

/** The time, reactive. */
export const clock = () => now;

/** How long a span is: "3 min"; ms. */
export function span(ms: number): string {
  const s = Math.max(0, ms) / 1000;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min`;
  if (s < 36 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

/** How long ago a time is, to the second that is shown: "just now", "3 min ago". */
export function ago(at: string | number | Date): string {
  const ms = now - new Date(at).getTime();
  if (ms < -1500) return 'in ' + span(-ms);
  return ms < 1500 ? 'just now' : span(Math.floor(ms / 1000) * 1000) + ' ago';
}

// Made when it is asked for: what Intl makes takes tens of ms of a small computer's start.
let full: Intl.DateTimeFormat | undefined;
/** A time in full, as the browser's user writes it. */
export const inFull = (at: string | number | Date) => (full ??= new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })).format(new Date(at));

/** Bytes as people say them, decimal as disks and networks count. */
export function bytes(n: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) {
    n /= 1000;
    i++;
  }
  return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[i]}`;
}

/** A whole number, by thousands. */
export const count = (n: number) => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ',');
