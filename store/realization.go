package store

import (
	"fmt"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Realization is an object that is wanted of a holder, and what the holder
// says of it: decision 1 for everything that a board or an agent may hold.
type Realization struct {
	Holder     string // id of a board or an agent
	Kind       wire.Kind
	Object     string
	OnBoard    bool  // the holder is a board
	Generation int64 // of the holder's desired state, when this last changed
	Gone       bool  // not wanted any more; kept until an agent has been told
	Spec       string
	Up         bool
	WasUp      bool // all who hold the object once had it up together
	ProblemID  string
	Problem    string
}

// Key names it among those of its holder.
func (r Realization) Key() wire.ResourceKey { return wire.ResourceKey{Kind: r.Kind, ID: r.Object} }

// Resource is what the holder is told.
func (r Realization) Resource() wire.Resource {
	if r.Gone {
		return wire.Resource{Kind: r.Kind, ID: r.Object, Gone: true}
	}
	return wire.Resource{Kind: r.Kind, ID: r.Object, Spec: []byte(r.Spec)}
}

// State is what the holder said.
func (r Realization) State() wire.ResourceState {
	return wire.ResourceState{Kind: r.Kind, ID: r.Object, Up: r.Up, ProblemID: r.ProblemID, Problem: r.Problem}
}

const realizationColumns = `holder, kind, object, on_board, generation, gone, spec, up, was_up, problem_id, problem`

func scanRealization(s scanner) (r Realization, err error) {
	err = s.Scan(&r.Holder, &r.Kind, &r.Object, flag(&r.OnBoard), &r.Generation, flag(&r.Gone), &r.Spec, flag(&r.Up), flag(&r.WasUp), &r.ProblemID, &r.Problem)
	return r, err
}

// WantRealizations writes what is wanted. What is said of one stays, unless it
// is gone. Who holds them is locked (see [Tx.LockHolders]).
func (tx *Tx) WantRealizations(all []Realization) error {
	return tx.putRealizations(all, ` ON CONFLICT (holder, kind, object) DO UPDATE SET generation = excluded.generation, gone = excluded.gone, spec = excluded.spec,
		up = CASE WHEN excluded.gone = 1 THEN 0 ELSE realizations.up END, was_up = CASE WHEN excluded.gone = 1 THEN 0 ELSE realizations.was_up END,
		problem_id = CASE WHEN excluded.gone = 1 THEN '' ELSE realizations.problem_id END, problem = CASE WHEN excluded.gone = 1 THEN '' ELSE realizations.problem END`)
}

// PutRealizations writes realizations whole, in place of those with the same
// keys, which were read with [Tx.LockObjects].
func (tx *Tx) PutRealizations(all []Realization) error {
	return tx.putRealizations(all, ` ON CONFLICT (holder, kind, object) DO UPDATE SET generation = excluded.generation, gone = excluded.gone, spec = excluded.spec,
		up = excluded.up, was_up = excluded.was_up, problem_id = excluded.problem_id, problem = excluded.problem`)
}

func (tx *Tx) putRealizations(all []Realization, conflict string) error {
	return insert(tx, "change what is wanted", `INSERT INTO realizations (`+realizationColumns+`) VALUES `, all, func(r Realization) []any {
		return []any{r.Holder, r.Kind, r.Object, bit(r.OnBoard), r.Generation, bit(r.Gone), r.Spec, bit(r.Up), bit(r.WasUp), r.ProblemID, r.Problem}
	}, conflict)
}

// DeleteRealization deletes one.
func (tx *Tx) DeleteRealization(holder string, key wire.ResourceKey) error {
	_, err := tx.exec("change what is wanted", `DELETE FROM realizations WHERE holder = ? AND kind = ? AND object = ?`, holder, key.Kind, key.ID)
	return err
}

// ForgetHolder deletes everything that is wanted of a holder.
func (tx *Tx) ForgetHolder(holder string) error {
	_, err := tx.exec(fmt.Sprintf("forget what is wanted of %q", holder), `DELETE FROM realizations WHERE holder = ?`, holder)
	return err
}

// ForgetGone deletes what an agent was told, up to a generation, that it is
// not wanted any more.
func (tx *Tx) ForgetGone(holder string, generation int64) error {
	_, err := tx.exec("forget what is gone", `DELETE FROM realizations WHERE holder = ? AND gone = 1 AND generation <= ?`, holder, generation)
	return err
}

// RealizationsOfHolder returns all that is wanted of a holder, by key.
func (tx *Tx) RealizationsOfHolder(holder string) ([]Realization, error) {
	return many(tx, "list what is wanted of a holder", scanRealization,
		`SELECT `+realizationColumns+` FROM realizations WHERE holder = ? AND gone = 0 ORDER BY kind, object`, holder)
}

// RealizationsOfHolders returns it of several boards.
func (tx *Tx) RealizationsOfHolders(holders []s4t.BoardID) (map[s4t.BoardID][]Realization, error) {
	rows, err := manyIn(tx, "list what is wanted of boards", scanRealization, `SELECT `+realizationColumns+` FROM realizations WHERE gone = 0 AND holder IN `, nil, holders, ` ORDER BY holder, kind, object`)
	return byHolder(rows), err
}

// HeldInRange returns the realizations of a holder after one key, up to and
// with another, by key; the zero key is no bound.
func (tx *Tx) HeldInRange(holder string, r wire.KeyRange) ([]Realization, error) {
	if r.UpTo == (wire.ResourceKey{}) {
		return many(tx, "list what is wanted of a holder", scanRealization,
			`SELECT `+realizationColumns+` FROM realizations WHERE holder = ? AND (kind, object) > (?, ?) AND gone = 0 ORDER BY kind, object`, holder, r.After.Kind, r.After.ID)
	}
	return many(tx, "list what is wanted of a holder", scanRealization,
		`SELECT `+realizationColumns+` FROM realizations WHERE holder = ? AND (kind, object) > (?, ?) AND (kind, object) <= (?, ?) AND gone = 0 ORDER BY kind, object`,
		holder, r.After.Kind, r.After.ID, r.UpTo.Kind, r.UpTo.ID)
}

// SaidByHolder returns at most limit realizations of a holder that are up or
// have a problem.
func (tx *Tx) SaidByHolder(holder string, limit int) ([]Realization, error) {
	return many(tx, "list what a holder said", scanRealization,
		`SELECT `+realizationColumns+` FROM realizations WHERE holder = ? AND (up = 1 OR problem <> '') ORDER BY kind, object LIMIT ?`, holder, limit)
}

// SaidByHolders returns those of several boards.
func (tx *Tx) SaidByHolders(holders []s4t.BoardID) (map[s4t.BoardID][]Realization, error) {
	rows, err := manyIn(tx, "list what boards said", scanRealization, `SELECT `+realizationColumns+` FROM realizations WHERE (up = 1 OR problem <> '') AND holder IN `, nil, holders, ` ORDER BY holder, kind, object`)
	return byHolder(rows), err
}

// byHolder are rows by their holders.
func byHolder(rows []Realization) map[s4t.BoardID][]Realization {
	all := map[s4t.BoardID][]Realization{}
	for _, r := range rows {
		all[s4t.BoardID(r.Holder)] = append(all[s4t.BoardID(r.Holder)], r)
	}
	return all
}

// ChangedAfter returns at most limit realizations of a holder in the order
// they changed, gone ones too: after a generation, and of that generation
// after a key.
func (tx *Tx) ChangedAfter(holder string, generation int64, key wire.ResourceKey, limit int) ([]Realization, error) {
	return many(tx, "list what has changed for a holder", scanRealization,
		`SELECT `+realizationColumns+` FROM realizations WHERE holder = ? AND (generation, kind, object) > (?, ?, ?) ORDER BY generation, kind, object LIMIT ?`,
		holder, generation, key.Kind, key.ID, limit)
}

// RealizationsOf returns what is wanted of everybody of objects, or is gone. It
// is found by the object alone: among what one holder has, PostgreSQL looks at
// all, once its plan is one for any arguments.
func (tx *Tx) RealizationsOf(objects []string) ([]Realization, error) {
	return manyIn(tx, "list what is wanted", scanRealization, `SELECT `+realizationColumns+` FROM realizations WHERE object IN `, nil, objects, ` ORDER BY object, kind, holder`)
}

// Held returns those of keys that are wanted of a holder, or are gone.
func (tx *Tx) Held(holder string, keys []wire.ResourceKey) ([]Realization, error) {
	objects := make([]string, len(keys))
	wanted := make(map[wire.ResourceKey]bool, len(keys))
	for i, k := range keys {
		objects[i], wanted[k] = k.ID, true
	}
	slices.Sort(objects) // objects of two kinds may have one id
	all, err := tx.RealizationsOf(slices.Compact(objects))
	var held []Realization
	for _, r := range all {
		if r.Holder == holder && wanted[r.Key()] {
			held = append(held, r)
		}
	}
	return held, err
}

// LockObjects returns what every holder says of objects, by object and
// holder, and holds the rows until the transaction ends: of two halves that
// come up at the same time, the second sees the first. The keys are sorted.
func (tx *Tx) LockObjects(keys []wire.ResourceKey) ([]Realization, error) {
	var all []Realization
	for i := 0; i < len(keys); { // those of a kind at a time
		kind := keys[i].Kind
		var ids []string
		for ; i < len(keys) && keys[i].Kind == kind; i++ {
			ids = append(ids, keys[i].ID)
		}
		part, err := manyIn(tx, "list what is wanted", scanRealization, `SELECT `+realizationColumns+` FROM realizations WHERE kind = ? AND object IN `, []any{kind}, ids,
			` AND gone = 0 ORDER BY object, holder`+tx.forUpdate())
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
	return all, nil
}

// StatusOf is how an object stands by what all who hold it say: up when its board
// has it, and an agent, where one is to; down when it was up and is not. While it
// moves from one agent to another either will do.
func StatusOf(halves []Realization) s4t.PortStatus {
	up, wasUp, agents, atAgent := len(halves) > 0, false, 0, false
	for _, h := range halves {
		if h.OnBoard {
			up = up && h.Up
		} else {
			agents, atAgent = agents+1, atAgent || h.Up
		}
		wasUp = wasUp || h.WasUp
	}
	return standing(up && (agents == 0 || atAgent), wasUp)
}

func standing(up, wasUp bool) s4t.PortStatus {
	switch {
	case up:
		return s4t.PortUp
	case wasUp:
		return s4t.PortDown
	}
	return s4t.PortPending
}

// What is said of an object, for the nouns that show it: rb is its realization
// on the board, ra that at the agent.
const (
	boardSays = `COALESCE(rb.up, 0), COALESCE(rb.problem, '')`
	agentSays = `COALESCE(ra.up, 0), COALESCE(ra.was_up, 0), COALESCE(ra.problem, '')`
)

// onBoard and atAgent join what is said of an object.
func onBoard(kind wire.Kind, object, holder string) string {
	return fmt.Sprintf("LEFT JOIN realizations rb ON rb.holder = %s AND rb.kind = '%s' AND rb.object = %s ", holder, kind, object)
}

func atAgent(kind wire.Kind, object, holder string) string {
	return fmt.Sprintf("LEFT JOIN realizations ra ON ra.holder = %s AND ra.kind = '%s' AND ra.object = %s ", holder, kind, object)
}

// RealizationsFilled reports whether all that the objects of before the table
// of realizations want is in it.
func (tx *Tx) RealizationsFilled() (bool, error) {
	n, err := one(tx, "look whether all is wanted", value[int64], `SELECT COUNT(*) FROM realizations_filled`)
	return n > 0, err
}

// SetRealizationsFilled records that it is.
func (tx *Tx) SetRealizationsFilled() error {
	_, err := tx.exec("record that all is wanted", `INSERT INTO realizations_filled (at) VALUES (?)`, micros(tx.Now()))
	return err
}

// SumSaid counts the sum of what a holder said anew.
func (tx *Tx) SumSaid(holder string) (wire.Sum, error) {
	var sum wire.Sum
	_, err := many(tx, "count what a holder said", func(s scanner) (struct{}, error) {
		r, err := scanRealization(s)
		sum = sum.Add(r.State().Sum())
		return struct{}{}, err
	}, `SELECT `+realizationColumns+` FROM realizations WHERE holder = ? AND (up = 1 OR problem <> '') AND gone = 0`, holder)
	return sum, err
}
