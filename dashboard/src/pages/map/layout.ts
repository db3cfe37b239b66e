/** Where things stand: each network in the middle of its boards, boards of several networks between
 * them, boards of none below. The same things always stand at the same place, and what a person moved
 * stays where it was put. */

export interface Thing {
  id: string;
  networks: string[]; // of a board; a network has none
}

export interface Point {
  x: number;
  y: number;
}

const board = { w: 170, h: 56 }; // px, with the room around it
const gap = 70;

/** Places networks and boards. */
export function layout(networks: { id: string }[], boards: Thing[]): Map<string, Point> {
  const at = new Map<string, Point>();
  const only = new Map<string, Thing[]>();
  const shared: Thing[] = [];
  const alone: Thing[] = [];
  const known = new Set(networks.map((n) => n.id));
  for (const b of boards) {
    const on = b.networks.filter((n) => known.has(n));
    if (on.length === 0) alone.push(b);
    else if (on.length === 1) only.set(on[0]!, [...(only.get(on[0]!) ?? []), b]);
    else shared.push({ id: b.id, networks: on });
  }

  // Circles in rows, as wide together as they are high, about.
  const circles = networks.map((n) => ({ id: n.id, r: Math.max(130, ((only.get(n.id)?.length ?? 0) * (board.w * 0.62)) / (2 * Math.PI) + 60) }));
  const area = circles.reduce((sum, c) => sum + (2 * c.r + gap) ** 2, 0);
  const width = Math.max(900, Math.sqrt(area) * 1.5);
  let x = 0;
  let y = 0;
  let high = 0;
  for (const c of circles) {
    const d = 2 * c.r + gap + board.w;
    if (x > 0 && x + d > width) {
      x = 0;
      y += high;
      high = 0;
    }
    const middle = { x: x + d / 2, y: y + c.r + gap / 2 };
    at.set(c.id, middle);
    const around = only.get(c.id) ?? [];
    around.forEach((b, i) => {
      const angle = (2 * Math.PI * i) / around.length + (around.length === 2 ? 0 : -Math.PI / 2);
      at.set(b.id, { x: middle.x + c.r * 1.15 * Math.cos(angle), y: middle.y + c.r * 0.82 * Math.sin(angle) });
    });
    x += d;
    high = Math.max(high, 2 * c.r + gap);
  }
  y += high;

  shared.forEach((b, i) => {
    const of = b.networks.map((n) => at.get(n)!);
    const mean = (k: 'x' | 'y') => of.reduce((sum, p) => sum + p[k], 0) / of.length;
    at.set(b.id, { x: mean('x') + (i % 3) * 30, y: mean('y') + (i % 5) * board.h });
  });

  const columns = Math.max(1, Math.floor(width / board.w));
  alone.forEach((b, i) => at.set(b.id, { x: (i % columns) * board.w, y: y + gap + Math.floor(i / columns) * board.h }));
  return at;
}
