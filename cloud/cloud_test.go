package cloud

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/identity"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseRoles(t *testing.T) {
	for text, want := range map[string][]Role{
		"all": AllRoles(), "api": {API}, "conductor,api": {Conductor, API}, "wamp-agent,tunnel-agent": {WAMPAgent, TunnelAgent},
		"": nil, "boss": nil, "api,": nil, "api, conductor": nil, "api,api": nil, "all,api": nil, "ALL": nil,
	} {
		got, err := ParseRoles(text)
		if !slices.Equal(got, want) || (want == nil) != (s4t.KindOf(err) == s4t.Invalid) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	q := queue.New()
	off := TLS{Off: true}
	for _, tt := range []struct {
		cfg  Config
		says string
	}{
		{Config{}, "a role"},
		{Config{Roles: []Role{API}, Listen: "x", TLS: off}, "without the role conductor"},
		{Config{Roles: []Role{Conductor, TunnelAgent}, Listen: "x", TLS: off}, "without the role api"},
		{Config{Roles: []Role{API}, Queue: q, TLS: off}, "Listen"},
		{Config{Roles: []Role{API}, Queue: q, Listen: "x"}, ""},
		{Config{Roles: []Role{API, Conductor}, Queue: q, Listen: "x", Database: "x"}, "Data"},
		{Config{Roles: []Role{API}, QueueURL: "amqp://", Listen: "x"}, "no host"},
		{Config{Roles: AllRoles(), Listen: "x", TLS: off}, "Store or Database"},
		{Config{Roles: []Role{Conductor}, Queue: q, Database: "x", TLS: off}, "URL"},
		{Config{Roles: []Role{API}, Queue: q, Listen: "x", TLS: off}, ""},
		{Config{Roles: []Role{WAMPAgent, TunnelAgent}, Queue: q, Listen: "x", TLS: off}, ""},
	} {
		_, err := New(tt.cfg)
		if tt.says == "" && err != nil || tt.says != "" && (s4t.KindOf(err) != s4t.Invalid || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%v: %v, want %q", tt.cfg.Roles, err, tt.says)
		}
	}
}

// process is a Cloud that runs.
type process struct {
	*Cloud
	ready chan struct{}
	ended chan error
	stop  context.CancelFunc
}

// run starts a Cloud; it has ended when the test ends.
func run(t *testing.T, cfg Config) *process {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{c, make(chan struct{}), make(chan error, 1), cancel}
	go func() {
		p.ended <- c.Run(ctx, func() { close(p.ready) })
		close(p.ended)
	}()
	t.Cleanup(func() { cancel(); <-p.ended })
	return p
}

// isReady waits for it.
func (p *process) isReady(t *testing.T) *process {
	t.Helper()
	select {
	case <-p.ready:
	case err := <-p.ended:
		t.Fatalf("%v ended: %v", p.cfg.Roles, err)
	}
	return p
}

