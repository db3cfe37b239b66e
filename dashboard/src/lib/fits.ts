/** Whether something fits words like `status:failed !kind:command lab`: is says so of a key's value, or
 * undefined where the key is none of its own; what is left is looked for in a text. */
export function fits(q: string, is: (key: string, value: string) => boolean | undefined, text: () => string): boolean {
  return q.toLowerCase().split(/\s+/).filter(Boolean).every((w) => {
    const not = w.length > 1 && w.startsWith('!');
    const word = not ? w.slice(1) : w;
    const i = word.indexOf(':');
    const said = i < 0 ? [] : word.slice(i + 1).split(',').filter(Boolean).map((v) => is(word.slice(0, i), v));
    const yes = said.length && said[0] !== undefined ? said.some(Boolean) : text().includes(word);
    return yes !== not;
  });
}
