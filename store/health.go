package store

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/stack4things/s4t"
)

// BoardHealth is how a board is, and was.
type BoardHealth struct {
	Board      s4t.BoardID
	Health     json.RawMessage // s4t.Health; nil: the board never said
	ReportedAt time.Time
	Slot       int64      // of the newest point of Ring
	Ring       HealthRing // nil in SetHealths: it stays as it is
}

// HealthRing has a point for each of the last [s4t.HealthPoints] slots of
// [s4t.HealthStep], 12 bytes each, 3,456 in all: that of slot n, counted from 1970, is
// at n modulo their number. A point is six numbers of 16 bits, big endian: load in
// hundredths, used memory and disk in bytes, received and sent in bytes a second, as
// packed makes them, and the temperature in tenths of a degree, with 32768 added;
// 65535 where there is none. Where nothing was said, all bits are set.
type HealthRing []byte

const (
	healthPoint = 12
	noNumber    = 0xffff
)

// HealthSlot is the slot of a time.
func HealthSlot(t time.Time) int64 { return t.Unix() / int64(s4t.HealthStep/time.Second) }

// packed keeps a number that is not negative in 16 bits: below 1024 as it is, rounded;
// above with a mantissa of 10 bits behind a leading one, and an exponent: exact to
// 0.05 %, up to 2^72.
func packed(v float64) uint16 {
	v = math.Round(v)
	if !(v >= 1) {
		return 0
	}
	if v < 1024 {
		return uint16(v)
	}
	frac, exp := math.Frexp(v) // 0.5 <= frac < 1
	m := math.Round(frac * 2048)
	if m == 2048 {
		m, exp = 1024, exp+1
	}
	return uint16(min((exp-10)<<10|(int(m)-1024), noNumber-1))
}

// unpacked reads it back.
func unpacked(n uint16) float64 {
	if n < 1024 {
		return float64(n)
	}
	return math.Ldexp(float64(1024+n&1023), int(n>>10)-1)
}

// with returns the ring with a point for a slot, where head is the slot of the
// newest. Slots between the two are gaps; where the clock went back, what was written
// of the time to come is forgotten.
func (r HealthRing) with(head, slot int64, h s4t.Health) HealthRing {
	ring := make(HealthRing, s4t.HealthPoints*healthPoint)
	if len(r) == len(ring) {
		copy(ring, r)
	} else {
		head = slot - s4t.HealthPoints
	}
	if len(r) != len(ring) || slot-head >= s4t.HealthPoints || head-slot >= s4t.HealthPoints {
		for i := range ring {
			ring[i] = 0xff
		}
	} else {
		for s := min(head, slot) + 1; s <= max(head, slot); s++ {
			p := ring.at(s)
			for i := range p {
				p[i] = 0xff
			}
		}
	}
	ring.put(slot, h)
	return ring
}

// put writes the point of a slot.
func (r HealthRing) put(slot int64, h s4t.Health) {
	temperature := uint16(noNumber)
	if h.Temperature != nil {
		temperature = uint16(min(max(math.Round(*h.Temperature*10)+32768, 0), noNumber-1))
	}
	p := r.at(slot)
	for i, n := range []uint16{packed(h.Load1 * 100), packed(float64(h.MemoryUsed)), packed(float64(h.DiskUsed)), packed(h.ReceivedRate), packed(h.SentRate), temperature} {
		binary.BigEndian.PutUint16(p[2*i:], n)
	}
}

// at is the point of a slot.
func (r HealthRing) at(slot int64) []byte {
	i := int(((slot % s4t.HealthPoints) + s4t.HealthPoints) % s4t.HealthPoints)
	return r[i*healthPoint : (i+1)*healthPoint]
}

// Add puts a report in the ring, unless its slot has one; changed is whether it did.
func (b *BoardHealth) Add(at time.Time, h s4t.Health) (changed bool) {
	slot := HealthSlot(at)
	if slot == b.Slot && len(b.Ring) > 0 {
		return false
	}
	b.Ring, b.Slot = b.Ring.with(b.Slot, slot, h), slot
	return true
}

// Hold puts the report that there is, said, in the points up to a time in which the board said
// nothing else, but for those of times in which it was away.
func (b *BoardHealth) Hold(until time.Time, said s4t.Health, away []s4t.Outage) {
	if len(b.Ring) != s4t.HealthPoints*healthPoint {
		return
	}
	last := min(HealthSlot(until), HealthSlot(b.ReportedAt.Add(s4t.HealthHold+s4t.HealthStep)))
	if last <= b.Slot || last-b.Slot >= s4t.HealthPoints {
		return
	}
	ring := append(HealthRing{}, b.Ring...)
	for slot := b.Slot + 1; slot <= last; slot++ {
		if !awayIn(slot, away) {
			ring.put(slot, said)
			continue
		}
		p := ring.at(slot)
		for i := range p {
			p[i] = 0xff
		}
	}
	b.Ring, b.Slot = ring, last
}

