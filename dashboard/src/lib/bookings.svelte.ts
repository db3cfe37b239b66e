/** The calendars of boards in a time: read page by page, and anew when something happens to a lease or an offer. What
 * happens to leases that one does not see no event tells: they are read now and then. */
import { pages, type BoardCalendar } from './api.ts';
import type { Span } from './calendar.ts';
import { live } from './live.svelte.ts';

/** How often they are read where no event comes, ms. */
const every = 30_000;

export class Bookings {
  boards = $state.raw<BoardCalendar[]>([]);
  /** The time that they are of; null: nothing was read yet. */
  of = $state.raw<Span | null>(null);
  problem = $state.raw<unknown>(null);
  busy = $state(false);
  #turn = 0;

  /** Reads what is booked in a time, and follows it until the answer is called. */
  follow(s: Span): () => void {
    const stop = new AbortController();
    let due: ReturnType<typeof setTimeout> | undefined;
    let reading = false;
    let again = false;
    // One at a time: where much happens the one that is under way comes to its end.
    const read = async () => {
      again = reading;
      if (reading) return;
      reading = true;
      do {
        again = false;
        await this.#read(s, stop.signal);
      } while (again && !stop.signal.aborted);
      reading = false;
    };
    const soon = (ms: number) => {
      due ??= setTimeout(() => {
        due = undefined;
        void read();
      }, ms);
    };
    void read();
    const off = live.on((e) => {
      if (/^(lease|offer|board)\./.test(e.kind)) soon(e.kind.startsWith('board') ? 5000 : 60);
    });
    const timer = setInterval(() => document.visibilityState === 'visible' && soon(0), every);
    return () => {
      stop.abort();
      off();
      clearTimeout(due);
      clearInterval(timer);
    };
  }

  async #read(s: Span, signal: AbortSignal) {
    const turn = ++this.#turn;
    this.busy = true;
    const first = !this.of || this.of.from !== s.from || this.of.until !== s.until;
    const all: BoardCalendar[] = [];
    try {
      await pages<BoardCalendar>(['bookings'], { from: new Date(s.from).toISOString(), until: new Date(s.until).toISOString() }, (items) => {
        all.push(...items);
        if (first && turn === this.#turn) this.#show(all.slice(), s); // the first ones are seen while the rest comes
      }, signal);
      if (turn !== this.#turn) return;
      this.#show(all, s);
      this.problem = null;
    } catch (e) {
      if (turn === this.#turn && !signal.aborted) this.problem = e;
    } finally {
      if (turn === this.#turn) this.busy = false;
    }
  }

  #show(boards: BoardCalendar[], s: Span) {
    this.boards = boards;
    this.of = s;
  }
}
