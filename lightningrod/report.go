package lightningrod

import (
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// report is the state the board has. settled is false while something is on
// its way for the first time.
func (e *Engine) report(epoch int64) (r wire.BoardReport, settled bool) {
	e.mu.Lock()
	applied := e.applied // before the states: they are of this generation at least
	e.mu.Unlock()
	states, settled := e.kinds.states()
	problems := e.problems()
	if e.dir.isReadOnly() {
		problems = append(problems, readOnly)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return wire.BoardReport{
		Board: e.id.Board, Epoch: epoch, Generation: applied, Resources: states,
		Problems: clampLines(problems), Recovered: e.recovered,
	}, settled
}

// first is the report that a session can begin with: of a board that knows that it is
// to have nothing, and has nothing; nil: there is none. That it had no session is no
// problem any more.
func (e *Engine) first() *wire.BoardReport {
	r, settled := e.report(0)
	e.mu.Lock()
	trouble, wanted := s4t.Line(e.trouble, wire.MaxProblem), len(e.desired.Resources)
	e.mu.Unlock()
	if !settled || r.Generation == 0 || wanted+len(r.Resources) > 0 || r.Recovered != "" || e.guests != nil { // guests tell of themselves before
		return nil
	}
	if trouble != "" && len(r.Problems) > 0 && r.Problems[0] == trouble {
		r.Problems = r.Problems[1:]
	}
	if len(r.Problems) == 0 {
		r.Problems = nil // as a report without any has it
	}
	return &r
}

// steps are when the board was told of the desired state that it has applied,
// and when it was given it (steps 5 and 6 of Fig. 3), by the cloud's clock.
func (e *Engine) steps() (told, received time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.desired.Told, e.desired.Time
}

// told notes that a report arrived.
func (e *Engine) told(r wire.BoardReport) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.recovered == r.Recovered {
		e.recovered = ""
	}
}

// problems lists what stands in the way, besides what is one resource's own.
func (e *Engine) problems() []string {
	of := e.kinds.problems()
	if e.guests != nil {
		of = append(of, e.guests.runs.problems()...)
	}
	of = append(of, e.leases.problems()...)
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	if e.trouble != "" {
		out = append(out, e.trouble)
	}
	for _, why := range []string{e.saving, e.losing, e.profile.problemNow()} {
		if why != "" {
			out = append(out, why)
		}
	}
	out = append(out, of...)
	return append(out, e.desired.Notices...)
}

// clampLines holds the bounds of [wire.BoardReport].
func clampLines(lines []string) []string {
	lines = lines[:min(len(lines), 16)]
	for i, l := range lines {
		lines[i] = s4t.Line(l, wire.MaxProblem)
	}
	return lines
}
