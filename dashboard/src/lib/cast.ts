/** Recordings of terminals, as asciicast v2: a head, then a line of JSON for each thing that was written. */

export interface Cast {
  width: number;
  height: number;
  /** What was written, with its second from the begin. */
  said: { at: number; text: string }[];
}

/** Reads a recording. One that was cut ends where it was: a last line that is no JSON is left out. */
export function readCast(text: string): Cast {
  const lines = text.split('\n');
  const head = JSON.parse(lines[0] || '{}') as { version?: number; width?: number; height?: number };
  if (head.version !== 2) throw new Error('this is no recording of asciicast v2');
  const cast: Cast = { width: head.width ?? 80, height: head.height ?? 24, said: [] };
  for (const line of lines.slice(1)) {
    try {
      const [at, kind, data] = JSON.parse(line) as [number, string, string];
      if (kind === 'o') cast.said.push({ at, text: data });
    } catch {
      // the line that was being written when it was cut, or the empty one at the end
    }
  }
  return cast;
}

/** The text of a recording, without what commands a terminal (ECMA-48): to be read and searched. A line that
 * was written over is as it was last. */
export function plainText(cast: Cast): string {
  const text = cast.said.map((s) => s.text).join('');
  const bare = text.replace(/\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])/g, '');
  return bare
    .split('\n')
    .map((line) => {
      let out = '';
      for (const part of line.replace(/\r+$/, '').split('\r')) out = part + out.slice(part.length);
      let shown = '';
      for (const c of out) {
        if (c === '\b') shown = shown.slice(0, -1);
        else if (c >= ' ' || c === '\t') shown += c;
      }
      return shown;
    })
    .join('\n');
}
