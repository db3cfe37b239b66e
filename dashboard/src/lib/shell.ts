/** A shell of a board, however it is reached. */

/** What a shell asks of who sits there, and tells. */
export interface Ask {
  /** Bytes for the screen; the promise is kept when they are shown, and more may come. */
  data: (bytes: Uint8Array) => Promise<void> | void;
  /** The connection was lost, or there is one again. */
  connected: (is: boolean) => void;
  /** What it shows is recorded; said before anything can be typed. */
  recorded?: () => void;
  /** It is over, told once; why is empty where it ended as it should. */
  ended: (why: string) => void;
}

export interface Shell {
  /** Begins it at a size, and throws where that fails. */
  start(columns: number, rows: number): Promise<void>;
  type(text: string): void;
  resize(columns: number, rows: number): void;
  /** Has a connection that may be dead looked at. */
  look(): void;
  close(): void;
}
