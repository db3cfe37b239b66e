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

const board = { w: 176, h: 84 }; // px, with the room around it
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
  const circles = networks.map((n) => ({ id: n.id, r: Math.max(150, ((only.get(n.id)?.length ?? 0) * (board.w * 0.8)) / (2 * Math.PI) + 70) }));
  const area = circles.reduce((sum, c) => sum + (2.6 * c.r + gap + board.w) * (2 * c.r + gap), 0) + alone.length * board.w * board.h;
  const width = Math.max(1100, Math.sqrt(area) * 1.45);
  let x = 0;
  let y = 0;
  let high = 0;
  for (const c of circles) {
    const d = 2.6 * c.r + gap + board.w;
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
      at.set(b.id, { x: middle.x + c.r * 1.3 * Math.cos(angle), y: middle.y + c.r * 0.85 * Math.sin(angle) });
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

/** A frame around the boards of one group. */
export interface Frame extends Point {
  id: string;
  w: number;
  h: number;
}

/** Places boards in frames, one for each group, and networks in a row above them. */
export function framed(networks: { id: string }[], groups: { id: string; boards: { id: string }[] }[]): { at: Map<string, Point>; frames: Frame[] } {
  const at = new Map<string, Point>();
  const frames: Frame[] = [];
  const sized = groups.map((g) => {
    const columns = Math.max(1, Math.ceil(Math.sqrt(g.boards.length * (board.h / board.w) * 1.6)));
    return { ...g, columns, w: columns * board.w + 24, h: Math.ceil(g.boards.length / columns) * board.h + 46 };
  });
  const width = Math.max(1100, Math.sqrt(sized.reduce((sum, g) => sum + (g.w + 30) * (g.h + 30), 0)) * 1.4);
  const fit = Math.max(1, Math.floor(width / (board.w + 30)));
  networks.forEach((n, i) => at.set(n.id, { x: ((i % fit) + 0.5) * (board.w + 30), y: Math.floor(i / fit) * 90 }));
  let x = 0;
  let y = networks.length ? Math.ceil(networks.length / fit) * 90 + 50 : 0;
  let high = 0;
  for (const g of sized) {
    if (x > 0 && x + g.w > width) {
      x = 0;
      y += high + 30;
      high = 0;
    }
    frames.push({ id: g.id, x: x + g.w / 2, y: y + g.h / 2, w: g.w, h: g.h });
    g.boards.forEach((b, i) => at.set(b.id, { x: x + 12 + ((i % g.columns) + 0.5) * board.w, y: y + 34 + (Math.floor(i / g.columns) + 0.5) * board.h }));
    x += g.w + 30;
    high = Math.max(high, g.h);
  }
  return { at, frames };
}

/** Lets stand what stood: a thing keeps its place while its ties are the same; what is new, or has other ties,
 * goes where it is wanted, or beside it where something stands there. */
export function settle(was: Map<string, Point & { ties: string }>, wanted: Map<string, Point>, ties: (id: string) => string): Map<string, Point & { ties: string }> {
  const out = new Map<string, Point & { ties: string }>();
  const cells = new Map<string, Point[]>();
  const cell = (x: number, y: number) => `${Math.floor(x / board.w)},${Math.floor(y / board.h)}`;
  const put = (id: string, p: Point, t: string) => {
    out.set(id, { x: p.x, y: p.y, ties: t });
    const k = cell(p.x, p.y);
    cells.set(k, [...(cells.get(k) ?? []), p]);
  };
  const taken = (p: Point) => {
    for (let i = -1; i <= 1; i++)
      for (let j = -1; j <= 1; j++)
        for (const o of cells.get(cell(p.x + i * board.w, p.y + j * board.h)) ?? []) if (Math.abs(o.x - p.x) < 134 && Math.abs(o.y - p.y) < 64) return true;
    return false;
  };
  const fresh: [string, Point][] = [];
  for (const [id, p] of wanted) {
    const old = was.get(id);
    if (old && old.ties === ties(id)) put(id, old, old.ties);
    else fresh.push([id, p]);
  }
  for (const [id, p] of fresh) {
    let at = p;
    for (let i = 1; i < 60 && taken(at); i++) {
      const angle = i * 2.4;
      const r = 40 * Math.sqrt(i) * 1.6;
      at = { x: p.x + 1.6 * r * Math.cos(angle), y: p.y + r * Math.sin(angle) };
    }
    put(id, at, ties(id));
  }
  return out;
}