// TestEachRoleInAProcessOfItsOwn starts two of each in the worst order; they
// share a queue, a database and a CA. Each is in the cloud's status.
func TestEachRoleInAProcessOfItsOwn(t *testing.T) {
	dir, q := t.TempDir(), beaten{queue.New(), make(chan told, 1024)}
	const loopback = "127.0.0.1:0"
	if _, err := ownCerts(dir, nil, time.Now, discard); err != nil { // who comes first makes it, and here many are first
		t.Fatal(err)
	}
	agents := map[string]*process{
		"wamp-agent-1":   run(t, Config{Roles: []Role{WAMPAgent}, Queue: q, Data: dir, Listen: loopback}),
		"tunnel-agent-1": run(t, Config{Roles: []Role{TunnelAgent}, Queue: q, Data: dir, Listen: loopback}),
		"wamp-agent-2":   run(t, Config{Roles: []Role{WAMPAgent}, Queue: q, Data: dir, Listen: loopback, WAMPAgent: "wamp-agent-2"}),
		"tunnel-agent-2": run(t, Config{Roles: []Role{TunnelAgent}, Queue: q, Data: dir, Listen: loopback, TunnelAgent: "tunnel-agent-2"}),
	}
	apis := []*process{
		run(t, Config{Roles: []Role{API}, Name: "one", Queue: q, Data: dir, Listen: loopback, Version: "1.2"}),
		run(t, Config{Roles: []Role{API}, Name: "two", Queue: q, Data: dir, Listen: loopback}),
	}
	for name, p := range agents {
		select {
		case <-p.ready:
			t.Fatalf("%s is ready without a conductor", name)
		default:
		}
	}
	var token, ca string
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(dir, "s4t.db")}) // one process's, as both are here
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conductor := func(name string) *process {
		return run(t, Config{
			Roles: []Role{Conductor}, Name: name, Queue: q, Data: dir, Store: db, BoardURLs: []string{"https://cloud.test:1"},
			Bootstrap: func(ctx context.Context, id *identity.Identity, _ string, trust wire.Trust) error {
				ca = strings.Join(trust.CAs, "")
				_, err := id.Bootstrap(ctx, func(f identity.First) error { token = f.Token.Secret; return nil })
				return err
			},
		})
	}
	first := conductor("one").isReady(t)
	second := conductor("two").isReady(t)
	for _, p := range append(apis, agents["wamp-agent-1"], agents["wamp-agent-2"], agents["tunnel-agent-1"], agents["tunnel-agent-2"]) {
		p.isReady(t)
	}
	list := func(p *process) error {
		t.Helper()
		c, err := apiclient.New(apiclient.Config{URL: p.URL(), Token: token, CA: ca})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Projects(t.Context())
		return err
	}
	for i, p := range apis {
		if err := list(p); err != nil {
			t.Errorf("API %d: %v", i+1, err)
		}
	}
	heard := map[string]bool{}
	ends := map[string]time.Time{} // of certificates, of agents too
	for len(heard)+len(ends) < 4+2+len(agents) {
		next := <-q.told
		if next.err != nil {
			continue
		}
		name := next.beat.Roles[0] + "-" + next.beat.Name
		if agents[next.beat.Name] != nil {
			name = next.beat.Name
		} else {
			heard[name] = true
		}
		if next.beat.Roles[0] != wire.ProcessConductor {
			ends[name] = next.beat.CertificateUntil
		}
	}
	s, err := ReadStatus(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]ProcessStatus{}
	for _, p := range s.Processes {
		shown[p.Name] = p
	}
	if len(shown) != len(heard)+len(agents) {
		t.Errorf("the status shows %+v", s.Processes)
	}
	for name, until := range ends {
		if p := shown[name]; until.IsZero() || !p.CertificateUntil.Equal(until.Truncate(time.Microsecond)) {
			t.Errorf("%s said that its certificate ends %v, the status shows %+v", name, until, p)
		}
	}
	for name := range heard {
		if p := shown[name]; p.Status != s4t.AgentOnline || p.Host == "" || p.Since.IsZero() || p.Load == nil || string(p.Role)+"-" != name[:len(p.Role)+1] {
			t.Errorf("the status shows %s as %+v", name, p)
		}
	}
	if p := shown["api-one"]; p.URL != apis[0].URL() || p.Version != "1.2" {
		t.Errorf("the status shows %+v", p)
	}
	if first.Addr() != nil {
		t.Errorf("a conductor listens on %s", first.Addr())
	}

	// One of each goes; the other does its work.
	for _, p := range []*process{first, apis[0], agents["wamp-agent-1"], agents["tunnel-agent-1"]} {
		p.stop()
		if err := <-p.ended; err != nil {
			t.Errorf("%v: %v", p.cfg.Roles, err)
		}
	}
	if err := list(apis[1]); err != nil {
		t.Errorf("with one of each: %v", err)
	}
	second.stop()
	<-second.ended
	if err := list(apis[1]); s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("without a conductor: %v", err)
	}
	conductor("two").isReady(t)
	if err := list(apis[1]); err != nil {
		t.Errorf("with one again: %v", err)
	}
}

