/** The outline of the land (Natural Earth, 1:110m, by world-atlas), as the path of an SVG in degrees. */
import land from 'world-atlas/land-110m.json';

interface Topology {
  arcs: [number, number][][];
  transform: { scale: [number, number]; translate: [number, number] };
  objects: { land: { geometries: { arcs: number[][][] }[] } };
}

/** Makes the path of a TopoJSON: arcs are differences of whole numbers, and ~i is arc i the other way round. */
export function outline(t: Topology = land as unknown as Topology): string {
  const { scale, translate } = t.transform;
  const arcs = t.arcs.map((arc) => {
    let x = 0;
    let y = 0;
    return arc.map(([dx, dy]) => {
      x += dx;
      y += dy;
      return [x * scale[0] + translate[0], -(y * scale[1] + translate[1])] as const;
    });
  });
  let path = '';
  for (const geometry of t.objects.land.geometries) {
    for (const ring of geometry.arcs.flat()) {
      const points = ring.flatMap((i) => (i < 0 ? arcs[~i]!.toReversed() : arcs[i]!));
      path += 'M' + points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join('L') + 'Z';
    }
  }
  return path;
}

export interface Mark<T> {
  x: number; // degrees, east
  y: number; // degrees, south
  of: T[];
}

/** Puts things that stand close to each other together: what is in one cell of a grid, in degrees. */
export function cluster<T>(things: { x: number; y: number; of: T }[], cell: number): Mark<T>[] {
  const by = new Map<string, Mark<T>>();
  for (const t of things) {
    const key = `${Math.round(t.x / cell)},${Math.round(t.y / cell)}`;
    const m = by.get(key);
    if (!m) by.set(key, { x: t.x, y: t.y, of: [t.of] });
    else {
      m.x += (t.x - m.x) / (m.of.length + 1);
      m.y += (t.y - m.y) / (m.of.length + 1);
      m.of.push(t.of);
    }
  }
  return [...by.values()];
}
