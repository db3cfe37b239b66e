package conductor

import (
	"cmp"
	"maps"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Decision 1 for everything that a board or an agent may hold: an object of a
// kind is wanted of a holder at a generation of the holder's desired state, and
// the holder says whether it has it. This file is all that knows how.

// wanted is what a change makes of one resource of a holder.
type wanted struct {
	spec        string
	gone        bool
	whileOnline s4t.BoardID // an operation waits for it while this board is online only
	generation  int64       // of the holder since which it is so; 0: it was so before
}

// want makes an object wanted of a holder, with this spec. What is wanted just
// so already changes nothing.
func (ch *change) want(h holder, kind wire.Kind, id string, spec any) *wanted {
	w := &wanted{spec: string(wire.Encode(spec))}
	ch.put(h, wire.ResourceKey{Kind: kind, ID: id}, w)
	return w
}

// unwant takes it back.
func (ch *change) unwant(h holder, kind wire.Kind, id string) {
	ch.put(h, wire.ResourceKey{Kind: kind, ID: id}, &wanted{gone: true})
}

func (ch *change) put(h holder, key wire.ResourceKey, w *wanted) {
	if ch.wants[h] == nil {
		ch.wants[h] = map[wire.ResourceKey]*wanted{}
	}
	ch.wants[h][key] = w
	ch.touch(h)
}

// touch sees to it that a holder's desired state is looked at.
func (ch *change) touch(h holder) {
	if !ch.touched[h] {
		ch.touched[h] = false
	}
}

// renew does so, and gives it a new generation though no resource changed;
// forget takes back all that this change wants of it.
func (ch *change) renew(h holder)  { ch.touched[h] = true }
func (ch *change) forget(h holder) { delete(ch.touched, h); delete(ch.wants, h) }

// rouse wakes the board whose half of an object a tunnel agent has lost: where a
// NAT has forgotten a connection, its other end does not know that it is dead.
func (ch *change) rouse(halves []store.Realization, agent holder) error {
	for _, r := range halves {
		if r.Holder == agent.id {
			continue
		}
		b, err := ch.Board(s4t.BoardID(r.Holder))
		if s4t.KindOf(err) == s4t.NotFound {
			continue
		}
		if err != nil {
			return err
		}
		if b.Status == s4t.BoardOnline {
			ch.wakeBoard(store.Woken{Board: b.ID, Generation: b.Generation, WAMPAgent: b.WAMPAgent})
		}
	}
	return nil
}

// apply writes what this change wants so far: every holder whose desired state
// differs from before has a new generation, and is woken. Boards come before
// agents, each by id: the lock order.
func (ch *change) apply() error {
	holders := slices.SortedFunc(maps.Keys(ch.touched), func(a, b holder) int {
		if a.onBoard != b.onBoard {
			if a.onBoard {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.id, b.id)
	})
	var boards []s4t.BoardID
	var agents []s4t.AgentID
	for _, h := range holders {
		if h.onBoard {
			boards = append(boards, s4t.BoardID(h.id))
		} else {
			agents = append(agents, s4t.AgentID(h.id))
		}
	}
	if err := ch.LockHolders(boards, agents); err != nil {
		return err
	}
	was, err := ch.wantedBefore()
	if err != nil {
		return err
	}
	var put, gone []store.Realization
	for _, h := range holders {
		rows, err := ch.applyTo(h, was)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if r.Gone && h.onBoard { // a board is told all that is wanted; an agent what has changed
				gone = append(gone, r)
			} else {
				put = append(put, r)
			}
		}
		if ch.start != nil {
			ch.start.await(h, ch.wants[h], ch.generations[h])
		}
	}
	clear(ch.touched)
	clear(ch.wants)
	for _, r := range gone {
		if err := ch.DeleteRealization(r.Holder, r.Key()); err != nil {
			return err
		}
	}
	return ch.WantRealizations(put)
}

// held names a realization.
type held struct {
	holder string
	key    wire.ResourceKey
}

// wantedBefore is what is wanted of the objects of this change until now.
func (ch *change) wantedBefore() (map[held]store.Realization, error) {
	var objects []string
	for _, wants := range ch.wants {
		for k := range wants {
			objects = append(objects, k.ID)
		}
	}
	slices.Sort(objects)
	rows, err := ch.RealizationsOf(slices.Compact(objects))
	was := make(map[held]store.Realization, len(rows))
	for _, r := range rows {
		was[held{r.Holder, r.Key()}] = r
	}
	return was, err
}

// applyTo makes the new generation of one holder, and returns what is to be
// written of it.
func (ch *change) applyTo(h holder, was map[held]store.Realization) ([]store.Realization, error) {
	wants := ch.wants[h]
	var rows []store.Realization
	var desired, said wire.Sum
	for _, k := range slices.SortedFunc(maps.Keys(wants), wire.ResourceKey.Compare) {
		w := wants[k]
		r, there := was[held{h.id, k}]
		there = there && !r.Gone
		if there == !w.gone && (w.gone || r.Spec == w.spec) {
			continue
		}
		if there {
			desired = desired.Sub(r.Resource().Sum())
		}
		if w.gone {
			said = said.Sub(r.State().Sum())
			r.Gone, r.Spec, r.Up, r.WasUp, r.ProblemID, r.Problem = true, "", false, false, "", ""
		} else {
			r = store.Realization{Holder: h.id, Kind: k.Kind, Object: k.ID, OnBoard: h.onBoard, Spec: w.spec, Up: r.Up, WasUp: r.WasUp, ProblemID: r.ProblemID, Problem: r.Problem}
			desired = desired.Add(r.Resource().Sum())
		}
		rows = append(rows, r)
	}
	if len(rows) == 0 && !ch.touched[h] {
		return nil, nil
	}
	generation, err := ch.grow(h, desired, said)
	if err != nil {
		return nil, err
	}
	ch.generations[h] = generation
	ch.heard[h.id] = true
	for i := range rows {
		rows[i].Generation = generation
		wants[rows[i].Key()].generation = generation
	}
	return rows, nil
}

// grow makes a new generation of a holder's desired state, and wakes it.
func (ch *change) grow(h holder, desired, said wire.Sum) (int64, error) {
	if !h.onBoard {
		a, err := ch.GrowAgent(s4t.AgentID(h.id), desired, said)
		if err == nil && a.Online {
			ch.wakeAgent(a)
		}
		return a.Generation, err
	}
	w, err := ch.GrowBoard(s4t.BoardID(h.id))
	if err == nil && w.Online {
		ch.wakeBoard(w)
	}
	return w.Generation, err
}

// hear writes what a holder says of its realizations where that differs from
// what it said before; what it says nothing of is not up. It returns by how
// much the sum of what it said has changed.
func (ch *change) hear(h holder, rows []store.Realization, states []wire.ResourceState) (wire.Sum, error) {
	says := make(map[wire.ResourceKey]wire.ResourceState, len(states))
	for _, s := range states {
		s.ProblemID, s.Problem = s4t.Line(s.ProblemID, s4t.MaxName), s4t.Line(s.Problem, wire.MaxProblem)
		says[s.Key()] = s
	}
	var keys []wire.ResourceKey
	for _, r := range rows {
		s := says[r.Key()]
		if !r.Gone && (r.Up != s.Up || r.ProblemID != s.ProblemID || r.Problem != s.Problem) {
			keys = append(keys, r.Key())
		}
	}
	if len(keys) == 0 {
		return 0, nil
	}
	ch.heard[h.id] = true
	slices.SortFunc(keys, wire.ResourceKey.Compare)
	locked, err := ch.LockObjects(keys)
	if err != nil {
		return 0, err
	}
	objects := map[wire.ResourceKey][]store.Realization{}
	for _, r := range locked {
		objects[r.Key()] = append(objects[r.Key()], r)
	}
	var sum wire.Sum
	var put []store.Realization
	for _, k := range keys {
		halves := objects[k]
		was := store.StatusOf(halves)
		i := slices.IndexFunc(halves, func(r store.Realization) bool { return r.Holder == h.id })
		if i < 0 {
			continue // not wanted any more, a moment ago
		}
		own := &halves[i]
		before := *own
		sum = sum.Sub(own.State().Sum())
		own.Up, own.ProblemID, own.Problem = says[k].Up, says[k].ProblemID, says[k].Problem
		sum = sum.Add(own.State().Sum())
		if before.Up && !own.Up && !h.onBoard {
			if err := ch.rouse(halves, h); err != nil {
				return 0, err
			}
		}
		now := store.StatusOf(halves)
		if now == s4t.PortUp && !own.WasUp {
			for j := range halves {
				halves[j].WasUp = true
			}
			put = append(put, halves...)
		} else {
			put = append(put, *own)
		}
		if changed := kinds[k.Kind].changed; changed != nil && now != was {
			if err := changed(ch, k.ID, halves, was, now); err != nil {
				return 0, err
			}
		}
		if told := kinds[k.Kind].told; told != nil {
			if err := told(ch, k.ID, before, *own); err != nil {
				return 0, err
			}
		}
	}
	return sum, ch.PutRealizations(put)
}

// silent writes that a holder has nothing of what is wanted of it any more, or
// that nobody knows: its session is over.
func (ch *change) silent(h holder, limit int) (left bool, err error) {
	rows, err := ch.SaidByHolder(h.id, limit)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	sum, err := ch.hear(h, rows, nil)
	if err == nil && !h.onBoard {
		err = ch.AddSaidSum(s4t.AgentID(h.id), sum)
	}
	return len(rows) == limit, err
}
