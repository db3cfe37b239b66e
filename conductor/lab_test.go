package conductor

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a conductor on a real queue and a real database, with fake agents.
type lab struct {
	t    testing.TB
	path string
	db   *store.DB
	q    *queue.Mem
	c    *Conductor
	key  ed25519.PrivateKey
	skew atomic.Int64 // nanoseconds that the conductor's clock is ahead
	stop func()       // ends the conductor

	member, reader, foreign, admin wire.Caller

	mu     sync.Mutex
	boards map[s4t.BoardID]*fakeBoard
	events []s4t.Event
	seen   chan struct{} // closed, and made anew, with each event
	kicks  []wire.BoardKick
	pings  int

	tunnel *fakeTunnel
}

// fakeBoard does what lightning-rod does: on a wake-up it asks for its desired
// state, applies it and reports.
type fakeBoard struct {
	id      s4t.BoardID
	name    string
	epoch   int64
	session bool
	alive   bool   // answers pings
	deaf    bool   // does nothing on a wake-up
	problem string // of its ports: they do not come up
	desired wire.BoardDesired
}

// fakeTunnel does what a tunnel agent does.
type fakeTunnel struct {
	incarnation string
	deaf        bool
	problems    map[string]string
	busy        int                    // so many more public ports turn out to be another program's
	taken       map[int]bool           // these did
	open        map[s4t.ServiceID]bool // exposures that listen
	streams     map[s4t.BoardID]bool
	desired     wire.TunnelDesired
	seq         uint64
}

const (
	projectID  s4t.ProjectID = "11111111-1111-4111-8111-111111111111"
	otherID    s4t.ProjectID = "22222222-2222-4222-8222-222222222222"
	wampID     s4t.AgentID   = "wamp-agent-1"
	tunnelID   s4t.AgentID   = "tunnel-agent-1"
	tunnelURL                = "https://tunnel.example:8812"
	cloudURL                 = "https://cloud.example:8812"
	testTarget               = "127.0.0.1"
)

