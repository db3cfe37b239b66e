/** Which element shows which row of a long list: a row keeps its element while it is seen, and one that
 * comes takes that of one that has gone. */
export class Slots {
  #of = new Map<string, number>();
  #free: number[] = [];
  #next = 0;

  /** The elements of the rows that are seen now, by their ids. That of the row `held` is not used for
   * another one, ever. */
  of(ids: string[], held?: string): number[] {
    const now = new Set(ids);
    for (const [id, slot] of this.#of) {
      if (now.has(id)) continue;
      this.#of.delete(id);
      if (id !== held) this.#free.push(slot);
    }
    const out = ids.map((id) => {
      let slot = this.#of.get(id);
      if (slot === undefined) this.#of.set(id, (slot = this.#free.pop() ?? this.#next++));
      return slot;
    });
    this.#free = []; // an element that shows nothing is taken away
    return out;
  }
}
