package lightningrod

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/pinfs"
	"github.com/stack4things/s4t/plugin"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/accept"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// fakeManager says what the test wants.
type fakeManager struct {
	pluginCommands

	mu       sync.Mutex
	set      [][]plugin.Wanted
	states   map[string]plugin.State
	commands []s4t.Command
	changed  chan struct{}
}

func (m *fakeManager) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (m *fakeManager) Pause(bool)                    {}
func (m *fakeManager) Set(want []plugin.Wanted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set = append(m.set, want)
}
func (m *fakeManager) States() map[string]plugin.State { return m.states }
func (m *fakeManager) Changed() <-chan struct{}        { return m.changed }
func (m *fakeManager) Commands() []s4t.Command {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.commands)
}
func (m *fakeManager) Runtimes() map[string]string {
	return map[string]string{"exec": "linux", "wasi": "no: not built in"}
}

func pluginResource(id, name string) wire.Resource {
	return wire.NewResource(wire.KindPlugin, id, wire.DesiredPlugin{Name: name, Version: "1", Running: true, Start: 3, Project: "p"})
}

// TestPluginsAreAKind: what is wanted reaches the manager, and what it says the cloud; the
// end of lightning-rod takes no plugin away.
func TestPluginsAreAKind(t *testing.T) {
	m := &fakeManager{changed: make(chan struct{}), states: map[string]plugin.State{
		"1": {PluginState: s4t.PluginState{State: s4t.PluginRunning}, Up: true, Settled: true},
		"2": {PluginState: s4t.PluginState{State: s4t.PluginFailed, Problem: "its signature is not good"}, ProblemID: wire.PluginRefused, Settled: true},
	}}
	notes := map[string]string{"1": "it has no pins as files"}
	p := &plugins{manager: m, note: func(id string) string { return notes[id] }, changed: func() {}, want: map[string]wire.DesiredPlugin{}}
	refused := p.Apply([]wire.Resource{pluginResource("1", "meter"), pluginResource("2", "gate"), pluginResource("3", "meter"), {Kind: wire.KindPlugin, ID: "4", Spec: []byte("[]")}})
	if len(refused) != 2 || refused[0].ProblemID != wire.PluginRefused || refused[1].ProblemID != wire.OldVersion {
		t.Errorf("refused %+v", refused)
	}
	if len(m.set) != 1 || len(m.set[0]) != 2 || m.set[0][0].Name != "meter" || !m.set[0][0].Running || m.set[0][0].Start != 3 || m.set[0][0].Project != "p" {
		t.Errorf("the manager was told %+v", m.set)
	}
	states, settled := p.States()
	want := []wire.ResourceState{
		{Kind: wire.KindPlugin, ID: "1", Up: true, Problem: "it has no pins as files"},
		{Kind: wire.KindPlugin, ID: "2", ProblemID: wire.PluginRefused, Problem: "its signature is not good"},
	}
	if !settled || !slices.Equal(states, want) {
		t.Errorf("%+v, %v", states, settled)
	}
	if list := p.status(); len(list) != 2 || list[0].Name != "gate" || list[0].ProblemID != wire.PluginRefused || list[1].State != s4t.PluginRunning {
		t.Errorf("status %+v", list)
	}
	delete(m.states, "2")
	if _, settled := p.States(); settled {
		t.Error("settled though the manager has not begun with one")
	}
	p.end()
	p.Apply(nil)
	if len(m.set) != 1 {
		t.Error("the end of lightning-rod takes plugins away")
	}
}

// guestsFor returns guests that run nothing, with a session.
func guestsFor(c cloud, m pluginManager) *guests {
	return &guests{
		board: boardA, manager: m, log: slog.New(slog.DiscardHandler), notes: map[string]string{}, news: make(chan struct{}),
		online:  func() (cloud, int64, <-chan struct{}) { return c, 7, nil },
		owned:   func() []s4t.Command { return []s4t.Command{{Name: "reboot", Source: s4t.CommandOfOwner}} },
		profile: func() s4t.BoardProfile { return s4t.BoardProfile{Open: true, Usage: []s4t.Usage{{CPUSeconds: 1}}} },
	}
}

