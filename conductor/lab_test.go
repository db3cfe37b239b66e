package conductor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// lab is a conductor on a real queue and a real database, with fake agents.
type lab struct {
	t        testing.TB
	path     string // of an SQLite database
	postgres bool
	url      string // of the database
	db       *store.DB
	q        *queue.Mem
	c        *Conductor
	key      ed25519.PrivateKey
	names    names
	skew     atomic.Int64 // nanoseconds that the conductor's clock is ahead
	stop     func()       // ends the conductor

	member, reader, foreign wire.Caller
	admin, operator         wire.Caller // of the other project, and of that of the boards

	mu     sync.Mutex
	boards map[s4t.BoardID]*fakeBoard
	events []s4t.Event
	moved  map[s4t.OperationID]int // operations that were told to have moved
	seen   chan struct{}           // closed, and made anew, with each event
	kicks  chan wire.BoardKick     // sessions that were ended
	pings  int

	tunnel *fakeTunnel
}

// names are the addresses of hosts, as the conductor finds them.
type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if addrs, ok := n[host]; ok {
		return slices.Clone(addrs), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// fakeBoard does what lightning-rod does: on a wake-up it asks for its desired
// state, applies it and reports.
type fakeBoard struct {
	id        s4t.BoardID
	name      string
	epoch     int64
	seq       int64 // of its last report in this session
	session   bool
	alive     bool   // answers pings
	deaf      bool   // does nothing on a wake-up
	problem   string // of its ports: they do not come up
	problemID string
	fails     map[string]wire.ResourceState // problems of other objects, by id
	desired   wire.BoardDesired
	routes    []string // and DNS servers, as it tells them
	resolvers []string
}

// ports are those of its desired state.
func (f *fakeBoard) ports() []desiredPort {
	return specs[desiredPort](wire.KindPort, f.desired.Resources)
}

// services are those of its desired state.
func (f *fakeBoard) services() []desiredService {
	return specs[desiredService](wire.KindService, f.desired.Resources)
}

// streams are the idle data rtunnels that are wanted of it, nil: none.
func (f *fakeBoard) streams() *wire.DesiredStreams { return streamsOf(f.desired) }

func streamsOf(d wire.BoardDesired) *wire.DesiredStreams {
	for _, s := range wire.Specs[wire.DesiredStreams](wire.KindStreams, d.Resources) {
		return &s
	}
	return nil
}

// Specs with the id of their resource.
type (
	desiredPort struct {
		ID s4t.PortID
		wire.DesiredPort
	}
	desiredService struct {
		ID s4t.ServiceID
		wire.DesiredService
	}
	tunnelPort struct {
		ID s4t.PortID
		wire.TunnelPort
	}
	tunnelExposure struct {
		ID s4t.ServiceID
		wire.TunnelExposure
	}
	tunnelUplink struct {
		ID s4t.NetworkID
		wire.TunnelUplink
	}
	tunnelNetwork struct {
		ID s4t.NetworkID
		wire.TunnelNetwork
	}
)

// specs decodes the specs of a kind, with their ids.
func specs[T any](kind wire.Kind, list []wire.Resource) (found []T) {
	for _, r := range list {
		if r.Kind != kind {
			continue
		}
		var v T
		id := reflect.ValueOf(&v).Elem().Field(0)
		if err := json.Unmarshal(r.Spec, reflect.ValueOf(&v).Elem().Field(1).Addr().Interface()); err != nil {
			panic(err)
		}
		id.SetString(r.ID)
		found = append(found, v)
	}
	return found
}

// fakeTunnel does what a tunnel agent does.
type fakeTunnel struct {
	incarnation string
	deaf        bool
	problems    map[string]string
	busy        int                    // so many more public ports turn out to be another program's
	taken       map[int]bool           // these did
	open        map[s4t.ServiceID]bool // exposures that listen
	generation  int64
	desired     []wire.Resource // all of it
	seq         int64
}

const (
	projectID  s4t.ProjectID = "11111111-1111-4111-8111-111111111111"
	otherID    s4t.ProjectID = "22222222-2222-4222-8222-222222222222"
	wampID     s4t.AgentID   = "wamp-agent-1"
	tunnelID   s4t.AgentID   = "tunnel-agent-1"
	tunnelURL                = "https://tunnel.example:8812"
	cloudURL                 = "https://cloud.example:8812"
	apiURL                   = "https://api.example:8812"
	testTarget               = "127.0.0.1"
)

// onPostgres says that the tests run on PostgreSQL (`make test` runs them on
// both engines). Those that need another clock than the database's are skipped.
func onPostgres() bool { return os.Getenv("S4T_TEST_ENGINE") == "postgres" }

// needsClock is for tests that move the clock, which of the two engines only
// SQLite takes from the process.
func needsClock(t testing.TB) {
	if onPostgres() {
		t.Skip("PostgreSQL has a clock of its own: this runs on SQLite")
	}
}

// fill puts two projects into a database.
func fill(url string) error {
	db, err := store.Open(context.Background(), store.Config{URL: url})
	if err != nil {
		return err
	}
	err = db.Tx(context.Background(), func(tx *store.Tx) error {
		return errors.Join(
			tx.InsertProject(s4t.Project{ID: projectID, Name: "default", Weight: 1, CreatedAt: time.Now()}),
			tx.InsertProject(s4t.Project{ID: otherID, Name: "other", Weight: 1, CreatedAt: time.Now()}))
	})
	return errors.Join(err, db.Close())
}

// blank is the file of a database with the schema and two projects: made once,
// copied for each test.
var blank = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "s4t-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s4t.db")
	if err := fill("sqlite:" + path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// database makes a database with two projects, and returns its URL.
func (l *lab) database() string {
	l.t.Helper()
	if l.postgres {
		return pgtest.Copy(l.t, fill)
	}
	file, err := blank()
	if err == nil {
		err = os.WriteFile(l.path, file, 0o600)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return "sqlite:" + l.path
}

func newLab(t testing.TB) *lab {
	t.Helper()
	return newLabOn(t, onPostgres())
}

func newLabOn(t testing.TB, postgres bool) *lab {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{
		t: t, path: filepath.Join(t.TempDir(), "s4t.db"), q: queue.New(), key: key, boards: map[s4t.BoardID]*fakeBoard{}, moved: map[s4t.OperationID]int{}, seen: make(chan struct{}), kicks: make(chan wire.BoardKick, 64),
		member:   vouched(key, wire.Caller{User: "mia", Project: projectID, Role: s4t.RoleMember}),
		reader:   vouched(key, wire.Caller{User: "rob", Project: projectID, Role: s4t.RoleReader}),
		foreign:  vouched(key, wire.Caller{User: "eve", Project: otherID, Role: s4t.RoleMember}),
		admin:    vouched(key, wire.Caller{User: "ann", Project: otherID, Role: s4t.RoleAdmin}),
		operator: vouched(key, wire.Caller{User: "oda", Project: projectID, Role: s4t.RoleAdmin}),
		tunnel:   &fakeTunnel{incarnation: "t1", problems: map[string]string{}, taken: map[int]bool{}, open: map[s4t.ServiceID]bool{}},
	}
	l.postgres = postgres
	l.names = names{"cloud.example": {netip.MustParseAddr("203.0.113.10")}, "tunnel.example": {netip.MustParseAddr("10.200.0.5")}}
	l.url = l.database()
	l.db = l.open()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	serve := func(topic, server string, mux queue.Mux) {
		running.Go(func() { l.q.Serve(ctx, topic, server, 16, mux.Serve) })
	}
	serve(wire.TopicWAMPAgent, string(wampID), queue.Mux{
		wire.MethodBoardWake: queue.Handle(l.boardWake),
		wire.MethodBoardKick: queue.Handle(l.boardKick),
		wire.MethodBoardPing: queue.Handle(l.boardPing),
	})
	serve(wire.TopicWAMPQuestions, string(wampID), queue.Mux{
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
	running.Go(func() { l.q.Serve(ctx, wire.TopicEvents, "", 1, l.told) })
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

// open opens the database, as each process does.
func (l *lab) open() *store.DB {
	l.t.Helper()
	db, err := store.Open(l.t.Context(), store.Config{URL: l.url, Now: func() time.Time { return time.Now().Add(time.Duration(l.skew.Load())) }})
	if err != nil {
		l.t.Fatal(err)
	}
	return db
}

// start starts a conductor, as after a restart.
func (l *lab) start() {
	l.t.Helper()
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() && os.Getenv("S4T_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	c, err := New(Config{
		Store: l.db, Queue: l.q, TicketKey: l.key, URLs: []string{cloudURL}, APIURL: apiURL, CAFingerprint: func() string { return fmt.Sprintf("%064x", 7) }, Log: log, Resolver: l.names,
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
	// It serves a topic when it answers there, that it knows no such method.
	for topic := range lanes {
		for s4t.KindOf(l.q.Call(l.t.Context(), topic, "is it there", wire.Empty{}, nil)) == s4t.Unavailable {
			select {
			case err := <-done:
				l.stop = func() {}
				l.t.Fatalf("Run returned %v", err)
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// startSecond starts another conductor beside the first, on the same database
// and queue, and returns what stops it. On PostgreSQL it has connections of its
// own; SQLite is for one process.
func (l *lab) startSecond() (*Conductor, func()) {
	l.t.Helper()
	first, stopFirst, db := l.c, l.stop, l.db
	if l.postgres {
		l.db = l.open()
	}
	l.start()
	second, stop, own := l.c, l.stop, l.db
	stopSecond := sync.OnceFunc(func() {
		stop()
		if own != db {
			own.Close()
		}
	})
	l.c, l.stop, l.db = first, func() { stopSecond(); stopFirst() }, db
	return second, stopSecond
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

// vouched signs a caller for as long as the clock of a test may be moved: no
// test takes a hundred years.
func vouched(key ed25519.PrivateKey, c wire.Caller) wire.Caller {
	return c.Signed(key, time.Now().AddDate(100, 0, 0))
}

// try calls the conductor.
func try[Reply any](l *lab, method string, req any) (Reply, error) {
	var r Reply
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := l.q.Call(ctx, wire.TopicOf(method), method, req, &r)
	return r, err
}

// items calls for a list and fails the test on an error.
func items[T any](l *lab, method string, req any) []T {
	l.t.Helper()
	return call[wire.List[T]](l, method, req).Items
}

// told hears that something is new, as an API does, and reads it.
func (l *lab) told(_ context.Context, _ string, body []byte) ([]byte, error) {
	_, err := queue.Handle(func(_ context.Context, n wire.News) (wire.Empty, error) {
		l.mu.Lock()
		last := int64(0)
		if len(l.events) > 0 {
			last = l.events[len(l.events)-1].ID
		}
		l.mu.Unlock()
		var fresh []s4t.Event
		if n.Events > last {
			page, err := try[wire.List[s4t.Event]](l, wire.MethodEventList, wire.EventList{Caller: l.admin, After: last})
			if err != nil {
				return wire.Empty{}, nil // the conductor is being stopped
			}
			fresh = page.Items
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events = append(l.events, fresh...)
		for _, id := range n.Operations {
			l.moved[id]++
		}
		close(l.seen)
		l.seen = make(chan struct{})
		return wire.Empty{}, nil
	})(context.Background(), wire.MethodNews, body)
	return nil, err
}

// await waits until an event of this kind about this board or object was told.
func (l *lab) await(kind, about string) s4t.Event {
	l.t.Helper()
	deadline := time.After(time.Minute)
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
	last := call[wire.List[s4t.Event]](l, wire.MethodEventList, wire.EventList{Caller: l.admin, Limit: 1}).EventID
	deadline := time.After(time.Minute)
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
		ID: tunnelID, Kind: wire.AgentTunnel, Incarnation: incarnation, URL: tunnelURL, Host: "tunnel.example", PublicPorts: s4t.PortRange{First: 50000, Last: 50009}, Peers: true,
	})
	l.tunnelApply()
}

// tunnelApply asks for the desired state, and reports that all of it is there.
func (l *lab) tunnelApply() {
	l.mu.Lock()
	incarnation := l.tunnel.incarnation
	l.mu.Unlock()
	var all []wire.Resource
	var generation int64
	for ask := (wire.TunnelAsk{Agent: tunnelID, Incarnation: incarnation}); ; {
		d, err := try[wire.TunnelDesired](l, wire.MethodTunnelAsk, ask)
		if err != nil {
			return // the conductor is being stopped
		}
		for _, r := range d.Resources {
			if !r.Gone {
				all = append(all, r)
			}
		}
		if generation = d.Generation; d.Next == "" {
			break
		}
		ask.After = d.Next
	}
	l.mu.Lock()
	if l.tunnel.deaf || generation < l.tunnel.generation {
		l.mu.Unlock()
		return
	}
	l.tunnel.desired, l.tunnel.generation = all, generation
	l.mu.Unlock()
	l.tunnelReport()
}

// tunnelStates is what the tunnel agent has. The caller holds mu.
func (l *lab) tunnelStates() (states []wire.ResourceState) {
	tun := l.tunnel
	for _, r := range tun.desired {
		s := wire.ResourceState{Kind: r.Kind, ID: r.ID, Up: true}
		about := r.ID
		switch r.Kind {
		case wire.KindGRE:
			about = wire.Specs[wire.GREAttachment](r.Kind, []wire.Resource{r})[0].Remote
		case wire.KindUplink:
			about = wire.Specs[wire.TunnelUplink](r.Kind, []wire.Resource{r})[0].Bridge
		case wire.KindService:
			publicPort := wire.Specs[wire.TunnelExposure](r.Kind, []wire.Resource{r})[0].PublicPort
			id := s4t.ServiceID(r.ID)
			if tun.busy > 0 && !tun.open[id] && !tun.taken[publicPort] {
				tun.busy--
				tun.taken[publicPort] = true
			}
			if tun.taken[publicPort] {
				s.Problem = "another program listens there"
			} else {
				tun.open[id] = true
			}
		}
		if problem := tun.problems[about]; problem != "" {
			s.Problem = problem
		}
		s.Up = s.Problem == ""
		states = append(states, s)
	}
	slices.SortFunc(states, func(a, b wire.ResourceState) int { return a.Key().Compare(b.Key()) })
	return states
}

// tunnelReport reports all that the tunnel agent has.
func (l *lab) tunnelReport() {
	l.mu.Lock()
	tun := l.tunnel
	tun.seq++
	r := wire.TunnelReport{Agent: tunnelID, Incarnation: tun.incarnation, Generation: tun.generation, Seq: tun.seq, States: l.tunnelStates(), Range: &wire.KeyRange{}}
	for _, s := range r.States {
		r.Sum = r.Sum.Add(s.Sum())
	}
	l.mu.Unlock()
	try[wire.TunnelReported](l, wire.MethodTunnelReport, r)
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

// joinWith joins a device with a key of its own to a board, by a join string.
func (l *lab) joinWith(join string, key byte) error {
	l.t.Helper()
	j, err := s4t.ParseJoin(join)
	if err != nil {
		l.t.Fatal(err)
	}
	_, err = try[wire.BoardJoined](l, wire.MethodBoardJoin, wire.BoardJoin{Code: j.Code, PublicKey: bytes.Repeat([]byte{key}, ed25519.PublicKeySize)})
	return err
}

// beats lets both agents beat as they do, until the test ends: for a test that
// takes long on a machine that is busy with other things.
func (l *lab) beats() {
	ctx, cancel := context.WithCancel(context.Background())
	var beating sync.WaitGroup
	beating.Go(func() {
		for ctx.Err() == nil {
			try[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: wampID, Incarnation: "w1"})
			try[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: tunnelID, Incarnation: "t1"})
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
	l.t.Cleanup(func() { cancel(); beating.Wait() })
}

// report lets a board say what it has again.
func (l *lab) report(f *fakeBoard) { l.boardApply(f, f.desired) }

// online creates a board and connects it.
func (l *lab) online(name string) *fakeBoard {
	l.t.Helper()
	f := l.board(name)
	l.connect(f, "i1")
	return f
}

func (l *lab) connectTry(f *fakeBoard, instance string) error {
	w, err := try[wire.BoardWelcome](l, wire.MethodBoardConnected, wire.BoardConnected{
		Board: f.id, Agent: wampID, Incarnation: "w1", Instance: instance, Info: s4t.BoardInfo{Networks: f.problem == "", HostKeys: []string{"ssh-ed25519 AAAA " + f.name}, Routes: f.routes, Resolvers: f.resolvers},
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	f.epoch, f.session, f.alive, f.seq = w.Epoch, true, true, 0
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
	told := time.Now()
	try[wire.Empty](l, wire.MethodBoardWoken, req)
	d, err := try[wire.BoardDesired](l, wire.MethodBoardDesired, wire.BoardAsk{Board: f.id, Epoch: f.epochNow(l), Told: told})
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
	f.seq++
	r := l.reportOf(f)
	r.Seq = f.seq
	l.mu.Unlock()
	try[wire.Empty](l, wire.MethodBoardReport, r)
}

// reportOf is what a board says. The caller holds mu.
func (l *lab) reportOf(f *fakeBoard) wire.BoardReport {
	r := wire.BoardReport{Board: f.id, Epoch: f.epoch, Generation: f.desired.Generation, Told: f.desired.Told, Received: f.desired.Time}
	for _, res := range f.desired.Resources {
		s := wire.ResourceState{Kind: res.Kind, ID: res.ID, Up: true}
		if res.Kind == wire.KindPort && f.problem != "" {
			s.Up, s.ProblemID, s.Problem = false, f.problemID, f.problem
		}
		if p, ok := f.fails[res.ID]; ok {
			s.Up, s.ProblemID, s.Problem = p.Up, p.ProblemID, p.Problem
		}
		r.Resources = append(r.Resources, s)
	}
	if f.problem != "" {
		r.Problems = []string{f.problem}
	}
	return r
}

func (l *lab) boardKick(_ context.Context, req wire.BoardKick) (wire.Empty, error) {
	l.kicks <- req
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
	deadline := time.Now().Add(time.Minute)
	return l.watch(op.ID, func(op s4t.Operation) bool {
		if time.Now().After(deadline) {
			l.t.Fatalf("operation %s does not end: %+v", op.Kind, op.Steps)
		}
		return op.Status != s4t.OperationRunning
	})
}

// watch reads an operation each time it has moved, until it is as wanted.
func (l *lab) watch(id s4t.OperationID, as func(s4t.Operation) bool) s4t.Operation {
	l.t.Helper()
	for {
		l.mu.Lock()
		before := l.moved[id]
		l.mu.Unlock()
		op := call[s4t.Operation](l, wire.MethodOperationGet, wire.OperationGet{Caller: l.admin, ID: id})
		if as(op) {
			return op
		}
		for late := time.After(time.Second); late != nil; {
			l.mu.Lock()
			moved, seen := l.moved[id], l.seen
			l.mu.Unlock()
			if moved > before {
				break
			}
			select {
			case <-seen:
			case <-late: // the news of it was lost
				late = nil
			}
		}
	}
}

func (l *lab) bridgeNow(name string) s4t.Bridge {
	l.t.Helper()
	return call[s4t.Bridge](l, wire.MethodBridgeGet, wire.RefRequest{Caller: l.reader, Ref: name})
}

// tunnelWants are the specs of a kind that are wanted of the tunnel agent now.
func tunnelWants[T any](l *lab, kind wire.Kind) []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return specs[T](kind, l.tunnel.desired)
}

func (l *lab) boardNow(name string) s4t.Board {
	l.t.Helper()
	return call[s4t.Board](l, wire.MethodBoardGet, wire.RefRequest{Caller: l.reader, Ref: name})
}
