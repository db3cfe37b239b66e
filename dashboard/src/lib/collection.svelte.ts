/** The objects of one kind that this page knows, by id. Thousands change at a time: objects are not
 * reactive, the collection is, once a frame. */
import type { Problem } from './api.ts';
import { compare } from './order.ts';

export interface Identified {
  id: string;
  name?: string;
  /** Of a board that is another project's: what is one's own has the name before it. */
  lease?: unknown;
}

export class Collection<T extends Identified> {
  /** Whether all of them are here; before, those that have come. */
  complete = $state(false);
  problem = $state.raw<Problem | null>(null);
  #byId = new Map<string, T>();
  #byName = new Map<string, T>();
  #sorted: T[] | null = null;
  #version = $state(0);
  #due = false;

  /** With most, the newest so many are kept, by their ids, which must grow with time. */
  constructor(private readonly most = Infinity) {}

  /** Counts the changes, for what is derived of them. */
  get version(): number {
    return this.#version;
  }

  /** All of them, by name; the array is the same until something changes. */
  get list(): T[] {
    void this.#version;
    this.#sorted ??= [...this.#byId.values()].sort((a, b) => compare(a.name ?? a.id, b.name ?? b.id));
    return this.#sorted;
  }

  get size(): number {
    void this.#version;
    return this.#byId.size;
  }

  /** By id or by name. */
  get(ref: string): T | undefined {
    void this.#version;
    return this.#byId.get(ref) ?? this.#byName.get(ref);
  }

  has(id: string): boolean {
    return this.#byId.has(id);
  }

  put(...items: T[]) {
    for (const item of items) {
      const was = this.#byId.get(item.id);
      if (was?.name && was.name !== item.name && this.#byName.get(was.name) === was) this.#byName.delete(was.name);
      this.#byId.set(item.id, item);
      if (item.name && !(item.lease && this.#byName.get(item.name)?.id !== item.id && this.#byName.has(item.name))) this.#byName.set(item.name, item);
    }
    if (this.#byId.size > this.most * 1.25) for (const id of [...this.#byId.keys()].sort().slice(0, this.#byId.size - this.most)) this.#drop(id);
    if (items.length) this.#changed();
  }

  /** Changes fields of one that is known. */
  merge(id: string, fields: Partial<T>) {
    const was = this.#byId.get(id);
    if (was) this.put({ ...was, ...fields });
  }

  delete(id: string) {
    if (this.#drop(id)) this.#changed();
  }

  #drop(id: string): boolean {
    const was = this.#byId.get(id);
    if (!was) return false;
    if (was.name && this.#byName.get(was.name) === was) this.#byName.delete(was.name);
    return this.#byId.delete(id);
  }

  /** Keeps those of which something is true. */
  keep(is: (id: string) => boolean) {
    for (const id of [...this.#byId.keys()]) if (!is(id)) this.delete(id);
  }

  #changed() {
    this.#sorted = null;
    if (this.#due) return;
    this.#due = true;
    nextFrame(() => {
      this.#due = false;
      this.#sorted = null;
      this.#version++;
    });
  }
}

/** Calls f before the next frame is drawn; in a page that is not seen, soon. */
export function nextFrame(f: () => void) {
  if (document.visibilityState === 'visible') requestAnimationFrame(f);
  else setTimeout(f, 200);
}

/** Rows at the places that they had: those of before, as they are now or, where they are not any more,
 * as they were; and then the new ones. */
export function settled<T extends { id: string }>(was: T[], now: T[]): T[] {
  const fresh = new Map(now.map((r) => [r.id, r]));
  const out = was.map((r) => {
    const is = fresh.get(r.id);
    fresh.delete(r.id);
    return is ?? r;
  });
  for (const r of fresh.values()) out.push(r);
  return out;
}