func TestOnlyTheRolesThatAreThereAreServed(t *testing.T) {
	dir := t.TempDir()
	p := run(t, Config{Roles: []Role{API, Conductor}, Data: dir, Listen: "127.0.0.1:0", Database: "sqlite:" + filepath.Join(dir, "s4t.db"), TLS: TLS{Off: true}}).isReady(t)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	for path, want := range map[string]int{"/healthz": 200, "/v1/openapi.json": 200, "/v1/boards": 401, "/wamp": 404, "/rtunnel": 404} {
		res, err := (&http.Client{Transport: tr}).Get(p.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, res.StatusCode, want)
		}
	}
}

func TestAPartThatEndsByItselfEndsTheProcess(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		run  func(context.Context) error
		says string
	}{
		"with an error":  {func(context.Context) error { return broken }, "run the part: broken"},
		"without a word": {func(context.Context) error { return nil }, "run the part: it ended by itself"},
	} {
		c := &Cloud{cfg: Config{Queue: queue.New(), Log: discard}}
		err := c.run(t.Context(), &parts{front: []task{{name: "part", run: tt.run}}}, func() { t.Error("ready") })
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAStartHasPatience: neither a conductor that comes late nor an agent that
// has much to do ends it, and the log says who is waited for.
func TestAStartHasPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		q := queue.New()
		c := &Cloud{cfg: Config{Queue: q, Log: slog.New(slog.NewTextHandler(&logged, nil))}}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		agent, started := make(chan struct{}), make(chan bool, 1)
		go func() { started <- c.await(ctx, []task{{name: "API"}, {name: "slow agent", ready: agent}}) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if !strings.Contains(logged.String(), `waits_for="the conductor"`) {
			t.Errorf("the log does not say that the conductor is waited for:\n%s", &logged)
		}
		answers := 0
		go q.Serve(ctx, wire.TopicConductor, "", 1, func(ctx context.Context, method string, body []byte) ([]byte, error) {
			if answers++; answers < 3 { // the first are lost
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return identified(ctx, method, body)
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if !strings.Contains(logged.String(), `waits_for="the slow agent"`) {
			t.Errorf("the log does not say that the agent is waited for:\n%s", &logged)
		}
		close(agent)
		synctest.Wait()
		if ok := <-started; !ok {
			t.Error("it gave up")
		}

		// The end of the process ends the wait.
		go func() { started <- c.await(ctx, []task{{name: "slow agent", ready: make(chan struct{})}}) }()
		synctest.Wait()
		cancel()
		if ok := <-started; ok {
			t.Error("ready, although it was to end")
		}
	})
}

// TestPublicPortsThatNobodyReachesAreToldOf is F13 of the field reports: a proxy
// on the same host, and public ports on loopback.
func TestPublicPortsThatNobodyReachesAreToldOf(t *testing.T) {
	for _, tt := range []struct {
		name, public, bind, host string
		want                     string
		told                     bool
	}{
		{"behind a proxy on this host", "", "127.0.0.1", "cloud.example.org", "127.0.0.1", true},
		{"the same, told where", "0.0.0.0", "127.0.0.1", "cloud.example.org", "0.0.0.0", false},
		{"for the world", "", "::", "cloud.example.org", "::", false},
		{"at home", "", "127.0.0.1", "127.0.0.1", "127.0.0.1", false},
		{"at home, by name", "", "::1", "localhost", "::1", false},
	} {
		var out bytes.Buffer
		c := &Cloud{cfg: Config{PublicListen: tt.public, Log: slog.New(slog.NewTextHandler(&out, nil))}, at: &listener{bind: tt.bind, host: tt.host}}
		if got := c.publicListen(); got != tt.want || strings.Contains(out.String(), "--public-listen") != tt.told {
			t.Errorf("%s: %s; %s", tt.name, got, out.String())
		}
	}
}
