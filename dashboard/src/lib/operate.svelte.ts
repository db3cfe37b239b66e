/** A change under way: its operation, read again at every step that is told. */
import { call, get, Problem, type Operation } from './api.ts';
import { live } from './live.svelte.ts';

export class Operating {
  operation = $state.raw<Operation | null>(null);
  problem = $state.raw<unknown>(null);
  /** When the last step was seen here, after it was told. */
  #stop: (() => void) | null = null;
  #reading = false;
  #again = false;

  get busy(): boolean {
    return this.operation !== null && !this.operation.ended_at;
  }

  /** Asks for a change, and follows its operation to the end. */
  async begin(ask: () => Promise<Operation>): Promise<void> {
    this.stop();
    this.problem = null;
    this.operation = null;
    try {
      this.follow(await ask());
    } catch (e) {
      this.problem = e;
    }
  }

  /** Follows one that there is. */
  follow(o: Operation) {
    this.stop();
    this.operation = o;
    live.operations.put(o);
    if (o.ended_at) return;
    this.#stop = live.on((e) => {
      if (!e.kind.startsWith('operation.') || e.object !== this.operation?.id) return;
      if (e.data && typeof e.data === 'object' && 'steps' in e.data) this.#show({ ...this.operation, ...(e.data as Partial<Operation>) });
      else void this.#read();
    });
    void this.#wait(o.id);
  }

  stop() {
    this.#stop?.();
    this.#stop = null;
  }

  #show(o: Operation) {
    if (this.operation && (o.steps?.length ?? 0) < (this.operation.steps?.length ?? 0)) return; // an older answer
    this.operation = o;
    live.operations.put(o);
    if (o.ended_at) this.stop();
  }

  async #read() {
    if (this.#reading) {
      this.#again = true;
      return;
    }
    this.#reading = true;
    do {
      this.#again = false;
      const id = this.operation?.id;
      if (!id) break;
      try {
        this.#show(await get<Operation>(['operations', id]));
      } catch (e) {
        if (!(e instanceof Problem)) throw e;
      }
    } while (this.#again);
    this.#reading = false;
  }

  /** A long poll besides the events: the API that answers it is who tells the user (step 10), so
   * that it goes on until it has said the end itself. */
  async #wait(id: string) {
    while (this.operation?.id === id) {
      try {
        const { body } = await call<Operation>('GET', ['operations', id], { query: { wait: '30s', steps: this.operation.steps?.length ?? 0 } });
        if (this.operation?.id !== id) return;
        this.#show(body);
        if (body.ended_at) return;
      } catch (e) {
        if (!(e instanceof Problem)) throw e;
        if (e.status && e.status < 500) {
          this.problem = e;
          return;
        }
        await new Promise((go) => setTimeout(go, 1000));
      }
    }
  }
}
