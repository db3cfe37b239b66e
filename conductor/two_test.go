package conductor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Two conductors on one database and one queue: nothing that must be true is in
// the memory of one. Every test runs on both engines.

// pair is a lab with two conductors. What the lab calls through the queue meets
// either.
type pair struct {
	*lab
	a, b         *Conductor
	stopA, stopB func()
}

func withUpkeep(t *testing.T, test func(t *testing.T, p *pair)) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			l := newLabOn(t, engine == "postgres")
			p := &pair{lab: l, a: l.c, stopA: l.stop}
			p.b, p.stopB = l.startSecond()
			test(t, p)
		})
	}
}

// withTwo keeps both from upkeep: what happens is not upkeep's doing, and no
// agent is taken for silent on a machine that is busy with other things.
func withTwo(t *testing.T, test func(t *testing.T, p *pair)) {
	withUpkeep(t, func(t *testing.T, p *pair) {
		for _, c := range []*Conductor{p.a, p.b} {
			c.upkept.mu.Lock()
			defer c.upkept.mu.Unlock()
		}
		test(t, p)
	})
}

// deaf has a board and the tunnel agent do nothing on a wake-up: the test says
// what they report, and to whom.
func (p *pair) deaf(f *fakeBoard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.deaf, p.tunnel.deaf = true, true
}

// bridge asks a conductor for a bridge.
func (p *pair) bridge(c *Conductor, name string, f *fakeBoard) s4t.Operation {
	p.t.Helper()
	op, err := c.bridgeCreate(p.t.Context(), wire.BridgeCreate{Caller: p.member, Name: name, Boards: []string{f.name}})
	if soon := !f.deaf && op.Status == s4t.OperationSucceeded; err != nil || op.Status != s4t.OperationRunning && !soon {
		p.t.Fatalf("%+v, %v", op, err)
	}
	return op
}

