package lightningrod

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// fakeSSH is an SSH service with one key on loopback.
type fakeSSH struct {
	l       net.Listener
	key     string // authorized_keys form
	tcpPort int

	mu   sync.Mutex
	from []string // addresses that connected
}

func startSSH(t *testing.T, addr string) *fakeSSH {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	conf := &ssh.ServerConfig{NoClientAuth: true}
	conf.AddHostKey(signer)
	f := &fakeSSH{key: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))}
	if f.l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	f.tcpPort = f.l.Addr().(*net.TCPAddr).Port
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := f.l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.from = append(f.from, c.RemoteAddr().(*net.TCPAddr).IP.String())
			f.mu.Unlock()
			served.Go(func() { ssh.NewServerConn(c, conf); c.Close() })
		}
	})
	t.Cleanup(func() { f.l.Close(); served.Wait() })
	return f
}

// seen are the addresses that have connected so far.
func (f *fakeSSH) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.from)
}

func ask(t *testing.T, s *sshServices, question string) []string {
	t.Helper()
	answer, err := s.answer(t.Context(), question)
	var h wire.HostKeys
	if err != nil || json.Unmarshal([]byte(answer), &h) != nil {
		t.Fatalf("asked %s: %q, %v", question, answer, err)
	}
	return h.Keys
}

func askPort(tcpPort int) string { return string(wire.Encode(wire.HostKeysAsk{TCPPort: tcpPort})) }

// TestASSHServiceIsAskedForItsKeysOnce: sshd 9.8 and newer punish who ends
// before a login, by source address. Another socket is another service.
func TestASSHServiceIsAskedForItsKeysOnce(t *testing.T) {
	f := startSSH(t, "127.0.0.1:0")
	s := newSSHServices(t.TempDir())
	for range 10 {
		if got := ask(t, s, askPort(f.tcpPort)); !slices.Equal(got, []string{f.key}) {
			t.Fatalf("keys %q, want %q", got, f.key)
		}
	}
	seen := f.seen()
	if len(seen) != len(hostKeyAlgorithms) {
		t.Errorf("it was connected to %d times", len(seen))
	}
	for _, from := range seen {
		if from != scanSource.String() {
			t.Errorf("it was asked from %s", from)
		}
	}
	if !s.is(f.tcpPort) {
		t.Error("it is not known to be one of SSH")
	}
	f.l.Close()
	for _, q := range []string{askPort(f.tcpPort), `{"port":0}`, `{"port":70000}`, `junk`} {
		if got := ask(t, s, q); len(got) != 0 {
			t.Errorf("asked %s: %q, want none", q, got)
		}
	}
	again := startSSH(t, f.l.Addr().String())
	if got := ask(t, s, askPort(f.tcpPort)); !slices.Equal(got, []string{again.key}) {
		t.Errorf("another service in its place: %q, want %q", got, again.key)
	}
}

func TestSSHPortsAreThoseOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	if got := configuredPorts(dir); !slices.Equal(got, []int{22}) {
		t.Errorf("without a configuration: %v", got)
	}
	os.Mkdir(filepath.Join(dir, "sshd_config.d"), 0o700)
	for name, text := range map[string]string{
		"sshd_config":          "#Port 23\nPort 2222\nListenAddress 127.0.0.1:2223\nListenAddress ::1\nPort junk\nPort",
		"sshd_config.d/a.conf": "port 2224\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := configuredPorts(dir); !slices.Equal(got, []int{2224, 2222, 2223}) {
		t.Errorf("ports %v", got)
	}
}

// TestUsersAreToldApartBySource: by who they are, or where a public port's
// stream comes from.
func TestUsersAreToldApartBySource(t *testing.T) {
	f := startSSH(t, "127.0.0.1:0")
	http, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer http.Close()
	from := func(p *streamPolicy, who string, l net.Listener) string {
		t.Helper()
		c, err := p.dial(t.Context(), l.Addr().String(), who)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if l != f.l {
			if far, err := l.Accept(); err == nil {
				far.Close()
			}
		}
		return c.LocalAddr().(*net.TCPAddr).IP.String()
	}
	maria, own := s4t.LoopbackFor("maria").String(), "127.0.0.1"
	for _, tt := range []struct {
		choice    SourcePerUser
		ssh, http string
	}{{SourceForSSH, maria, own}, {SourceAlways, maria, maria}, {SourceNever, own, own}} {
		p := testPolicy()
		p.perUser = tt.choice
		ask(t, p.ssh, askPort(f.tcpPort))
		if a, b := from(p, "maria", f.l), from(p, "maria", http); a != tt.ssh || b != tt.http {
			t.Errorf("choice %d: ssh sees %s, another %s", tt.choice, a, b)
		}
	}
	p := testPolicy()
	ask(t, p.ssh, askPort(f.tcpPort))
	if a := from(p, "", f.l); a != own {
		t.Errorf("of nobody: %s", a)
	}
	p.Apply([]wire.Resource{wire.NewResource(wire.KindService, "s", wire.DesiredService{Target: own, TCPPort: f.tcpPort})})
	c, _, err := p.connect(t.Context(), wire.Ticket{Purpose: wire.PurposeService, Board: boardA, Service: "s", Target: f.l.Addr().String()}.Sign(conductorKey), "192.0.2.7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if a := c.(net.Conn).LocalAddr().(*net.TCPAddr).IP.String(); a != s4t.LoopbackFor("192.0.2.7").String() {
		t.Errorf("a public port's stream comes from %s", a)
	}
}

