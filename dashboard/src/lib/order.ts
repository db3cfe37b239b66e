/** The order of names as people count: "node2" before "node10", upper and lower case alike. A collator of
 * Intl does the same, and takes 100 ms of a small computer's start to be made. */
export function compare(a: string, b: string): number {
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    let x = a.charCodeAt(i);
    let y = b.charCodeAt(j);
    if (digit(x) && digit(y)) {
      const [m, n] = [zeros(a, i), zeros(b, j)];
      const [k, l] = [digits(a, m), digits(b, n)];
      if (k - m !== l - n) return k - m - (l - n);
      for (let d = 0; d < k - m; d++) {
        const by = a.charCodeAt(m + d) - b.charCodeAt(n + d);
        if (by) return by;
      }
      i = k;
      j = l;
      continue;
    }
    x = lower(x);
    y = lower(y);
    if (x !== y) return x - y;
    i++;
    j++;
  }
  return a.length - i - (b.length - j) || (a < b ? -1 : a > b ? 1 : 0);
}

/** The order of times, earliest first; what has none was before all. */
export const byTime = (a?: string | null, b?: string | null) => (Date.parse(a ?? '') || 0) - (Date.parse(b ?? '') || 0);

const digit = (c: number) => c >= 48 && c <= 57;
const lower = (c: number) => (c >= 65 && c <= 90 ? c + 32 : c);

/** Where the zeros end that are at i. */
function zeros(s: string, i: number): number {
  while (s.charCodeAt(i) === 48) i++;
  return i;
}

/** Where the digits end that are at i. */
function digits(s: string, i: number): number {
  while (digit(s.charCodeAt(i))) i++;
  return i;
}
