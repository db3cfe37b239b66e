/** Something that is read for one view: what came last, whether it is on its way, what went wrong. */
export class Loading<T> {
  value = $state.raw<T | undefined>(undefined);
  problem = $state.raw<unknown>(null);
  busy = $state(false);
  #turn = 0;

  /** Reads; of two that overlap the later one counts. */
  async read(from: () => Promise<T>): Promise<void> {
    const turn = ++this.#turn;
    this.busy = true;
    try {
      const value = await from();
      if (turn !== this.#turn) return;
      this.value = value;
      this.problem = null;
    } catch (e) {
      if (turn === this.#turn) this.problem = e;
    } finally {
      if (turn === this.#turn) this.busy = false;
    }
  }
}
