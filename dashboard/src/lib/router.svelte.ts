/** Where the page is: every view is a URL below the cloud's own, and Back restores it. */
import { base } from './base.ts';

class Router {
  /** Path below the cloud's URL, without a slash at its begin: "boards/kitchen/pins". */
  path = $state('');
  query = $state.raw(new URLSearchParams());
  /** Counts what was gone to; who scrolls or moves the focus goes by it. */
  visits = $state(0);

  /** How far down the view was when it was left; Back goes there again. */
  scrolled = 0;
  #entry = 0; // of the history, which this is
  #entries = 0;
  #left = new Map<number, number>();
  #untold: ReturnType<typeof setTimeout> | undefined; // until the URL has the query

  constructor() {
    history.scrollRestoration = 'manual';
    this.#read();
    addEventListener('popstate', (e) => {
      clearTimeout(this.#untold); // it was of the entry that was left
      this.#untold = undefined;
      this.#left.set(this.#entry, scrollY);
      this.#entry = (e.state as { entry?: number } | null)?.entry ?? 0;
      this.scrolled = this.#left.get(this.#entry) ?? 0;
      this.#read();
    });
    addEventListener('click', (e) => this.#click(e));
    addEventListener('pagehide', () => this.#tell());
  }

  get parts(): string[] {
    return this.path.split('/').filter(Boolean).map(decode);
  }

  /** Goes to a path below the cloud's URL. */
  go(to: string, how: { replace?: boolean } = {}) {
    this.#tell();
    const url = new URL(to, base);
    if (how.replace) history.replaceState({ entry: this.#entry }, '', url);
    else {
      this.#left.set(this.#entry, scrollY);
      this.#entry = ++this.#entries;
      this.scrolled = 0;
      history.pushState({ entry: this.#entry }, '', url);
    }
    this.#read(!how.replace);
  }

  /** Sets parameters of this view; empty ones are left out. Typing makes no history, and the URL follows in a moment:
   * at each change of it browsers ask for the page's icon again, and take the time of some frames. */
  set(values: Record<string, string>) {
    const query = new URLSearchParams(this.query);
    for (const [k, v] of Object.entries(values)) {
      if (v) query.set(k, v);
      else query.delete(k);
    }
    this.query = query;
    this.#untold ??= setTimeout(() => this.#tell(), 200);
  }

  #tell() {
    if (this.#untold === undefined) return;
    clearTimeout(this.#untold);
    this.#untold = undefined;
    const text = this.query.toString();
    history.replaceState({ entry: this.#entry }, '', new URL(this.path + (text ? '?' + text : ''), base));
  }

  #read(visit = true) {
    this.path = location.pathname.startsWith(base.pathname) ? location.pathname.slice(base.pathname.length) : '';
    this.query = new URLSearchParams(location.search);
    if (visit) this.visits++;
  }

  #click(e: MouseEvent) {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const a = (e.target as Element | null)?.closest?.('a');
    if (!a || a.target || a.hasAttribute('download') || a.dataset.out !== undefined) return;
    const url = new URL(a.href);
    if (url.origin !== base.origin || !url.pathname.startsWith(base.pathname) || url.pathname.startsWith(base.pathname + 'v1/')) return;
    e.preventDefault();
    this.go(url.pathname.slice(base.pathname.length) + url.search);
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const router = new Router();

/** A link below the cloud's URL, its elements escaped. */
export function link(...parts: string[]): string {
  return parts.map(encodeURIComponent).join('/') || './';
}
