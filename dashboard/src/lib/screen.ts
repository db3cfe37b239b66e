/** The screen of a terminal: xterm, as large as its element, and careful with what is pasted. */
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';

export interface Heard {
  /** Something was typed, or pasted. */
  typed: (text: string) => void;
  resized: (columns: number, rows: number) => void;
  /** Whether lines may be pasted: each of them may be run at once. */
  lines: (text: string) => Promise<boolean>;
}

export class Screen {
  #term: Terminal;
  #fit = new FitAddon();
  #watch: ResizeObserver;

  constructor(readonly node: HTMLElement, heard: Heard) {
    const css = getComputedStyle(document.documentElement);
    const colour = (name: string) => css.getPropertyValue(name).trim();
    // What a board writes reaches the screen and nothing else: no addon gives it the clipboard.
    const t = (this.#term = new Terminal({
      fontFamily: colour('--mono'),
      fontSize: 14,
      cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
      scrollback: 5000,
      theme: { background: colour('--panel'), foreground: colour('--text'), cursor: colour('--accent'), selectionBackground: colour('--accent-soft') },
      minimumContrastRatio: 4.5,
    }));
    t.loadAddon(this.#fit);
    t.open(node);
    // Before anything is opened: a shell that begins at another size draws for that one.
    this.#fit.fit();
    this.#tell();
    t.onData(heard.typed);
    t.onResize(({ cols, rows }) => {
      this.#tell();
      heard.resized(cols, rows);
    });
    t.attachCustomKeyEventHandler((e) => {
      if (e.type !== 'keydown' || !e.ctrlKey || !e.shiftKey || e.key !== 'C' || !t.hasSelection()) return true;
      e.preventDefault();
      void navigator.clipboard.writeText(t.getSelection());
      return false;
    });
    node.addEventListener(
      'paste',
      (e) => {
        const text = e.clipboardData?.getData('text/plain') ?? '';
        if (!/[\r\n]/.test(text.trimEnd()) && !/[\r\n]$/.test(text)) return;
        e.preventDefault();
        e.stopImmediatePropagation();
        void heard.lines(text).then((may) => may && t.paste(text));
      },
      true,
    );
    this.#watch = new ResizeObserver(() => this.#fit.fit());
    this.#watch.observe(node);
  }

  get columns() {
    return this.#term.cols;
  }
  get rows() {
    return this.#term.rows;
  }

  /** Shows bytes; the promise is kept when they are shown. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((shown) => this.#term.write(bytes, shown));
  }

  focus() {
    this.#term.focus();
  }

  close() {
    this.#watch.disconnect();
    this.#term.options.cursorBlink = false;
    this.#term.options.disableStdin = true;
  }

  /** The size, for whoever looks at the page. */
  #tell() {
    this.node.dataset.columns = String(this.#term.cols);
    this.node.dataset.rows = String(this.#term.rows);
  }
}
