/** What a map shows: boards, networks and what ties them, as they are now or as they were. */
import type { Board, Bridge } from '../../lib/api.ts';

export interface Spot {
  id: string;
  name: string;
  status: string;
  note: string;
  labels: Record<string, string>;
  place: { latitude: number; longitude: number } | null;
}

export interface Net {
  id: string;
  name: string;
  status: string;
  note: string;
}

export interface Tie {
  id: string;
  board: string;
  network: string;
  status: string;
  problem: string;
}

export interface World {
  boards: Spot[];
  networks: Net[];
  ties: Tie[];
}

/** Where a board is: its place, or the labels lat and lon (or latitude and longitude). */
export function placeOf(b: Board): Spot['place'] {
  if (b.location) return b.location;
  const l = b.labels ?? {};
  const latitude = Number.parseFloat(l.lat ?? l.latitude ?? '');
  const longitude = Number.parseFloat(l.lon ?? l.lng ?? l.longitude ?? '');
  return Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180 ? { latitude, longitude } : null;
}

/** A board on the map. */
export const spot = (b: Board): Spot => ({
  id: b.id, name: b.name, status: b.status, note: b.problems?.[0] ?? b.type ?? '', labels: b.labels ?? {}, place: placeOf(b),
});

/** A bridge as a network on the map. */
export const net = (n: Bridge): Net => ({ id: n.id, name: n.name, status: n.status, note: n.cidr || n.cidr6 || '' });

/** The world of these boards: networks without one of them are there only where all boards are. */
export function world(boards: Board[], bridges: Bridge[], all: boolean): World {
  const seen = new Set(boards.map((b) => b.id));
  const ties = bridges.flatMap((n) => (n.ports ?? []).filter((p) => seen.has(p.board_id)).map((p): Tie => ({ id: p.id, board: p.board_id, network: n.id, status: p.status, problem: p.problem ?? '' })));
  const tied = new Set(ties.map((t) => t.network));
  return { boards: boards.map(spot), networks: bridges.filter((n) => all || tied.has(n.id)).map(net), ties };
}

/** Boards that are drawn as one. */
export interface Bundle {
  id: string;
  boards: Spot[];
  network: string; // that all of them are on; empty: on none
  site: string;
}

export interface Drawn extends World {
  bundles: Bundle[];
  left: number; // networks that are not drawn
}

/** As much of a world as a person can look at: where there is more than so many things, boards on no network
 * are drawn as one a site, all of them, and then those that are on one network only, the largest first. */
export function collapse(w: World, most: number): Drawn {
  const networks = [...w.networks];
  let left = 0;
  const half = Math.ceil(most / 2);
  if (networks.length > half) {
    const size = new Map<string, number>();
    for (const t of w.ties) size.set(t.network, (size.get(t.network) ?? 0) + 1);
    networks.sort((a, b) => (size.get(b.id) ?? 0) - (size.get(a.id) ?? 0));
    left = networks.length - half;
    networks.length = half;
  }
  const known = new Set(networks.map((n) => n.id));
  const ties = left ? w.ties.filter((t) => known.has(t.network)) : w.ties;
  const of = new Map<string, string[]>();
  for (const t of ties) of.set(t.board, [...(of.get(t.board) ?? []), t.network]);

  const groups = new Map<string, Bundle>();
  for (const b of w.boards) {
    const on = of.get(b.id) ?? [];
    if (on.length > 1) continue;
    const network = on[0] ?? '';
    const site = network ? '' : (b.labels.site ?? '');
    const id = `bundle:${network}:${site}`;
    const g = groups.get(id);
    if (g) g.boards.push(b);
    else groups.set(id, { id, boards: [b], network, site });
  }
  let things = networks.length + w.boards.length;
  const bundles: Bundle[] = [];
  const inside = new Set<string>();
  for (const g of [...groups.values()].sort((a, b) => Number(a.network !== '') - Number(b.network !== '') || b.boards.length - a.boards.length)) {
    if (things <= most && (g.network !== '' || !bundles.length)) break;
    if (g.boards.length < 2) continue;
    bundles.push(g);
    things -= g.boards.length - 1;
    for (const b of g.boards) inside.add(b.id);
  }
  let boards = inside.size ? w.boards.filter((b) => !inside.has(b.id)) : w.boards;
  const room = Math.max(0, most - networks.length - bundles.length);
  if (boards.length > room) {
    const rest = boards.slice(room);
    boards = boards.slice(0, room);
    bundles.push({ id: 'bundle:rest', boards: rest, network: '', site: '' });
    for (const b of rest) inside.add(b.id);
  }
  return { boards, networks, ties: inside.size ? ties.filter((t) => !inside.has(t.board)) : ties, bundles, left };
}
