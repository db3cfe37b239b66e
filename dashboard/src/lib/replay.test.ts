import { expect, test } from 'vitest';
import type { Board, Bridge, Event } from './api.ts';
import { Replay } from './replay.ts';

const t = (s: number) => Date.UTC(2026, 0, 1) + s * 1000;
let id = 0;
const event = (s: number, kind: string, object: string, more: Partial<Event> = {}): Event => ({ id: ++id, at: new Date(t(s)).toISOString(), kind, object, project: 'p', ...more }) as Event;
const board = (id: string, status: string, made = -1000): Board => ({ id, name: id, status, created_at: new Date(t(made)).toISOString() }) as Board;

test('a network is made, loses a board, and is deleted', () => {
  const r = new Replay(
    [
      event(1, 'board.online', 'a', { name: 'a', data: { status: 'online' } }),
      event(2, 'bridge.created', 'lab', { name: 'lab' }),
      event(3, 'port.up', 'pa', { board: 'a', data: { network: 'net', board_id: 'a', status: 'up' } }),
      event(3, 'bridge.up', 'lab', { name: 'lab' }),
      event(4, 'port.down', 'pa', { board: 'a', data: { network: 'net', board_id: 'a', status: 'down' } }),
      event(4, 'board.offline', 'a', { name: 'a', data: { status: 'offline' } }),
      event(5, 'port.down', 'pa', { board: 'a', detail: 'removed' }),
      event(6, 'bridge.deleted', 'lab', { name: 'lab' }),
      event(6.5, 'board.created', 'new', { name: 'new', data: { status: 'registered' } }),
      event(7, 'operation.succeeded', 'o'),
    ],
    [board('a', 'offline'), board('late', 'registered', 5), board('always', 'online')],
    [],
  );
  const at = (s: number) => {
    const w = r.at(t(s));
    return [w.boards.map((b) => `${b.id} ${b.status}`).join(), w.networks.map((n) => `${n.name} ${n.status}`).join(), w.ties.map((x) => `${x.board}-${x.network} ${x.status}`).join()].join('; ');
  };
  expect(at(0)).toBe('a offline,always online; ; ');
  expect(at(1)).toBe('a online,always online; ; ');
  expect(at(2)).toBe('a online,always online; lab degraded; a-lab down');
  expect(at(3)).toBe('a online,always online; lab up; a-lab up');
  expect(at(4)).toBe('a offline,always online; lab up; a-lab down');
  expect(at(5)).toBe('a offline,late registered,always online; lab up; ');
  expect(at(6)).toBe('a offline,late registered,always online; ; ');
  expect(at(6.5)).toContain('new registered');
  expect(r.moments.length).toBe(7);
  expect(r.moments[2]!.say).toContain('lab is up');
  expect(r.at(t(3), (id) => id === 'a').boards.length).toBe(1);
});

test('what no event is about was as it is', () => {
  const bridge = { id: 'lab', name: 'lab', network: 'net', status: 'up', created_at: new Date(t(-100)).toISOString(), ports: [{ id: 'pa', board_id: 'a', status: 'up' }] } as unknown as Bridge;
  const r = new Replay([], [board('a', 'online')], [bridge]);
  expect(r.moments).toEqual([]);
  expect(r.at(t(0)).ties.length).toBe(1);
  expect(r.at(t(-500)).networks.length).toBe(0);
});