// blank is the file of a database with the schema and two projects: made once,
// copied for each test.
var blank = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "s4t-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s4t.db")
	db, err := store.Open(context.Background(), store.Config{URL: "sqlite:" + path})
	if err != nil {
		return nil, err
	}
	err = db.Tx(context.Background(), func(tx *store.Tx) error {
		return errors.Join(
			tx.InsertProject(s4t.Project{ID: projectID, Name: "default", Weight: 1, CreatedAt: time.Now()}),
			tx.InsertProject(s4t.Project{ID: otherID, Name: "other", Weight: 1, CreatedAt: time.Now()}))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func newLab(t testing.TB) *lab {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{
		t: t, path: filepath.Join(t.TempDir(), "s4t.db"), q: queue.New(), key: key, boards: map[s4t.BoardID]*fakeBoard{}, seen: make(chan struct{}),
		member:  wire.Caller{User: "mia", Project: projectID, Role: s4t.RoleMember},
		reader:  wire.Caller{User: "rob", Project: projectID, Role: s4t.RoleReader},
		foreign: wire.Caller{User: "eve", Project: otherID, Role: s4t.RoleMember},
		admin:   wire.Caller{User: "ann", Project: otherID, Role: s4t.RoleAdmin},
		tunnel:  &fakeTunnel{incarnation: "t1", problems: map[string]string{}, taken: map[int]bool{}, open: map[s4t.ServiceID]bool{}, streams: map[s4t.BoardID]bool{}},
	}
	file, err := blank()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	l.db, err = store.Open(t.Context(), store.Config{URL: "sqlite:" + l.path})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	serve := func(topic, server string, mux queue.Mux) {
		running.Go(func() { l.q.Serve(ctx, topic, server, 16, mux.Serve) })
	}
	serve(wire.TopicWAMPAgent, string(wampID), queue.Mux{
		wire.MethodBoardWake: queue.Handle(l.boardWake),
		wire.MethodBoardKick: queue.Handle(l.boardKick),
		wire.MethodBoardPing: queue.Handle(l.boardPing),
		wire.MethodBoardCall: queue.Handle(func(_ context.Context, call wire.BoardCall) (any, error) {
			if call.Procedure == "hostkeys" {
				return wire.HostKeys{Keys: []string{"ssh-ed25519 AAAA"}}, nil
			}
			return wire.DoctorReport{Findings: []wire.Finding{{Check: "clock", Level: "error", Cause: "it says 1970"}}}, nil
		}),
	})
	serve(wire.TopicTunnelAgent, string(tunnelID), queue.Mux{
		wire.MethodAgentWake: queue.Handle(func(context.Context, wire.AgentWake) (wire.Empty, error) {
			l.tunnelApply()
			return wire.Empty{}, nil
		}),
		wire.MethodPortCounters: queue.Handle(func(context.Context, wire.PortCountersAsk) (s4t.PortCounters, error) {
			return s4t.PortCounters{RxFrames: 7}, nil
		}),
		wire.MethodCounters: queue.Handle(func(_ context.Context, req wire.CountersAsk) (wire.Counters, error) {
			answer := wire.Counters{Ports: map[s4t.PortID]s4t.PortCounters{}}
			for _, id := range req.Ports {
				answer.Ports[id] = s4t.PortCounters{RxFrames: 7}
			}
			return answer, nil
		}),
	})
	running.Go(func() { l.q.Serve(ctx, wire.TopicEvents, "", 1, l.event) })
	l.start()
	t.Cleanup(func() {
		l.stop()
		cancel()
		running.Wait()
		l.db.Close()
	})
	l.wampHello("w1")
	l.tunnelHello("t1")
	return l
}

// start starts a conductor, as after a restart.
func (l *lab) start() {
	l.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() && os.Getenv("S4T_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	c, err := New(Config{
		Store: l.db, Queue: l.q, TicketKey: l.key, URLs: []string{cloudURL}, CAFingerprint: fmt.Sprintf("%064x", 7), Log: log,
		Now: func() time.Time { return time.Now().Add(time.Duration(l.skew.Load())) },
	})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	l.c = c
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("Run returned %v", err)
		}
	})
	// It serves when it answers.
	for {
		err := l.q.Call(l.t.Context(), wire.TopicConductor, wire.MethodEventList, wire.EventList{Caller: l.admin, After: 1 << 40}, nil)
		if err == nil {
			return
		}
		if s4t.KindOf(err) != s4t.Unavailable {
			l.t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// ahead lets the conductor's clock run ahead, in steps that are not taken for
// a jump, and has it look at its deadlines at each.
func (l *lab) ahead(d time.Duration) {
	for ; d > 0; d -= 2 * time.Second {
		l.skew.Add(int64(min(d, 2*time.Second)))
		l.c.upkeep(l.t.Context())
	}
}

// call calls the conductor and fails the test on an error.
func call[Reply any](l *lab, method string, req any) Reply {
	l.t.Helper()
	r, err := try[Reply](l, method, req)
	if err != nil {
		l.t.Fatalf("%s: %v", method, err)
	}
	return r
}

// patience is how long a call may take on a machine that is busy with other
// things: no test is about the queue's own deadline.
const patience = 2 * time.Minute

// try calls the conductor.
func try[Reply any](l *lab, method string, req any) (Reply, error) {
	var r Reply
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := l.q.Call(ctx, wire.TopicConductor, method, req, &r)
	return r, err
}

func (l *lab) event(_ context.Context, _ string, body []byte) ([]byte, error) {
	_, err := queue.Handle(func(_ context.Context, e s4t.Event) (wire.Empty, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events = append(l.events, e)
		close(l.seen)
		l.seen = make(chan struct{})
		return wire.Empty{}, nil
	})(context.Background(), wire.MethodEvent, body)
	return nil, err
}

// await waits until an event of this kind about this board or object was told.
func (l *lab) await(kind, about string) s4t.Event {
	l.t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		l.mu.Lock()
		for _, e := range l.events {
			if e.Kind == kind && (about == "" || e.Board == about || e.Name == about || e.Object == about) {
				l.mu.Unlock()
				return e
			}
		}
		seen := l.seen
		l.mu.Unlock()
		select {
		case <-seen:
		case <-deadline:
			l.t.Fatalf("no event %s about %q came; those that did: %v", kind, about, l.kinds())
		}
	}
}

// kinds are the kinds of the events that were told.
func (l *lab) kinds() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kinds []string
	for _, e := range l.events {
		kinds = append(kinds, e.Kind+" "+e.Board+e.Name)
	}
	return kinds
}