// awayIn reports whether a board was away for all of a slot.
func awayIn(slot int64, away []s4t.Outage) bool {
	step := int64(s4t.HealthStep / time.Second)
	from, to := time.Unix(slot*step, 0), time.Unix((slot+1)*step, 0)
	for _, o := range away {
		if !o.Began.After(from) && (o.Ended == nil || !o.Ended.Before(to)) {
			return true
		}
	}
	return false
}

// History is what the ring says of the 24 hours up to now.
func (b BoardHealth) History(now time.Time) *s4t.HealthHistory {
	last := HealthSlot(now)
	first := last - s4t.HealthPoints + 1
	step := int64(s4t.HealthStep / time.Second)
	out := &s4t.HealthHistory{From: time.Unix(first*step, 0).UTC(), StepSeconds: int(step)}
	series := []struct {
		of   *[]*float64
		unit float64
	}{{&out.Load1, 100}, {&out.MemoryUsed, 1}, {&out.DiskUsed, 1}, {&out.ReceivedRate, 1}, {&out.SentRate, 1}}
	for slot := first; slot <= last; slot++ {
		var p []byte // nil: nothing was said
		if len(b.Ring) == s4t.HealthPoints*healthPoint && slot <= b.Slot && slot > b.Slot-s4t.HealthPoints {
			p = b.Ring.at(slot)
		}
		for i, s := range series {
			var v *float64
			if p != nil {
				if n := binary.BigEndian.Uint16(p[2*i:]); n != noNumber {
					f := unpacked(n) / s.unit
					v = &f
				}
			}
			*s.of = append(*s.of, v)
		}
		var t *float64
		if p != nil {
			if n := binary.BigEndian.Uint16(p[10:]); n != noNumber {
				f := float64(int(n)-32768) / 10
				t = &f
			}
		}
		out.Temperature = append(out.Temperature, t)
	}
	return out
}

func scanHealth(s scanner) (h BoardHealth, err error) {
	var text string
	var at int64
	var ring []byte
	err = s.Scan(&h.Board, &text, &at, &h.Slot, &ring)
	h.Health, h.ReportedAt, h.Ring = json.RawMessage(text), fromMicros(at), ring
	return h, err
}

// BoardHealth returns how a board is and was; without Health where it never said.
func (tx *Tx) BoardHealth(id s4t.BoardID) (BoardHealth, error) {
	h, err := one(tx, fmt.Sprintf("find how board %q is", id), scanHealth, `SELECT board, health, reported_at, history_at, history FROM board_health WHERE board = ?`, id)
	if s4t.KindOf(err) == s4t.NotFound {
		return BoardHealth{Board: id}, nil
	}
	return h, err
}

// Healths returns how boards are, of those that said, without their rings.
func (tx *Tx) Healths(ids []s4t.BoardID) (map[s4t.BoardID]BoardHealth, error) {
	return byBoard(manyIn(tx, "find how boards are", func(s scanner) (h BoardHealth, err error) {
		var text string
		var at int64
		err = s.Scan(&h.Board, &text, &at, &h.Slot)
		h.Health, h.ReportedAt = json.RawMessage(text), fromMicros(at)
		return h, err
	}, `SELECT board, health, reported_at, history_at FROM board_health WHERE board IN `, nil, ids, ``))
}

// HealthRings returns the rings of boards, of those that have one.
func (tx *Tx) HealthRings(ids []s4t.BoardID) (map[s4t.BoardID]BoardHealth, error) {
	return byBoard(manyIn(tx, "find how boards were", scanHealth, `SELECT board, health, reported_at, history_at, history FROM board_health WHERE board IN `, nil, ids, ``))
}

func byBoard(all []BoardHealth, err error) (map[s4t.BoardID]BoardHealth, error) {
	m := make(map[s4t.BoardID]BoardHealth, len(all))
	for _, h := range all {
		m[h.Board] = h
	}
	return m, err
}

// SetHealths writes how boards are, each once.
func (tx *Tx) SetHealths(all []BoardHealth) error {
	const op, into = "record how boards are", `INSERT INTO board_health (board, health, reported_at, history_at, history) VALUES `
	const newest = ` ON CONFLICT (board) DO UPDATE SET health = excluded.health, reported_at = excluded.reported_at`
	var now, points []BoardHealth
	for _, h := range all {
		if h.Ring == nil {
			now = append(now, h)
		} else {
			points = append(points, h)
		}
	}
	values := func(h BoardHealth) []any {
		return []any{h.Board, string(h.Health), micros(h.ReportedAt), h.Slot, append([]byte{}, h.Ring...)}
	}
	if err := insert(tx, op, into, now, values, newest); err != nil {
		return err
	}
	return insert(tx, op, into, points, values, newest+`, history_at = excluded.history_at, history = excluded.history`)
}
