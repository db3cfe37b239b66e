/** Dialogs and short messages, shown by parts/Dialogs.svelte above every page. */
import type { Component } from 'svelte';

export interface Note {
  id: number;
  text: string;
  look: 'ok' | 'bad';
  href?: string;
}

class Dialogs {
  /** What is asked now, with its properties; one at a time. */
  shown = $state.raw<{ view: Component<any>; props: Record<string, unknown> } | null>(null);
  notes = $state.raw<Note[]>([]);
  #n = 0;

  /** Shows a dialog; it is given `close` besides its properties. */
  show<P extends Record<string, any>>(view: Component<P>, props: Omit<P, 'close'>) {
    this.shown = { view, props };
  }

  close = () => {
    this.shown = null;
  };

  /** Says something for some seconds; what went wrong stays until it is read. */
  say(text: string, look: Note['look'] = 'ok', href?: string) {
    const note = { id: ++this.#n, text, look, href };
    this.notes = [...this.notes, note].slice(-4);
    if (look === 'ok') setTimeout(() => this.drop(note.id), 6000);
  }

  drop(id: number) {
    this.notes = this.notes.filter((n) => n.id !== id);
  }
}

export const dialogs = new Dialogs();