// forget forgets the events so far, after they were all told.
func (l *lab) forget() {
	l.t.Helper()
	last, err := l.c.lastEvent(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	deadline := time.After(5 * time.Second)
	for {
		l.mu.Lock()
		told := last == 0 || len(l.events) > 0 && l.events[len(l.events)-1].ID >= last
		seen := l.seen
		if told {
			l.events = slices.DeleteFunc(l.events, func(e s4t.Event) bool { return e.ID < last })
			for i := range l.events {
				l.events[i].Kind = "old"
			}
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		select {
		case <-seen:
		case <-deadline:
			l.t.Fatal("events are not told")
		}
	}
}

func (l *lab) wampHello(incarnation string) {
	l.t.Helper()
	call[wire.AgentWelcome](l, wire.MethodAgentHello, wire.AgentHello{ID: wampID, Kind: wire.AgentWAMP, Incarnation: incarnation, URL: cloudURL})
}

func (l *lab) tunnelHello(incarnation string) {
	l.t.Helper()
	l.mu.Lock()
	l.tunnel.incarnation, l.tunnel.seq = incarnation, 0
	l.mu.Unlock()
	call[wire.AgentWelcome](l, wire.MethodAgentHello, wire.AgentHello{
		ID: tunnelID, Kind: wire.AgentTunnel, Incarnation: incarnation, URL: tunnelURL, Host: "tunnel.example", PublicPorts: "50000-50009",
	})
	l.tunnelApply()
}

// tunnelApply asks for the desired state, and reports that all of it is there.
func (l *lab) tunnelApply() {
	d, err := try[wire.TunnelDesired](l, wire.MethodTunnelAsk, wire.TunnelAsk{Agent: tunnelID})
	if err != nil {
		return // the conductor is being stopped
	}
	l.mu.Lock()
	if l.tunnel.deaf {
		l.mu.Unlock()
		return
	}
	l.tunnel.desired = d
	l.mu.Unlock()
	l.tunnelReport()
}

func (l *lab) tunnelReport() {
	l.mu.Lock()
	tun := l.tunnel
	tun.seq++
	r := wire.TunnelReport{Agent: tunnelID, Incarnation: tun.incarnation, Generation: tun.desired.Generation, Seq: tun.seq, Problems: map[string]string{}}
	for id, p := range tun.problems {
		r.Problems[id] = p
	}
	for _, n := range tun.desired.Networks {
		for _, p := range n.Ports {
			if tun.problems[string(p.ID)] == "" {
				r.Ports = append(r.Ports, p.ID)
			}
		}
		for _, e := range n.AttachGRE {
			if problem := tun.problems[e.Remote]; problem != "" {
				r.Problems[string(e.ID)] = problem
				continue
			}
			r.Endpoints = append(r.Endpoints, e.ID)
		}
	}
	for _, n := range tun.desired.Networks {
		if problem := tun.problems[n.Uplink]; n.Uplink != "" && problem != "" {
			r.Problems[string(n.ID)] = problem
		} else if n.Uplink != "" {
			r.Uplinks = append(r.Uplinks, n.ID)
		}
	}
	for _, e := range tun.desired.Exposures {
		if tun.busy > 0 && !tun.open[e.ID] && !tun.taken[e.PublicPort] {
			tun.busy--
			tun.taken[e.PublicPort] = true
		}
		if tun.taken[e.PublicPort] {
			r.Problems[string(e.ID)] = "another program listens there"
			continue
		}
		tun.open[e.ID] = true
		r.Exposures = append(r.Exposures, e.ID)
	}
	for b := range tun.streams {
		r.Streams = append(r.Streams, b)
	}
	l.mu.Unlock()
	try[wire.Empty](l, wire.MethodTunnelReport, r)
}

// board creates a board and joins it.
func (l *lab) board(name string) *fakeBoard {
	l.t.Helper()
	b := call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: name})
	j, err := s4t.ParseJoin(b.Join)
	if err != nil {
		l.t.Fatal(err)
	}
	call[wire.BoardJoined](l, wire.MethodBoardJoin, wire.BoardJoin{Code: j.Code, PublicKey: make([]byte, ed25519.PublicKeySize)})
	f := &fakeBoard{id: b.ID, name: name}
	l.mu.Lock()
	l.boards[b.ID] = f
	l.mu.Unlock()
	return f
}

// online creates a board and connects it.
func (l *lab) online(name string) *fakeBoard {
	l.t.Helper()
	f := l.board(name)
	l.connect(f, "i1")
	return f
}

