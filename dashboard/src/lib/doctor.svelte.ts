/** What the doctor says of boards: asked two at a time, and anew where a board's status has changed. */
import { get, type Board } from './api.ts';
import { clock } from './time.svelte.ts';

export interface Finding {
  id?: string;
  check: string;
  level: 'ok' | 'warning' | 'error';
  cause: string;
  cure?: string;
  certain: boolean;
}

const stale = 5 * 60_000; // ms
const inFlight = 2;

class Doctor {
  #found = $state.raw(new Map<string, Finding[]>());
  #asked = new Map<string, { as: string; at: number }>();
  #queue: Board[] = [];
  #running = 0;

  /** What is wrong with a board, the worst first; undefined: it is not known yet. Reactive. */
  of(id: string): Finding[] | undefined {
    return this.#found.get(id);
  }

  /** Has boards examined, where that was not done since they changed. */
  examine(boards: Board[]): void {
    for (const b of boards) {
      const as = b.status + (b.problems ?? []).join();
      const was = this.#asked.get(b.id);
      if (was && was.as === as && clock() - was.at < stale) continue;
      this.#asked.set(b.id, { as, at: clock() });
      this.#queue.push(b);
    }
    while (this.#running < inFlight && this.#queue.length) void this.#next();
  }

  async #next() {
    this.#running++;
    for (let b = this.#queue.shift(); b; b = this.#queue.shift()) {
      try {
        const report = await get<{ findings: Finding[] | null }>(['boards', b.id, 'doctor']);
        this.#found = new Map(this.#found).set(b.id, wrong(report.findings));
      } catch {
        this.#asked.delete(b.id); // whoever looks again asks again
      }
    }
    this.#running--;
  }
}

/** The findings that are not well, errors first. */
export function wrong(findings: Finding[] | null | undefined): Finding[] {
  return (findings ?? []).filter((f) => f.level !== 'ok').sort((a, b) => Number(b.level === 'error') - Number(a.level === 'error'));
}

/** Text of the doctor with its `code` apart: odd parts are code. Times in it are for people. */
export const spoken = (text: string): string[] => text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, (t) => new Date(t).toLocaleString()).split('`');

export const doctor = new Doctor();