// codeCloud hears reports of code.
type codeCloud struct {
	*fakeCloud
	mu   sync.Mutex
	told []wire.CodeReport
}

func (c *codeCloud) Call(ctx context.Context, procedure string, arg, reply any) error {
	err := c.fakeCloud.Call(ctx, procedure, arg, reply)
	if r, ok := arg.(wire.CodeReport); ok && err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.told = append(c.told, r)
	}
	return err
}

func (c *codeCloud) reports() []wire.CodeReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.told)
}

// TestTheCloudIsToldOfCode: when a session begins, when something changed, and every five
// minutes; and again where a call failed.
func TestTheCloudIsToldOfCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &codeCloud{fakeCloud: newFakeCloud(testDesired(1))}
		c.fails[wamp.Code] = errors.New("lost")
		m := &fakeManager{commands: []s4t.Command{{Name: "add", Plugin: "meter"}, {Name: "reboot", Plugin: "evil"}}}
		g := guestsFor(c, m)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); g.tell(ctx, c, 7) }()
		time.Sleep(2 * retryCall)
		synctest.Wait()
		got := c.reports()
		if len(got) != 1 || got[0].Board != boardA || got[0].Epoch != 7 || got[0].Runtimes["exec"] != "linux" || !got[0].Profile.Open {
			t.Fatalf("told %+v", got)
		}
		if cs := got[0].Commands; len(cs) != 2 || cs[0].Name != "add" || cs[1].Source != s4t.CommandOfOwner {
			t.Errorf("commands %+v", cs)
		}
		g.mark() // nothing new
		time.Sleep(time.Minute)
		if got = c.reports(); len(got) != 1 {
			t.Errorf("told again what it knows: %d", len(got))
		}
		m.mu.Lock()
		m.commands = nil
		m.mu.Unlock()
		for range 5 {
			g.mark()
		}
		time.Sleep(2 * codeReportDelay)
		if got = c.reports(); len(got) != 2 || len(got[1].Commands) != 1 {
			t.Errorf("after a change: %+v", got)
		}
		time.Sleep(codeReportEvery)
		if got = c.reports(); len(got) != 3 {
			t.Errorf("after five minutes: %d", len(got))
		}
		cancel()
		<-done
	})
}

// cuttingServer sends one bundle, and cuts it after so many messages, each time.
type cuttingServer struct {
	*httptest.Server
	text  []byte
	sent  atomic.Int64
	conns atomic.Int64
	cuts  []int // messages, by connection; those after it are not cut
	lies  atomic.Pointer[wire.BundleHead]
}