// TestConnectionsWithoutALoginAreBounded: sshd drops at random from the tenth on. One
// user does not take all places, and who says nothing gives his up.
func TestConnectionsWithoutALoginAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tcpPort := l.Addr().(*net.TCPAddr).Port
	g := sshGate{open: map[int][]*halfOpen{}}
	now := time.Now()
	enter := func(who string, now time.Time) (near, far net.Conn) {
		t.Helper()
		h := g.take(who, tcpPort, now)
		if h == nil {
			return nil, nil
		}
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if far, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { near.Close(); far.Close() })
		g.done(h, near)
		return near, far
	}
	fill := func(who string, now time.Time) (conns []net.Conn) {
		t.Helper()
		for {
			near, far := enter(who, now)
			if near == nil {
				return conns
			}
			conns = append(conns, near, far)
		}
	}
	marias := fill("maria", now)
	if len(marias)/2 != maxHalfOpenOf {
		t.Errorf("one user has %d", len(marias)/2)
	}
	if all := len(marias)/2 + len(fill("mario", now))/2; all != maxHalfOpen {
		t.Errorf("%d are open", all)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*gateLook)
	defer cancel()
	if _, err := g.enter(ctx, "luigi", tcpPort); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("one more: %v", err)
	}
	// One on which a login has begun, as the bytes tell, is not counted.
	io.WriteString(marias[0], strings.Repeat("x", begunBytes))
	io.ReadFull(marias[1], make([]byte, begunBytes))
	if h, err := g.enter(t.Context(), "luigi", tcpPort); err != nil {
		t.Errorf("after a login: %v", err)
	} else {
		g.done(h, nil) // it could not be dialled
	}
	if near, _ := enter("luigi", now); near == nil {
		t.Error("a place that was not used is lost")
	}
	// All are taken again, by who says nothing: the first gives way.
	late := now.Add(silentFor + time.Second)
	if h := g.take("luigi", tcpPort, late); h != nil {
		t.Error("there was a place left")
	}
	if h, err := g.enter(t.Context(), "luigi", tcpPort); err != nil || h == nil {
		t.Errorf("after one that is silent: %v", err)
	}
}

// TestWhetherSomethingListensIsToldBothWays, without a connection to it.
func TestWhetherSomethingListensIsToldBothWays(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcpPort := l.Addr().(*net.TCPAddr).Port
	p := testPolicy()
	changes := make(chan struct{}, 16)
	p.changed = func() { notify(changes) }
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	defer running.Wait()
	defer cancel()
	await := func(id string) {
		t.Helper()
		deadline := time.After(time.Minute)
		for {
			states, _ := p.States()
			if states[0].ProblemID == id {
				if !states[0].Up || (states[0].Problem == "") != (id == "") {
					t.Errorf("%+v", states[0])
				}
				return
			}
			select {
			case <-changes:
			case <-deadline:
				t.Fatalf("it stays %+v", states[0])
			}
		}
	}
	p.Apply([]wire.Resource{wire.NewResource(wire.KindService, "s", wire.DesiredService{Target: "127.0.0.1", TCPPort: tcpPort})})
	await("")
	l.Close()
	await(wire.TargetRefused)
	if l, err = net.Listen("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	await("")
}

// TestATargetOnTheLANIsKnownFromTheLastStream: it is not connected to for that.
func TestATargetOnTheLANIsKnownFromTheLastStream(t *testing.T) {
	p := testPolicy()
	p.Apply([]wire.Resource{wire.NewResource(wire.KindService, "s", wire.DesiredService{Target: "printer.lan", TCPPort: 80})})
	state := func() wire.ResourceState { states, _ := p.States(); return states[0] }
	if s := state(); !s.Up || s.ProblemID != "" {
		t.Errorf("before: %+v", s)
	}
	p.reached("printer.lan:80", dialFailed("printer.lan:80", os.ErrDeadlineExceeded))
	if s := state(); !s.Up || s.ProblemID != wire.TargetRefused || !strings.Contains(s.Problem, "printer.lan:80") {
		t.Errorf("after one that failed: %+v", s)
	}
	p.reached("printer.lan:80", nil)
	if s := state(); s.ProblemID != "" {
		t.Errorf("after one that came through: %+v", s)
	}
}