// reports are those by which a board and the tunnel agent say that they have
// all that they should, as a conductor gives it to them.
func (p *pair) reports(c *Conductor, f *fakeBoard) (wire.BoardReport, wire.TunnelReport) {
	p.t.Helper()
	d, err := c.boardDesired(p.t.Context(), wire.BoardAsk{Board: f.id, Epoch: f.epochNow(p.lab)})
	if err != nil {
		p.t.Fatal(err)
	}
	w, err := c.tunnelDesired(p.t.Context(), wire.TunnelAsk{Agent: tunnelID, Incarnation: p.tunnel.incarnation})
	if err != nil || w.Next != "" {
		p.t.Fatalf("%+v, %v", w, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f.desired = d
	f.seq++
	p.tunnel.seq++
	p.tunnel.desired = slices.DeleteFunc(w.Resources, func(r wire.Resource) bool { return r.Gone })
	p.tunnel.generation = w.Generation
	board := p.reportOf(f)
	board.Seq = f.seq
	return board, p.tunnelSays(p.tunnelStates())
}

// tunnelSays is a report of all that the tunnel agent has. The caller holds mu.
func (p *pair) tunnelSays(states []wire.ResourceState) wire.TunnelReport {
	r := wire.TunnelReport{
		Agent: tunnelID, Incarnation: p.tunnel.incarnation, Seq: p.tunnel.seq, Generation: p.tunnel.generation, States: states, Range: &wire.KeyRange{},
	}
	for _, s := range states {
		r.Sum = r.Sum.Add(s.Sum())
	}
	return r
}

// together runs functions at the same time and fails the test on an error.
func (p *pair) together(all ...func() error) {
	p.t.Helper()
	start := make(chan struct{})
	var running sync.WaitGroup
	for _, fn := range all {
		running.Go(func() {
			<-start
			if err := fn(); err != nil {
				p.t.Error(err)
			}
		})
	}
	close(start)
	running.Wait()
}

// allEvents are the events that are kept.
func (p *pair) allEvents() (all []s4t.Event) {
	p.t.Helper()
	for {
		last := int64(0)
		if n := len(all); n > 0 {
			last = all[n-1].ID
		}
		page := items[s4t.Event](p.lab, wire.MethodEventList, wire.EventList{Caller: p.admin, After: last})
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

// endedOnce fails the test unless an operation has ended, and one event said
// so, as the operation does.
func (p *pair) endedOnce(id s4t.OperationID) s4t.Operation {
	p.t.Helper()
	op := call[s4t.Operation](p.lab, wire.MethodOperationGet, wire.OperationGet{Caller: p.admin, ID: id})
	var ends []string
	for _, e := range p.allEvents() {
		if e.Object == string(id) && e.Kind != "operation.started" {
			ends = append(ends, e.Kind)
		}
	}
	if !slices.Equal(ends, []string{"operation." + string(op.Status)}) || op.EndedAt == nil {
		p.t.Errorf("the operation %s is %s, and the events are %q", op.Kind, op.Status, ends)
	}
	return op
}

// toldOf waits until an API has been told that an operation moved.
func (p *pair) toldOf(id s4t.OperationID) {
	p.t.Helper()
	deadline := time.After(time.Minute)
	for {
		p.mu.Lock()
		told, seen := p.moved[id] > 0, p.seen
		p.mu.Unlock()
		if told {
			return
		}
		select {
		case <-seen:
		case <-deadline:
			p.t.Fatalf("nobody told that operation %s has ended", id)
		}
	}
}

func TestAnOperationEndsOnce(t *testing.T) {
	withTwo(t, func(t *testing.T, p *pair) {
		f := p.online("one")
		p.deaf(f)
		for i := range 8 {
			op := p.bridge(p.a, fmt.Sprint("lab", i), f)
			board, tunnel := p.reports(p.b, f)
			var all []func() error
			for _, c := range []*Conductor{p.a, p.b} {
				all = append(all,
					func() error { _, err := c.boardReport(t.Context(), board); return err },
					func() error { _, err := c.tunnelReport(t.Context(), tunnel); return err },
					func() error { return c.deadlines(t.Context()) })
			}
			p.together(all...)
			if got := p.endedOnce(op.ID); got.Status != s4t.OperationSucceeded {
				t.Errorf("%+v", got)
			}
		}
	})
}

// TestAnOperationThatExpiresWhileItEndsEndsOnce: its time is over, and at the
// same moment what it waits for is reported.
func TestAnOperationThatExpiresWhileItEndsEndsOnce(t *testing.T) {
	withTwo(t, func(t *testing.T, p *pair) {
		f := p.online("one")
		p.deaf(f)
		for i := range 8 {
			op := p.bridge(p.b, fmt.Sprint("lab", i), f)
			board, tunnel := p.reports(p.a, f)
			if _, err := p.a.boardReport(t.Context(), board); err != nil {
				t.Fatal(err)
			}
			p.together(
				func() error {
					err := p.db.Tx(t.Context(), func(tx *store.Tx) error { return tx.ExtendOperations(-time.Second) })
					if err != nil {
						return err
					}
					return p.a.deadlines(t.Context())
				},
				func() error { _, err := p.b.tunnelReport(t.Context(), tunnel); return err },
			)
			p.endedOnce(op.ID)
			if b := p.bridgeNow(fmt.Sprint("lab", i)); b.Status != s4t.BridgeUp {
				t.Errorf("the bridge is %s", b.Status)
			}
		}
	})
}

// TestReportsThatMeetTheOtherConductorEndAnOperationAsFast: whoever hears the
// last one ends it and tells so; nobody waits for upkeep.
func TestReportsThatMeetTheOtherConductorEndAnOperationAsFast(t *testing.T) {
	withTwo(t, func(t *testing.T, p *pair) {
		f := p.online("one")
		p.deaf(f)
		for i, asked := range []*Conductor{p.a, p.b} {
			other := map[*Conductor]*Conductor{p.a: p.b, p.b: p.a}[asked]
			op := p.bridge(asked, fmt.Sprint("lab", i), f)
			board, tunnel := p.reports(other, f)
			if _, err := other.boardReport(t.Context(), board); err != nil {
				t.Fatal(err)
			}
			if _, err := other.tunnelReport(t.Context(), tunnel); err != nil {
				t.Fatal(err)
			}
			now, err := asked.operationGet(t.Context(), wire.OperationGet{Caller: p.member, ID: op.ID})
			if err != nil || now.Status != s4t.OperationSucceeded {
				t.Errorf("when both have reported: %+v, %v", now, err)
			}
			p.toldOf(op.ID)
		}
	})
}

func TestOperationsOfManyUsersAtOnce(t *testing.T) {
	withTwo(t, func(t *testing.T, p *pair) {
		for _, name := range []string{"one", "two", "three"} {
			p.online(name)
		}
		const each = 6
		var mu sync.Mutex
		var ops []s4t.Operation
		var all []func() error
		for i, c := range []*Conductor{p.a, p.b} {
			for n := range each {
				all = append(all, func() error {
					boards := [][]string{{"one", "two"}, {"two", "three"}, {"three", "one"}}[n%3]
					op, err := c.bridgeCreate(t.Context(), wire.BridgeCreate{Caller: p.member, Name: fmt.Sprintf("lab%d-%d", i, n), Boards: boards})
					mu.Lock()
					defer mu.Unlock()
					ops = append(ops, op)
					return err
				})
			}
		}
		p.together(all...)
		for _, op := range ops {
			p.done(op)
			p.endedOnce(op.ID)
		}
		for _, b := range items[s4t.Bridge](p.lab, wire.MethodBridgeList, wire.ListRequest{Caller: p.member}) {
			if b.Status != s4t.BridgeUp {
				t.Errorf("bridge %s is %s", b.Name, b.Status)
			}
		}
	})
}

// saysUp reports whether an agent or a board has said that an object is up.
func (p *pair) saysUp(holder string, key wire.ResourceKey) (up bool) {
	p.t.Helper()
	err := p.db.View(p.t.Context(), func(tx *store.Tx) error {
		rows, err := tx.Held(holder, []wire.ResourceKey{key})
		up = len(rows) == 1 && rows[0].Up
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return up
}

// TestReportsOfAnAgentThatRestartedAreTaken: its first word is heard by one
// conductor and its reports, whose numbers begin anew, by the other.
func TestReportsOfAnAgentThatRestartedAreTaken(t *testing.T) {
	withTwo(t, func(t *testing.T, p *pair) {
		f := p.online("one")
		p.done(p.bridge(p.a, "lab", f))
		p.deaf(f)
		port := wire.ResourceKey{Kind: wire.KindPort, ID: string(f.ports()[0].ID)}
		report := func(c *Conductor, incarnation string, seq int64, up bool) error {
			_, err := c.tunnelReport(t.Context(), wire.TunnelReport{
				Agent: tunnelID, Incarnation: incarnation, Seq: seq, More: true, States: []wire.ResourceState{{Kind: port.Kind, ID: port.ID, Up: up}},
			})
			return err
		}
		if err := report(p.a, "t1", 900, false); err != nil || p.saysUp(string(tunnelID), port) {
			t.Fatal("the first one's report was not taken", err)
		}
		if _, err := p.a.agentHello(t.Context(), wire.AgentHello{ID: tunnelID, Kind: wire.AgentTunnel, Incarnation: "t2", URL: tunnelURL, PublicPorts: s4t.PortRange{First: 50000, Last: 50009}}); err != nil {
			t.Fatal(err)
		}
		for seq := int64(1); seq <= 20; seq++ {
			up := seq%2 == 1
			if err := report(p.b, "t2", seq, up); err != nil || p.saysUp(string(tunnelID), port) != up {
				t.Errorf("report %d was dropped: %v", seq, err)
			}
		}
		if err := report(p.a, "t2", 19, true); err != nil || p.saysUp(string(tunnelID), port) {
			t.Errorf("report 19 was taken after 20: %v", err)
		}
		if err := report(p.b, "t1", 901, true); s4t.KindOf(err) != s4t.Conflict || p.saysUp(string(tunnelID), port) {
			t.Errorf("a report of the one before was taken: %v", err)
		}
	})
}

// TestReportsOfABoardThatConnectedAnewAreTaken is the same of a board, whose
// numbers begin anew with its session.
func TestReportsOfABoardThatConnectedAnewAreTaken(t *testing.T) {
	withTwo(t, func(t *testing.T, p *pair) {
		f := p.online("one")
		p.done(p.bridge(p.a, "lab", f))
		p.deaf(f)
		port := wire.ResourceKey{Kind: wire.KindPort, ID: string(f.ports()[0].ID)}
		report := func(c *Conductor, seq int64, up bool) error {
			_, err := c.boardReport(t.Context(), wire.BoardReport{
				Board: f.id, Epoch: f.epochNow(p.lab), Seq: seq, Generation: 99, Resources: []wire.ResourceState{{Kind: port.Kind, ID: port.ID, Up: up}},
			})
			return err
		}
		if err := report(p.a, 900, false); err != nil || p.saysUp(string(f.id), port) {
			t.Fatal("the report of the first session was not taken", err)
		}
		welcome, err := p.a.boardConnected(t.Context(), wire.BoardConnected{Board: f.id, Agent: wampID, Incarnation: "w1", Instance: "i1"})
		if err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		f.epoch, f.seq = welcome.Epoch, 0
		p.mu.Unlock()
		for seq := int64(1); seq <= 20; seq++ {
			up := seq%2 == 1
			if err := report(p.b, seq, up); err != nil || p.saysUp(string(f.id), port) != up {
				t.Errorf("report %d was dropped: %v", seq, err)
			}
		}
		if err := report(p.a, 19, true); err != nil || p.saysUp(string(f.id), port) {
			t.Errorf("report 19 was taken after 20: %v", err)
		}
	})
}

// TestIncarnations: the conductor that did not hear an agent's hello knows as
// well who has its id.
func TestIncarnations(t *testing.T) {
	withTwo(t, func(t *testing.T, p *pair) {
		hello := func(c *Conductor, incarnation string) error {
			_, err := c.agentHello(t.Context(), wire.AgentHello{ID: tunnelID, Kind: wire.AgentTunnel, Incarnation: incarnation, URL: tunnelURL, PublicPorts: s4t.PortRange{First: 50000, Last: 50009}})
			return err
		}
		if err := hello(p.a, "t2"); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*Conductor{p.b, p.a} {
			for incarnation, want := range map[string]s4t.Kind{"t2": "", "t1": s4t.Conflict, "from a backup": s4t.Unavailable} {
				_, beat := c.agentBeat(t.Context(), wire.AgentBeat{ID: tunnelID, Incarnation: incarnation})
				_, ask := c.tunnelDesired(t.Context(), wire.TunnelAsk{Agent: tunnelID, Incarnation: incarnation})
				_, report := c.tunnelReport(t.Context(), wire.TunnelReport{Agent: tunnelID, Incarnation: incarnation})
				for what, err := range map[string]error{"beat": beat, "ask": ask, "report": report} {
					if s4t.KindOf(err) != want {
						t.Errorf("the %s of %q: %v, want %q", what, incarnation, err, want)
					}
				}
			}
			if err := hello(c, "t1"); s4t.KindOf(err) != s4t.Conflict {
				t.Errorf("the one that was replaced came back: %v", err)
			}
		}
	})
}

// TestEventsAreToldOnceEachAndInOrder while both write: who reads on after the
// newest that it has misses none.
func TestEventsAreToldOnceEachAndInOrder(t *testing.T) {
	withTwo(t, func(t *testing.T, p *pair) {
		const writers, each = 4, 12
		read := func(all []s4t.Event) []s4t.Event {
			after := int64(0)
			if len(all) > 0 {
				after = all[len(all)-1].ID
			}
			page, err := p.b.eventList(t.Context(), wire.EventList{Caller: p.admin, After: after})
			if err != nil {
				t.Error(err)
			}
			return append(all, page.Items...)
		}
		var got []s4t.Event
		reading, stop := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(reading)
			for {
				select {
				case <-stop:
					return
				default:
					got = read(got)
				}
			}
		}()
		var all []func() error
		for w := range writers {
			c := []*Conductor{p.a, p.b}[w%2]
			all = append(all, func() error {
				for i := range each {
					if _, err := c.boardCreate(t.Context(), wire.BoardCreate{Caller: p.member, Name: fmt.Sprintf("board%d-%d", w, i)}); err != nil {
						return err
					}
				}
				return nil
			})
		}
		p.together(all...)
		close(stop)
		<-reading
		got = read(got)

		kept := p.allEvents()
		same := func(who string, events []s4t.Event) {
			t.Helper()
			names := map[string]bool{}
			for i, e := range events {
				if i > 0 && e.ID <= events[i-1].ID || names[e.Name] {
					t.Errorf("%s has event %d after %d, %s twice: %v", who, e.ID, events[i-1].ID, e.Name, names[e.Name])
				}
				names[e.Name] = true
			}
			if len(events) != len(kept) || len(events) != writers*each {
				t.Errorf("%s has %d events, %d are kept, of %d that happened", who, len(events), len(kept), writers*each)
			}
		}
		same("who reads all the while", got)
		p.await("board.created", kept[len(kept)-1].Name)
		p.mu.Lock()
		told := slices.Clone(p.events)
		p.mu.Unlock()
		same("who reads when it is told", told)
	})
}

// TestEventsOfAConductorThatDiedAreTold: it ended between commit and fan-out,
// and upkeep tells of them, wherever it runs.
func TestEventsOfAConductorThatDiedAreTold(t *testing.T) {
	withUpkeep(t, func(t *testing.T, p *pair) {
		err := p.db.Tx(t.Context(), func(tx *store.Tx) error {
			tx.InsertEvents(s4t.Event{At: time.Now(), Kind: "board.created", Project: projectID, Name: "orphan"})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		p.await("board.created", "orphan")
	})
}

// upkeepOf has a conductor do a round of upkeep and reports whether it did.
func upkeepOf(ctx context.Context, c *Conductor) bool {
	swept := func() time.Time {
		c.upkept.mu.Lock()
		defer c.upkept.mu.Unlock()
		return c.upkept.swept
	}
	before := swept()
	c.upkeep(ctx)
	return swept().After(before)
}

func TestUpkeepRunsInOneConductor(t *testing.T) {
	withUpkeep(t, func(t *testing.T, p *pair) {
		first, second, stopFirst := p.a, p.b, p.stopA
		if !upkeepOf(t.Context(), first) {
			first, second, stopFirst = p.b, p.a, p.stopB
		}
		if !upkeepOf(t.Context(), first) || upkeepOf(t.Context(), second) {
			t.Fatal("it runs in both, or in none")
		}
		stopFirst()
		if !upkeepOf(t.Context(), second) {
			t.Error("the first has stopped, and the other did not take over at once")
		}
	})
}

func TestUpkeepOfAConductorThatWasKilledIsTakenOver(t *testing.T) {
	withUpkeep(t, func(t *testing.T, p *pair) {
		first, second := p.a, p.b
		if !upkeepOf(t.Context(), first) {
			first, second = p.b, p.a
		}
		u := &first.upkept
		u.mu.Lock() // it does not renew its lease any more
		if upkeepOf(t.Context(), second) {
			t.Error("the other did not wait until the lease ran out")
		}
		// The lease was taken some time ago.
		err := p.db.Tx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.TakeLease(upkeepLease, u.holder, -time.Second)
			u.renew = tx.Now().Add(-leaseTime / 2)
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if !upkeepOf(t.Context(), second) {
			t.Error("the lease has run out, and the other did not take over")
		}
		u.mu.Unlock() // it had only stood still
		if upkeepOf(t.Context(), first) || !upkeepOf(t.Context(), second) {
			t.Error("the one that stood still does not know that another took over")
		}
	})
}

// TestSumsFindWhatWasLost on the way from the tunnel agent to whichever
// conductor.
func TestSumsFindWhatWasLost(t *testing.T) {
	withTwo(t, func(t *testing.T, p *pair) {
		f := p.online("one")
		p.deaf(f)
		op := p.bridge(p.a, "lab", f)
		board, whole := p.reports(p.a, f)
		if _, err := p.b.boardReport(t.Context(), board); err != nil {
			t.Fatal(err)
		}
		tell := func(c *Conductor, r wire.TunnelReport) wire.TunnelReported {
			t.Helper()
			p.mu.Lock()
			p.tunnel.seq++
			r.Seq = p.tunnel.seq
			p.mu.Unlock()
			answer, err := c.tunnelReport(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		// The difference that says that the port is up is lost. What comes after it
		// says nothing, but its sum does.
		after := whole
		after.Range, after.States = nil, nil
		if !tell(p.b, after).Whole {
			t.Error("a lost difference is not found")
		}
		if now := call[s4t.Operation](p.lab, wire.MethodOperationGet, wire.OperationGet{Caller: p.member, ID: op.ID}); now.Status != s4t.OperationRunning {
			t.Errorf("%+v", now)
		}
		if tell(p.a, whole).Whole || tell(p.b, after).Whole {
			t.Error("all was told, and the sums still differ")
		}
		p.endedOnce(op.ID)

		// The fault may be on our side.
		err := p.db.Tx(t.Context(), func(tx *store.Tx) error { return tx.AddSaidSum(tunnelID, 7) })
		if err != nil {
			t.Fatal(err)
		}
		if !tell(p.a, after).Whole || tell(p.b, whole).Whole || tell(p.a, after).Whole {
			t.Error("a wrong sum of the cloud is not found, or not mended")
		}

		// The other direction: what is wanted of the agent has the sum that it is
		// told, at either, since any generation.
		for _, c := range []*Conductor{p.a, p.b} {
			d, err := c.tunnelDesired(t.Context(), wire.TunnelAsk{Agent: tunnelID, Incarnation: "t1"})
			if err != nil || !d.Whole {
				t.Fatalf("%+v, %v", d, err)
			}
			var sum wire.Sum
			for _, r := range d.Resources {
				if !r.Gone {
					sum = sum.Add(r.Sum())
				}
			}
			if sum != d.Sum || sum == 0 {
				t.Errorf("what is wanted has the sum %d, and it is told %d", sum, d.Sum)
			}
			d, err = c.tunnelDesired(t.Context(), wire.TunnelAsk{Agent: tunnelID, Incarnation: "t1", Since: d.Generation})
			if err != nil || d.Whole || len(d.Resources) != 0 || d.Sum != sum {
				t.Errorf("nothing has changed since: %+v, %v", d, err)
			}
		}
	})
}