func newCuttingServer(t *testing.T, text []byte, cuts ...int) (*cuttingServer, *dial.Dialer) {
	t.Helper()
	s := &cuttingServer{text: text, cuts: cuts}
	var serving sync.WaitGroup
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := accept.Accept(w, r, []string{rtunnel.SubprotocolBundle})
		if err != nil {
			t.Error(err)
			return
		}
		serving.Go(func() { s.send(conn) })
	}))
	t.Cleanup(func() { s.Close(); serving.Wait() })
	d, err := dial.New(dial.Config{Env: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	return s, d
}

func (s *cuttingServer) send(conn *rtunnel.Conn) {
	defer conn.Close()
	n := int(s.conns.Add(1)) - 1
	var from wire.BundleFrom
	if _, text, err := conn.ReadMessage(); err != nil || json.Unmarshal(text, &from) != nil {
		return
	}
	head := wire.BundleHead{Size: int64(len(s.text))}
	if lie := s.lies.Load(); lie != nil {
		head = *lie
	}
	conn.WriteMessage(rtunnel.OpText, wire.Encode(head))
	for rest, i := s.text[from.Offset:], 0; len(rest) > 0; i++ {
		if n < len(s.cuts) && i == s.cuts[n] {
			return // without a word
		}
		piece := rest[:min(len(rest), 64<<10)]
		if conn.WriteMessage(rtunnel.OpBinary, piece) != nil {
			return
		}
		s.sent.Add(int64(len(piece)))
		rest = rest[len(piece):]
	}
	conn.CloseWithStatus(rtunnel.StatusNormal, "")
}

func fetcherFor(d rtunnelDialer) *bundleFetcher {
	return &bundleFetcher{
		dial: d, ticket: func(context.Context, string) (string, error) { return "t", nil },
		online: func() (bool, <-chan struct{}) { return true, nil },
		pace:   func(context.Context, int) error { return nil }, log: slog.New(slog.DiscardHandler),
	}
}

// TestABundleArrivesOnce: 50 MB over a link that is cut five times are sent little more
// than once.
func TestABundleArrivesOnce(t *testing.T) {
	text := make([]byte, 50<<20)
	rand.NewChaCha8([32]byte{2}).Read(text)
	s, d := newCuttingServer(t, text, 0, 100, 1, 333, 200)
	part, err := os.Create(filepath.Join(t.TempDir(), "part"))
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	last := int64(0)
	want := func() wire.DesiredPlugin { return wire.DesiredPlugin{URL: s.URL, Size: int64(len(text))} }
	err = fetcherFor(d).fetch(t.Context(), "1", want, part, func(have int64) {
		if have <= last {
			t.Errorf("%d bytes after %d", have, last)
		}
		last = have
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(part.Name())
	if err != nil || !bytes.Equal(got, text) || last != int64(len(text)) {
		t.Errorf("%d bytes arrived, %d were told: %v", len(got), last, err)
	}
	if n := s.conns.Load(); n != 6 {
		t.Errorf("%d connections", n)
	}
	if sent := s.sent.Load(); sent > int64(len(text))*3/2 {
		t.Errorf("%d bytes were sent", sent)
	}
}

// TestAFetchEndsWhereItIsOfNoUse.
func TestAFetchEndsWhereItIsOfNoUse(t *testing.T) {
	text := make([]byte, 100)
	s, d := newCuttingServer(t, text)
	for name, lie := range map[string]wire.BundleHead{
		"not there":    {Error: wire.FromError(s4t.Errorf(s4t.NotFound, "get a bundle", "", "it was deleted"))},
		"another size": {Size: 7},
	} {
		s.lies.Store(&lie)
		part, err := os.Create(filepath.Join(t.TempDir(), "part"))
		if err != nil {
			t.Fatal(err)
		}
		err = fetcherFor(d).fetch(t.Context(), "1", func() wire.DesiredPlugin { return wire.DesiredPlugin{URL: s.URL, Size: 100} }, part, func(int64) {})
		if kind := s4t.KindOf(err); kind != s4t.NotFound && kind != s4t.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		part.Close()
	}
}

// TestAPluginReachesTheAPI: through its socket, in plain HTTP, with a token from a file;
// also where it has said all that it has to say; and no more than its share at a time.
func TestAPluginReachesTheAPI(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done(): // the connection was closed for writing
		case <-time.After(50 * time.Millisecond):
			io.WriteString(w, r.Header.Get("Authorization"))
		}
	}))
	defer api.Close()
	elsewhere := httptest.NewServer(http.NotFoundHandler()) // a WAMP agent alone
	defer elsewhere.Close()
	t.Run("where the cloud says", func(t *testing.T) { reachesTheAPI(t, api.URL, elsewhere.URL) })
	t.Run("where the board connects to", func(t *testing.T) { reachesTheAPI(t, "", "http://127.0.0.1:1", api.URL) })
}

