/** The session of this browser: a cookie that no script sees, and a half that is kept here. Each
 * alone is worth nothing; see docs/security.md. */
import { call, Problem, type Session } from './api.ts';
import { base } from './base.ts';

const key = 's4t-session:' + base.pathname;

type State = 'unknown' | 'none' | 'expired' | 'open';

class Sessions {
  /** Of the session; what the API is told. */
  half = $state('');
  state = $state<State>('unknown');
  who = $state.raw<Session | null>(null);
  /** What who sits here is asked: whether to go on as who made a link, though somebody else is logged in. */
  asked = $state.raw<{ user: string; project: string; answer: (yes: boolean) => void } | null>(null);
  #waiting: (() => void)[] = [];

  constructor() {
    this.half = stored();
    addEventListener('storage', (e) => {
      if (e.key !== key) return;
      this.half = stored();
      if (!this.half) this.#ended();
      else void this.begin();
    });
  }

  /** Finds out who this is: by a code in the URL, which is taken out of it first, or by what is kept. */
  async begin(): Promise<void> {
    const code = /^#login=([\w-]{1,64})$/.exec(location.hash)?.[1];
    if (code) history.replaceState(null, '', location.pathname + location.search);
    if (!this.half && !code) {
      this.state = 'none';
      return;
    }
    if (this.half) {
      try {
        const body = (await asked()) ?? (await call<Session>('GET', ['session'], { anonymous: true })).body;
        this.#opened({ ...body, session: this.half });
        if (!code || !(await this.#instead(body))) return;
      } catch (e) {
        if (!(e instanceof Problem && e.status === 401)) throw e;
        if (!code) {
          this.#ended();
          return;
        }
      }
    }
    await this.login({ code: code! });
  }

  /** Asks whether somebody else is to be logged in here. */
  async #instead(now: Session): Promise<boolean> {
    const yes = await new Promise<boolean>((answer) => {
      this.asked = { user: now.user, project: now.project_name ?? now.project ?? '', answer };
    });
    this.asked = null;
    return yes;
  }

  /** Logs in, and lets what waited for it go on. Throws a [Problem] where it is refused. */
  async login(by: { user: string; password: string; project?: string } | { code: string }): Promise<void> {
    const { body } = await call<Session>('POST', ['session'], { body: by, anonymous: true });
    this.#opened(body);
  }

  /** Ends the session, here and at the cloud. */
  async logout(): Promise<void> {
    try {
      await call('DELETE', ['session'], { anonymous: true });
    } finally {
      this.half = '';
      store('');
      location.assign(base);
    }
  }

  /** Waits until somebody has logged in again: the session has ended. */
  again(): Promise<void> {
    if (this.state === 'open') this.state = 'expired';
    else if (this.state === 'unknown') this.state = 'none';
    return new Promise((go) => this.#waiting.push(go));
  }

  #opened(s: Session) {
    // Another user's pages are not this one's.
    if (this.who && (this.who.user !== s.user || this.who.project !== s.project)) location.assign(base);
    if (s.session) {
      this.half = s.session;
      store(s.session);
    }
    this.who = { ...s, session: undefined };
    this.state = 'open';
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }

  #ended() {
    this.state = this.who ? 'expired' : 'none';
  }

  /** Whether the role of who is logged in covers another. */
  may(role: 'reader' | 'member' | 'manager' | 'admin'): boolean {
    const roles = ['reader', 'member', 'manager', 'admin'];
    return roles.indexOf(this.who?.role ?? '') >= roles.indexOf(role);
  }
}

/** Who this is, where public/theme.js has asked already and was told. */
async function asked(): Promise<Session | null> {
  const page = globalThis as { s4tSession?: Promise<Response> };
  const answer = page.s4tSession;
  delete page.s4tSession;
  try {
    const res = await answer;
    return res?.ok ? ((await res.json()) as Session) : null;
  } catch {
    return null;
  }
}

function stored(): string {
  try {
    return localStorage.getItem(key) ?? '';
  } catch {
    return '';
  }
}

function store(half: string) {
  try {
    if (half) localStorage.setItem(key, half);
    else localStorage.removeItem(key);
  } catch {
    // It lasts as long as this page.
  }
}

export const session = new Sessions();
