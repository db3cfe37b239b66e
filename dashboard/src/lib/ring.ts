/** The newest samples of a line over time, in memory that is taken once: pushing moves nothing, and what is
 * older than the span, or more than there is room for, is dropped. */
export class Ring {
  #times: Float64Array;
  #values: Float64Array;
  #first = 0;
  #n = 0;

  /** Keeps a span of seconds, of so many samples at most. */
  constructor(
    readonly span: number,
    readonly most: number,
  ) {
    this.#times = new Float64Array(Math.min(256, most));
    this.#values = new Float64Array(Math.min(256, most));
  }

  get size(): number {
    return this.#n;
  }

  /** Adds a sample at a time, s. One that is older than the newest is left out: it was told before. */
  push(time: number, value: number): void {
    if (this.#n && time <= this.#times[this.#at(this.#n - 1)]!) return;
    while (this.#n && (this.#n === this.most || this.#times[this.#first]! < time - this.span)) {
      this.#first = (this.#first + 1) % this.#times.length;
      this.#n--;
    }
    if (this.#n === this.#times.length) this.#grow();
    const i = this.#at(this.#n++);
    this.#times[i] = time;
    this.#values[i] = value;
  }

  /** Times and values, oldest first, as charts take them. */
  read(): { times: number[]; values: number[] } {
    const times = new Array<number>(this.#n);
    const values = new Array<number>(this.#n);
    for (let i = 0; i < this.#n; i++) {
      times[i] = this.#times[this.#at(i)]!;
      values[i] = this.#values[this.#at(i)]!;
    }
    return { times, values };
  }

  #at(i: number): number {
    return (this.#first + i) % this.#times.length;
  }

  #grow() {
    const { times, values } = this.read();
    const room = Math.min(this.most, this.#times.length * 2);
    this.#times = new Float64Array(room);
    this.#values = new Float64Array(room);
    this.#times.set(times);
    this.#values.set(values);
    this.#first = 0;
  }
}