func reachesTheAPI(t *testing.T, said string, urls ...string) {
	c := &tokenCloud{fakeCloud: newFakeCloud(testDesired(1)), url: said}
	g := guestsFor(c, nil)
	g.urls = func() []string { return urls }
	d, err := dial.New(dial.Config{Env: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	g.dialTLS = d.DialTLS
	dir := t.TempDir()
	end, err := g.giveAPI("1", dir, os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	token, err := os.ReadFile(filepath.Join(dir, tokenFile))
	if info, serr := os.Stat(filepath.Join(dir, tokenFile)); err != nil || serr != nil || string(token) != "secret\n" || info.Mode().Perm() != 0o600 {
		t.Fatalf("the token: %q, %v, %v", token, err, info)
	}
	ask := func() (string, error) {
		conn, err := net.Dial("unix", filepath.Join(dir, apiSocket))
		if err != nil {
			return "", err
		}
		defer conn.Close()
		io.WriteString(conn, "GET /v1/boards HTTP/1.1\r\nHost: cloud\r\nConnection: close\r\nAuthorization: Bearer "+strings.TrimSpace(string(token))+"\r\n\r\n")
		conn.(*net.UnixConn).CloseWrite()
		a, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return "", err
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		return string(text), err
	}
	if text, err := ask(); err != nil || text != "Bearer secret" {
		t.Errorf("%q, %v", text, err)
	}
	var conns []net.Conn
	for range maxPluginConns {
		conn, err := net.Dial("unix", filepath.Join(dir, apiSocket))
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	over, err := net.Dial("unix", filepath.Join(dir, apiSocket))
	if err != nil {
		t.Fatal(err)
	}
	over.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := over.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one too many: %d, %v", n, err)
	}
	over.Close()
	for _, conn := range conns {
		conn.Close()
	}
	for { // what is closed gives its place back
		if text, err := ask(); err == nil && text == "Bearer secret" {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("places are not given back")
		}
		time.Sleep(time.Millisecond)
	}
}

// tokenCloud gives tokens.
type tokenCloud struct {
	*fakeCloud
	url string // of the API
}

func (c *tokenCloud) Call(ctx context.Context, procedure string, arg, reply any) error {
	if t, ok := reply.(*wire.PluginToken); ok && procedure == wamp.Token {
		*t = wire.PluginToken{Token: "secret", ExpiresAt: time.Now().Add(time.Hour), URL: c.url}
		return nil
	}
	return c.fakeCloud.Call(ctx, procedure, arg, reply)
}

// TestAPluginHasThePinsItAskedFor: of those that the owner lets the cloud have, as it
// lets it.
func TestAPluginHasThePinsItAskedFor(t *testing.T) {
	p, _ := pinsOf(t, testIO)
	names := func(globs ...string) (out []string) {
		s := &pluginPins{hal: p.hal, name: "meter", globs: globs, uid: 4711}
		for _, n := range s.Tree().Boards[0].Pins {
			if n.UID != 4711 || n.Mode&0o077 != 0 {
				t.Errorf("%s: mode %o of %d", n.Name, n.Mode, n.UID)
			}
			mode := ""
			if n.Mode&0o200 != 0 {
				mode = " w"
			}
			out = append(out, n.Name+mode)
		}
		return out
	}
	for _, tt := range []struct {
		globs []string
		want  []string
	}{
		{[]string{"sim/*/out"}, []string{"sim/b/out w"}},
		{[]string{"by-name/lamp", "sim/b/secret"}, []string{"sim/b/shown"}},
		{[]string{"nothing", "[", "*"}, nil},
	} {
		if got := names(tt.globs...); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.globs, got, tt.want)
		}
	}
	s := &pluginPins{hal: p.hal, name: "meter", globs: []string{"sim/b/out", "sim/b/shown", "sim/b/secret"}}
	for name, kind := range map[string]s4t.Kind{"sim/b/out": "", "sim/b/shown": s4t.Forbidden, "sim/b/secret": s4t.NotFound, "sim/b/in": s4t.NotFound} {
		pin := s.Open("", name, pinfs.Holder{})
		if _, err := pin.Write(t.Context(), 1, 0); s4t.KindOf(err) != kind {
			t.Errorf("write %s: %v", name, err)
		}
		pin.Close()
		if kind == "" {
			continue
		}
		if err := s.Set(t.Context(), "", name, s4t.PinKeyLabel, "mine", pinfs.Holder{}); s4t.KindOf(err) != kind {
			t.Errorf("set %s: %v", name, err)
		}
	}
}
