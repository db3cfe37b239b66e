package conductor

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// What BenchmarkStateCommits and BenchmarkStateFleet need of the API of this
// build; bench/state has the same of an earlier one.

// statePostgres is the URL of an empty database.
func statePostgres(b *testing.B) string { return pgtest.URL(b) }

// stateEvent appends an event.
func stateEvent(tx *store.Tx, e s4t.Event) error {
	tx.InsertEvents(e)
	return nil
}

// stateSetUp writes projects, and agents that are there.
func stateSetUp(tx *store.Tx) error {
	if err := tx.InsertProject(s4t.Project{ID: projectID, Name: "default", Weight: 1, CreatedAt: time.Now()}); err != nil {
		return err
	}
	for i := range stateWriters {
		if err := tx.InsertProject(s4t.Project{ID: s4t.ProjectID(s4t.NewID()), Name: fmt.Sprint("p", i), Weight: 1, CreatedAt: time.Now()}); err != nil {
			return err
		}
	}
	later := time.Now().Add(time.Hour)
	for _, a := range []store.Agent{
		{ID: wampID, Kind: wire.AgentWAMP, Incarnation: "w1", URL: cloudURL, Online: true, SeenAt: later, LeaseUntil: later},
		{ID: tunnelID, Kind: wire.AgentTunnel, Incarnation: "t1", URL: tunnelURL, Host: "tunnel.example", PublicPorts: s4t.PortRange{First: 50000, Last: 60000}, Online: true, SeenAt: later, LeaseUntil: later},
	} {
		if err := tx.PutAgent(a); err != nil {
			return err
		}
	}
	return nil
}

// stateReport is a board's report in which its port comes or goes.
func stateReport(w wire.BoardWelcome, n int) wire.BoardReport {
	r := wire.BoardReport{Board: w.Desired.Board, Epoch: w.Epoch, Generation: w.Desired.Generation, Seq: int64(n + 1)}
	for _, res := range w.Desired.Resources {
		r.Resources = append(r.Resources, wire.ResourceState{Kind: res.Kind, ID: res.ID, Up: n%2 == 0})
	}
	return r
}

// statePortsUp reports that the tunnel agent has its half of the ports of boards.
func statePortsUp(c *Conductor, boards []wire.BoardWelcome) error {
	ctx := context.Background()
	a, err := view(ctx, c, func(tx *store.Tx) (store.Agent, error) { return tx.Agent(tunnelID) })
	if err != nil {
		return err
	}
	r := wire.TunnelReport{Agent: tunnelID, Incarnation: "t1", Generation: a.Generation, Seq: 1}
	for _, w := range boards {
		for _, res := range w.Desired.Resources {
			r.States = append(r.States, wire.ResourceState{Kind: res.Kind, ID: res.ID, Up: true})
		}
	}
	_, err = c.tunnelReport(ctx, r)
	return err
}

// stateFill writes boards that are online, with idle rtunnels at the tunnel
// agent.
func stateFill(tx *store.Tx, ids []s4t.BoardID) error {
	now := time.Now()
	agent, err := tx.LockAgent(tunnelID)
	if err != nil {
		return err
	}
	var all []store.Realization
	var desired, said wire.Sum
	for _, id := range ids {
		b := store.Board{
			Board: s4t.Board{
				ID: id, Project: projectID, Name: stateName(id), Status: s4t.BoardOnline, Epoch: 1, AppliedGeneration: 1,
				WAMPAgent: wampID, TunnelAgent: tunnelID, LastSeen: &now, CreatedAt: now,
				Info: s4t.BoardInfo{Networks: true, HostKeys: []string{"ssh-ed25519 AAAA"}},
			},
			PublicKey: make([]byte, ed25519.PublicKeySize), Incarnation: "w1", Instance: "i1", StreamsUntil: now.Add(time.Hour),
		}
		for _, write := range []func(store.Board) error{tx.InsertBoard, tx.SetBoardKey, tx.SetBoardSays, tx.SetBoardStreams, tx.SetPresence} {
			if err := write(b); err != nil {
				return err
			}
		}
		spec := string(wire.Encode(wire.DesiredStreams{URL: tunnelURL, Warm: warmRecent}))
		half := store.Realization{Holder: string(tunnelID), Kind: wire.KindStreams, Object: string(id), Generation: agent.Generation + 1, Spec: string(wire.Encode(wire.Empty{})), Up: true, WasUp: true}
		desired, said = desired.Add(half.Resource().Sum()), said.Add(half.State().Sum())
		all = append(all, half, store.Realization{Holder: string(id), Kind: wire.KindStreams, Object: string(id), OnBoard: true, Generation: 1, Spec: spec, Up: true, WasUp: true})
	}
	if err := tx.PutRealizations(all); err != nil {
		return err
	}
	agent, err = tx.GrowAgent(tunnelID, desired, said)
	if err != nil {
		return err
	}
	agent.Applied = agent.Generation
	return tx.SetReported(agent)
}

// stateTunnelReport reports that the idle rtunnels of the first so many boards
// came or went.
func stateTunnelReport(c *Conductor, ids []s4t.BoardID, boards, n int) error {
	ctx := context.Background()
	a, err := view(ctx, c, func(tx *store.Tx) (store.Agent, error) { return tx.Agent(tunnelID) })
	if err != nil {
		return err
	}
	r := wire.TunnelReport{Agent: tunnelID, Incarnation: "t1", Generation: a.Generation, Seq: a.ReportSeq + 1, Sum: a.SaidSum}
	for _, id := range ids[:boards] {
		s := wire.ResourceState{Kind: wire.KindStreams, ID: string(id), Up: n%2 == 0}
		was := s
		was.Up = !s.Up
		r.Sum = r.Sum.Sub(was.Sum()).Add(s.Sum())
		r.States = append(r.States, s)
	}
	answer, err := c.tunnelReport(ctx, r)
	if err == nil && answer.Whole {
		err = fmt.Errorf("it is asked for everything")
	}
	return err
}
