/** The s4t line that does the same as an action here: each shows its own. */

/** A word of a shell's line, quoted where it has to be. */
export function word(s: string): string {
  return /^[\w@%+=:,./-]+$/.test(s) ? s : `'${s.replaceAll("'", `'\\''`)}'`;
}

type Flag = string | number | boolean | undefined | string[];

/** A line of s4t: words, and flags; those that are empty, false or 0 are left out, a list is repeated. */
export function s4t(words: string[], flags: Record<string, Flag> = {}): string {
  const out = ['s4t', ...words.map(word)];
  for (const [name, value] of Object.entries(flags)) {
    for (const v of Array.isArray(value) ? value : [value]) {
      if (v === true) out.push('--' + name);
      else if (v) out.push('--' + name, word(String(v)));
    }
  }
  return out.join(' ');
}
