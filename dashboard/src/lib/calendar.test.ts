import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ceil, dragged, floor, freeFrom, fromField, hour, lanes, length, midnight, moved, place, shown, step, ticks, timeAt, toField, without, zone } from './calendar.ts';

const utc = (text: string) => Date.parse(text + 'Z');
const at = (tz: string, name: string, f: () => void) =>
  describe(tz, () => {
    beforeAll(() => void vi.stubEnv('TZ', tz));
    afterAll(() => void vi.unstubAllEnvs());
    it(name, f);
  });

at('Europe/Rome', 'a day has the hours that the clock gives it', () => {
  const spring = shown('day', utc('2026-03-29T10:00'));
  expect([spring.from, spring.until]).toEqual([utc('2026-03-28T23:00'), utc('2026-03-29T22:00')]); // 23 hours
  const autumn = shown('day', utc('2026-10-25T10:00'));
  expect((autumn.until - autumn.from) / hour).toBe(25);
  expect(ticks('day', autumn)).toHaveLength(25);
  const week = shown('week', utc('2026-10-25T10:00')); // a Sunday: the week began on Monday
  expect([week.from, week.until]).toEqual([utc('2026-10-18T22:00'), utc('2026-10-25T23:00')]);
  expect(ticks('week', week).map((t) => new Date(t.at).getHours())).toEqual([0, 0, 0, 0, 0, 0, 0]);
  expect(moved('week', week.from, 1)).toBe(week.until);
  expect(moved('week', week.until, -1)).toBe(week.from);
  expect(ticks('month', shown('month', week.from)).filter((t) => t.named)).toHaveLength(4);
});

at('Europe/Rome', 'places are times and back', () => {
  const s = shown('week', utc('2026-03-25T10:00')); // 167 hours
  for (const t of [s.from, utc('2026-03-29T00:59'), utc('2026-03-29T01:01'), s.until]) expect(timeAt(s, place(s, t))).toBeCloseTo(t, -1);
  expect(place(s, s.from - 1)).toBe(0);
  expect(place(s, s.until + 1)).toBe(1);
});

at('Europe/Rome', 'times snap by the clock, over its changes too', () => {
  expect(floor(utc('2026-12-01T10:29'), step('day'))).toBe(utc('2026-12-01T10:15'));
  expect(ceil(utc('2026-12-01T10:29'), step('day'))).toBe(utc('2026-12-01T10:30'));
  expect(ceil(utc('2026-12-01T10:30'), step('day'))).toBe(utc('2026-12-01T10:30'));
  // Six hours of the clock: 00, 06, 12, 18 there, on both sides of a change.
  for (const day of ['2026-03-28', '2026-03-29', '2026-10-24', '2026-10-25']) {
    for (let h = 0; h < 24; h++) {
      const t = utc(`${day}T${String(h).padStart(2, '0')}:20`);
      const [down, up] = [floor(t, step('month')), ceil(t, step('month'))];
      expect(down, toField(t)).toBeLessThanOrEqual(t);
      expect(up, toField(t)).toBeGreaterThanOrEqual(t);
      expect(new Date(down).getHours() % 6, toField(t)).toBe(0);
      expect(new Date(up).getHours() % 6, toField(t)).toBe(0);
      expect(up - down, toField(t)).toBeLessThanOrEqual(7 * hour);
    }
  }
});

at('Asia/Kolkata', 'zones of half hours snap to the clock there', () => {
  expect(floor(utc('2026-12-01T10:29'), hour)).toBe(utc('2026-12-01T09:30'));
  expect(zone(utc('2026-12-01T10:29'))).toMatch(/, UTC\+5:30$/);
});

at('America/New_York', 'fields are of the clock here', () => {
  expect(toField(utc('2026-12-24T23:05'))).toBe('2026-12-24T18:05');
  expect(fromField('2026-12-24T18:05')).toBe(utc('2026-12-24T23:05'));
  expect(fromField('2026-03-08T02:30')).toBe(utc('2026-03-08T07:30')); // the clock skips it
  expect(fromField('2026-11-01T01:30')).toBe(utc('2026-11-01T05:30')); // it shows it twice
  expect(fromField('soon')).toBeNaN();
  expect(zone(utc('2026-12-24T23:05'))).toBe('America/New_York, UTC−5');
  expect(midnight(utc('2026-11-01T05:30'), 1) - midnight(utc('2026-11-01T05:30'))).toBe(25 * hour);
});

describe('drags', () => {
  const quarter = step('day');
  const t = (m: number) => utc('2026-12-01T10:00') + m * 60_000;
  it('are whole steps in either direction', () => {
    expect(dragged(t(5), t(50), quarter, 0)).toEqual({ from: t(0), until: t(60) });
    expect(dragged(t(50), t(5), quarter, 0)).toEqual({ from: t(0), until: t(60) });
    expect(dragged(t(15), t(15), quarter, 0)).toEqual({ from: t(15), until: t(30) });
  });
  it('begin not before now', () => {
    expect(dragged(t(-30), t(20), quarter, t(3))).toEqual({ from: t(3), until: t(30) });
    expect(dragged(t(-30), t(-20), quarter, t(3))).toEqual({ from: t(3), until: t(15) });
  });
  it('are what is open without what is closed', () => {
    expect(without({ from: 0, until: 100 }, [{ from: -5, until: 10 }, { from: 20, until: 30 }, { from: 90, until: 200 }])).toEqual([{ from: 10, until: 20 }, { from: 30, until: 90 }]);
    expect(without({ from: 0, until: 100 }, [])).toEqual([{ from: 0, until: 100 }]);
    expect(without({ from: 0, until: 100 }, [{ from: 0, until: 100 }])).toEqual([]);
  });
  it('stand side by side where they are shared', () => {
    expect(lanes([{ from: 0, until: 10 }, { from: 5, until: 15 }, { from: 10, until: 20 }])).toEqual({ lane: [0, 1, 0], count: 2 });
    expect(lanes([])).toEqual({ lane: [], count: 1 });
  });
});

it('lengths and errors are as s4t has them', () => {
  expect([length(2 * hour), length(1.5 * hour), length(90_500), length(0)]).toEqual(['2h', '1h30m', '1m31s', '0s']);
  expect(freeFrom('they are free from 2026-12-01T10:00:00Z on: --from 2026-12-01T10:00:00Z')).toBe(utc('2026-12-01T10:00'));
  expect(freeFrom('choose another time')).toBeNaN();
});
