package conductor

import (
	"context"
	"fmt"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// fencedAgent returns a tunnel agent that sent a message.
func fencedAgent(op string, get func(s4t.AgentID) (store.Agent, error), id s4t.AgentID, incarnation string) (store.Agent, error) {
	a, err := get(id)
	if err != nil && s4t.KindOf(err) != s4t.NotFound {
		return a, err
	}
	return a, fenced(op, a, incarnation)
}

// tunnelDesired answers a tunnel agent with what has changed in what it should
// have.
func (c *Conductor) tunnelDesired(ctx context.Context, req wire.TunnelAsk) (wire.TunnelDesired, error) {
	op := fmt.Sprintf("give agent %q its desired state", req.Agent)
	return view(ctx, c, func(tx *store.Tx) (wire.TunnelDesired, error) {
		a, err := fencedAgent(op, tx.Agent, req.Agent, req.Incarnation)
		if err != nil {
			return wire.TunnelDesired{}, err
		}
		since := req.Since
		if since > a.Generation { // it is from after the backup that this database is from
			since = 0
		}
		d := wire.TunnelDesired{Generation: a.Generation, Whole: since == 0, Resources: []wire.Resource{}, Sum: a.DesiredSum}
		generation, key := since+1, wire.ResourceKey{}
		if req.After != "" {
			if _, err := fmt.Sscanf(req.After, "%d", &generation); err != nil {
				return d, s4t.Errorf(s4t.Invalid, op, "", "%q is no cursor", s4t.Line(req.After, s4t.MaxName))
			}
			_, rest, _ := strings.Cut(req.After, " ")
			kind, id, _ := strings.Cut(rest, " ")
			key = wire.ResourceKey{Kind: wire.Kind(kind), ID: id}
		}
		rows, err := tx.ChangedAfter(string(a.ID), generation, key, wire.MaxPage+1)
		if err != nil {
			return d, err
		}
		if len(rows) > wire.MaxPage {
			rows = rows[:wire.MaxPage]
			last := rows[len(rows)-1]
			d.Next = fmt.Sprintf("%d %s %s", last.Generation, last.Kind, last.Object)
		}
		for _, r := range rows {
			d.Resources = append(d.Resources, r.Resource())
		}
		return d, nil
	})
}

// tunnelReport takes what has changed in what a tunnel agent has (step 8 of
// Fig. 3).
func (c *Conductor) tunnelReport(ctx context.Context, req wire.TunnelReport) (wire.TunnelReported, error) {
	op := fmt.Sprintf("take the report of agent %q", req.Agent)
	if len(req.States) > wire.MaxPage {
		return wire.TunnelReported{}, s4t.Errorf(s4t.TooMany, op, "send it in parts", "it speaks of %d resources, at most %d are allowed", len(req.States), wire.MaxPage)
	}
	var answer wire.TunnelReported
	err := c.change(ctx, func(ch *change) error {
		answer = wire.TunnelReported{}
		a, err := fencedAgent(op, ch.LockAgent, req.Agent, req.Incarnation)
		if err != nil || req.Seq != 0 && req.Seq < a.ReportSeq {
			return err // one that was overtaken says nothing
		}
		was := a
		rows, err := ch.reported(a, req)
		if err != nil {
			return err
		}
		sum, err := ch.hear(agentOf(a.ID), rows, req.States)
		if err != nil {
			return err
		}
		a.ReportSeq, a.SaidSum = req.Seq, a.SaidSum.Add(sum)
		if a.Applied = min(req.Generation, a.Generation); a.Applied != was.Applied {
			ch.heard[string(a.ID)] = true
			if err := ch.ForgetGone(string(a.ID), a.Applied); err != nil {
				return err
			}
		}
		answer.Whole = !req.More && req.Generation == a.Generation && req.Sum != a.SaidSum
		if answer.Whole && req.Range != nil { // it has just told all: the fault is in our sum
			if a.SaidSum, err = ch.SumSaid(string(a.ID)); err != nil {
				return err
			}
			answer.Whole = false
		}
		if a.Applied == was.Applied && a.SaidSum == was.SaidSum && len(ch.heard) == 0 {
			return nil // what says the same is not written: if one that was overtaken is taken after it, the sums tell
		}
		return ch.SetReported(a)
	})
	return answer, err
}

// reported are the realizations that a report speaks of.
func (ch *change) reported(a store.Agent, req wire.TunnelReport) ([]store.Realization, error) {
	if req.Range != nil {
		return ch.HeldInRange(string(a.ID), *req.Range)
	}
	keys := make([]wire.ResourceKey, len(req.States))
	for i, s := range req.States {
		keys[i] = s.Key()
	}
	return ch.Held(string(a.ID), keys)
}

// tunnelEvent tells what only the data path sees.
func (c *Conductor) tunnelEvent(ctx context.Context, req wire.TunnelEvent) (wire.Empty, error) {
	return wire.Empty{}, c.change(ctx, func(ch *change) error {
		detail := s4t.Line(req.Detail, wire.MaxProblem)
		p, err := ch.Port(req.Port)
		if s4t.KindOf(err) == s4t.NotFound {
			u, err := ch.Uplink(s4t.NetworkID(req.Port))
			if err == nil && u.Agent == req.Agent {
				ch.uplinkEvent(req.Kind, u, detail)
			}
			return nil // else it went meanwhile
		}
		if err != nil || p.TunnelAgent != req.Agent {
			return err
		}
		ch.event(s4t.Event{Kind: s4t.Line(req.Kind, s4t.MaxName), Project: p.Project, Object: string(p.ID), Name: p.Interface, Board: p.Board, Detail: detail})
		return nil
	})
}
