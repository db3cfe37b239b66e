package conductor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
)

// verdict is what was found of a running operation.
type verdict struct {
	id      s4t.OperationID
	at      time.Time
	boards  bool             // every board that is online has done its part (step 7)
	agents  bool             // the tunnel agent has (step 8)
	missing []string         // who has not, for people
	failed  string           // why it can never be done; empty: it can
	kind    s4t.Kind         // of that failure; Conflict by default
	moved   bool             // the service was given another public port
	ended   *store.Operation // as it was written, if it has ended
}

// judge looks at the operations that await what this change heard of, and ends
// those that are complete.
func (ch *change) judge() error {
	for _, p := range ch.c.concerned(ch.heardBoards, ch.heardAgents) {
		v, err := ch.look(p)
		if err != nil {
			return err
		}
		switch {
		case v.boards && v.agents:
			err = ch.end(p, &v, "", "")
		case v.failed != "" && p.awaits.AnyPort && p.moves < maxMoves:
			v.moved = true
			err = ch.moveService(p.awaits.Service)
		case v.failed != "":
			if err = ch.end(p, &v, cmp.Or(v.kind, s4t.Conflict), v.failed); err == nil && p.op.Kind == kindExpose {
				err = ch.withdrawService(p.awaits.Service)
			}
		}
		if err != nil {
			return err
		}
		ch.judged = append(ch.judged, v)
	}
	return nil
}

// look finds how far an operation is, from the rows alone.
func (ch *change) look(p *progress) (verdict, error) {
	v := verdict{id: p.op.ID, at: ch.now, boards: true, agents: true}
	switch {
	case p.awaits.Service != "" && p.op.Kind == kindExpose:
		return v, ch.lookService(p, &v)
	case p.awaits.Endpoint != "":
		return v, ch.lookEndpoint(p, &v)
	case p.awaits.Uplink != "":
		return v, ch.lookUplink(p, &v)
	case len(p.awaits.Ports) > 0:
		return v, ch.lookPorts(p, &v)
	}
	return v, ch.lookGenerations(p, &v)
}

// lookPorts: every port whose board is online is up.
func (ch *change) lookPorts(p *progress, v *verdict) error {
	states, err := ch.PortStates(p.awaits.Network)
	if err != nil {
		return err
	}
	online := 0
	for _, s := range states {
		if s.BoardOnline && slices.Contains(p.awaits.Ports, s.ID) {
			online++
		}
		if !s.BoardOnline || !slices.Contains(p.awaits.Ports, s.ID) {
			continue
		}
		if !s.BoardUp {
			v.boards = false
			v.missing = append(v.missing, missing("board "+s.Board+" has not brought its port up", s.BoardProblem))
			var info s4t.BoardInfo
			if s.BoardProblem != "" && s.BoardHasLatest && json.Unmarshal([]byte(s.BoardInfo), &info) == nil && !info.Networks {
				v.failed, v.kind = fmt.Sprintf("board %s cannot carry a network: %s", s.Board, s.BoardProblem), s4t.Unavailable
			}
			if s.BridgeTo != "" && s.BoardHasLatest && strings.Contains(s.BoardProblem, s.BridgeTo) {
				v.failed = fmt.Sprintf("board %s cannot bridge %s: %s (it is tried again until the port is removed)", s.Board, s.BridgeTo, s.BoardProblem)
			}
		}
		if !s.AgentUp {
			v.agents = false
			v.missing = append(v.missing, missing("the tunnel agent has not attached board "+s.Board, s.AgentProblem))
		}
	}
	if online == 0 { // then the tunnel agent alone has something to do
		return ch.lookAgents(p, v)
	}
	return nil
}

// lookService: its public port listens, and its board, if it is online, is
// ready to take streams.
func (ch *change) lookService(p *progress, v *verdict) error {
	s, err := ch.Service(p.awaits.Service)
	if s4t.KindOf(err) == s4t.NotFound {
		return nil // hidden again: there is nothing to wait for
	}
	if err != nil {
		return err
	}
	b, err := ch.BoardState(s.BoardID)
	if err != nil {
		return err
	}
	if b.Online && !s.StreamsUp {
		v.boards = false
		v.missing = append(v.missing, "board "+s.Board+" is not ready to take streams")
	}
	if !s.AgentUp {
		v.agents = false
		v.missing = append(v.missing, missing(fmt.Sprintf("the tunnel agent does not listen on public port %d", s.PublicPort), s.Problem))
		if s.Problem != "" {
			v.failed = fmt.Sprintf("public port %d: %s", s.PublicPort, s.Problem)
		}
	}
	return nil
}