func (l *lab) connectTry(f *fakeBoard, instance string) error {
	w, err := try[wire.BoardWelcome](l, wire.MethodBoardConnected, wire.BoardConnected{
		Board: f.id, Agent: wampID, Incarnation: "w1", Instance: instance, Info: s4t.BoardInfo{Networks: f.problem == "", HostKeys: []string{"ssh-ed25519 AAAA " + f.name}},
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	f.epoch, f.session, f.alive = w.Epoch, true, true
	l.mu.Unlock()
	l.boardApply(f, w.Desired)
	return nil
}

func (l *lab) connect(f *fakeBoard, instance string) {
	l.t.Helper()
	if err := l.connectTry(f, instance); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) disconnect(f *fakeBoard) {
	l.t.Helper()
	l.mu.Lock()
	f.session = false
	epoch := f.epoch
	l.mu.Unlock()
	call[wire.Empty](l, wire.MethodBoardDisconnected, wire.BoardDisconnected{Board: f.id, Epoch: epoch})
}

func (l *lab) boardWake(_ context.Context, req wire.BoardWake) (wire.Empty, error) {
	l.mu.Lock()
	f := l.boards[req.Board]
	ok := f != nil && f.session && !f.deaf
	l.mu.Unlock()
	if !ok {
		return wire.Empty{}, nil
	}
	try[wire.Empty](l, wire.MethodBoardWoken, req)
	d, err := try[wire.BoardDesired](l, wire.MethodBoardDesired, wire.BoardAsk{Board: f.id, Epoch: f.epochNow(l)})
	if err == nil {
		l.boardApply(f, d)
	}
	return wire.Empty{}, nil
}

func (f *fakeBoard) epochNow(l *lab) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return f.epoch
}

// boardApply applies a desired state, unless it knows a newer one.
func (l *lab) boardApply(f *fakeBoard, d wire.BoardDesired) {
	l.mu.Lock()
	if d.Generation < f.desired.Generation {
		l.mu.Unlock()
		return
	}
	f.desired = d
	r := l.reportOf(f)
	was := l.tunnel.streams[f.id]
	if d.Streams != nil {
		l.tunnel.streams[f.id] = true
	} else {
		delete(l.tunnel.streams, f.id)
	}
	l.mu.Unlock()
	try[wire.Empty](l, wire.MethodBoardReport, r)
	if was != (d.Streams != nil) {
		l.tunnelReport()
	}
}

// reportOf is what a board says. The caller holds mu.
func (l *lab) reportOf(f *fakeBoard) wire.BoardReport {
	r := wire.BoardReport{Board: f.id, Epoch: f.epoch, Generation: f.desired.Generation}
	for _, p := range f.desired.Ports {
		r.Ports = append(r.Ports, wire.PortReport{ID: p.ID, Up: f.problem == "", Problem: f.problem})
	}
	if f.problem != "" {
		r.Problems = []string{f.problem}
	}
	return r
}

func (l *lab) boardKick(_ context.Context, req wire.BoardKick) (wire.Empty, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kicks = append(l.kicks, req)
	return wire.Empty{}, nil
}

func (l *lab) boardPing(ctx context.Context, req wire.BoardPing) (wire.Empty, error) {
	l.mu.Lock()
	l.pings++
	f := l.boards[req.Board]
	ok := f != nil && f.alive && f.epoch == req.Epoch
	l.mu.Unlock()
	if !ok {
		return wire.Empty{}, s4t.Errorf(s4t.Timeout, "ping", "", "no answer")
	}
	return wire.Empty{}, nil
}

// done waits for an operation and fails the test unless it succeeded.
func (l *lab) done(op s4t.Operation) s4t.Operation {
	l.t.Helper()
	op = l.ended(op)
	if op.Status != s4t.OperationSucceeded {
		l.t.Fatalf("operation %s: %s: %s (%s)", op.Kind, op.Status, op.Error, op.ErrorKind)
	}
	return op
}

// ended waits until an operation has ended.
func (l *lab) ended(op s4t.Operation) s4t.Operation {
	l.t.Helper()
	deadline := time.Now().Add(8 * time.Second)
	for op.Status == s4t.OperationRunning {
		if time.Now().After(deadline) {
			l.t.Fatalf("operation %s does not end: %+v", op.Kind, op.Steps)
		}
		op = call[s4t.Operation](l, wire.MethodOperationGet, wire.OperationGet{Caller: l.admin, ID: op.ID, Wait: 5 * time.Second, Steps: len(op.Steps)})
	}
	return op
}

func (l *lab) bridgeNow(name string) s4t.Bridge {
	l.t.Helper()
	return call[s4t.Bridge](l, wire.MethodBridgeGet, wire.RefRequest{Caller: l.reader, Ref: name})
}

func (l *lab) boardNow(name string) s4t.Board {
	l.t.Helper()
	return call[s4t.Board](l, wire.MethodBoardGet, wire.RefRequest{Caller: l.reader, Ref: name})
}