// lookGenerations: everybody who is there has the new desired state. It is how
// removals end.
func (ch *change) lookGenerations(p *progress, v *verdict) error {
	for id, generation := range p.awaits.Boards {
		b, err := ch.BoardState(id)
		switch {
		case s4t.KindOf(err) == s4t.NotFound:
		case err != nil:
			return err
		case b.Online && b.Applied < generation:
			v.boards = false
			v.missing = append(v.missing, "board "+b.Name+" has not applied its new state")
		}
	}
	if err := ch.lookAgents(p, v); err != nil {
		return err
	}
	slices.Sort(v.missing)
	return nil
}

// lookAgents: every tunnel agent that is there has its new desired state.
func (ch *change) lookAgents(p *progress, v *verdict) error {
	for id, generation := range p.awaits.Agents {
		a, err := ch.Agent(id)
		if err != nil {
			return err
		}
		if a.Online && a.Applied < generation {
			v.agents = false
			v.missing = append(v.missing, "the tunnel agent "+string(id)+" has not applied its new state")
		}
	}
	return nil
}

// missing is one line on who is late, and why if that is known.
func missing(who, problem string) string {
	if problem == "" {
		return who
	}
	return who + ": " + problem
}

// end ends an operation: well if kind is empty.
func (ch *change) end(p *progress, v *verdict, kind s4t.Kind, msg string) error {
	extra := map[int]time.Time{}
	if v.boards && len(p.online) > 0 {
		extra[stepBoard] = ch.now
	}
	if v.agents {
		extra[stepAgent] = ch.now
	}
	op := p.op
	op.EndedAt = &ch.now
	op.Status, op.Error, op.ErrorKind = s4t.OperationSucceeded, msg, kind
	event := "operation.succeeded"
	if kind != "" {
		op.Status, event = s4t.OperationFailed, "operation.failed"
	} else {
		extra[stepDone] = ch.now
	}
	op.Steps = p.all(extra)
	v.ended = &op
	ch.operationEvent(event, op, msg)
	return ch.UpdateOperation(op)
}

func (ch *change) operationEvent(kind string, op store.Operation, detail string) {
	if detail == "" {
		detail = op.Kind
	} else {
		detail = op.Kind + ": " + detail
	}
	ch.event(s4t.Event{Kind: kind, Project: op.Project, Object: string(op.ID), Name: op.Name, Detail: detail})
}

// reconsider looks at one running operation.
func (c *Conductor) reconsider(ctx context.Context, id s4t.OperationID) {
	c.mu.Lock()
	p, ok := c.running[id]
	if ok {
		p = p.copy()
	}
	c.mu.Unlock()
	if !ok {
		return
	}
	err := c.change(ctx, func(ch *change) error {
		for b := range p.awaits.Boards {
			ch.heardBoards[b] = true
		}
		for a := range p.awaits.Agents {
			ch.heardAgents[a] = true
		}
		return nil
	})
	if err != nil {
		c.cfg.Log.Warn("an operation could not be looked at; it is again soon", "err", err)
	}
}

// concerned returns copies of the running operations that await one of these.
// The copies share nothing that changes.
func (c *Conductor) concerned(boards map[s4t.BoardID]bool, agents map[s4t.AgentID]bool) []*progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []*progress
	for _, p := range c.running {
		hit := false
		for b := range p.awaits.Boards {
			hit = hit || boards[b]
		}
		for a := range p.awaits.Agents {
			hit = hit || agents[a]
		}
		if hit {
			found = append(found, p.copy())
		}
	}
	return found
}

func (p *progress) copy() *progress {
	q := *p
	q.op.Steps = slices.Clone(p.op.Steps)
	q.online, q.seen = map[s4t.BoardID]bool{}, map[int]time.Time{}
	for b := range p.online {
		q.online[b] = true
	}
	for n, at := range p.seen {
		q.seen[n] = at
	}
	return &q
}

// settle takes a verdict after its commit: shows steps, or lets those who wait
// see the end.
func (c *Conductor) settle(v verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.running[v.id]
	if !ok {
		return
	}
	if v.ended != nil {
		delete(c.running, v.id)
		close(p.more)
		return
	}
	if v.moved {
		p.moves++
		return
	}
	if v.boards && len(p.online) > 0 {
		p.see(stepBoard, v.at)
	}
	if v.agents {
		p.see(stepAgent, v.at)
	}
}

// expire fails an operation that has run for too long, with who did not
// answer.
func (ch *change) expire(p *progress) error {
	v, err := ch.look(p)
	if err != nil {
		return err
	}
	msg := fmt.Sprintf("not done in %v: %s", operationTimeout, strings.Join(v.missing[:min(len(v.missing), 8)], "; "))
	if more := len(v.missing) - 8; more > 0 {
		msg += fmt.Sprintf("; and %d more", more)
	}
	if err := ch.end(p, &v, s4t.Timeout, msg); err != nil {
		return err
	}
	ch.judged = append(ch.judged, v)
	return nil
}
