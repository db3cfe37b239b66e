package lightningrod

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/user"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/terminal"
	"github.com/stack4things/s4t/wire"
)

// cloudNow is the cloud's time in the tests; the board's own clock is years
// off it.
var cloudNow = time.Date(2040, 1, 1, 12, 0, 0, 0, time.UTC)

func testPolicy(allow ...netip.Prefix) *streamPolicy {
	clock := &cloudClock{}
	clock.set(cloudNow)
	p := newStreamPolicy(boardA, func() ed25519.PublicKey { return testIdentity().TicketKey }, clock, allow)
	p.Apply([]wire.Resource{wire.NewResource(wire.KindService, "service-1", wire.DesiredService{Target: "127.0.0.1", TCPPort: 22})})
	return p
}

func TestAuthorizeDecidesByTicketAndDesiredState(t *testing.T) {
	stream := wire.Ticket{ID: "t1", Purpose: wire.PurposeStream, Board: boardA, Target: "127.0.0.1:22", Expires: cloudNow.Unix() + 60}
	service := wire.Ticket{ID: "t2", Purpose: wire.PurposeService, Board: boardA, Service: "service-1", Target: "127.0.0.1:22"}
	with := func(t wire.Ticket, change func(*wire.Ticket)) wire.Ticket { change(&t); return t }
	for _, tt := range []struct {
		name   string
		ticket wire.Ticket
		kind   s4t.Kind
	}{
		{"a user's stream", stream, ""},
		{"a stream of an exposed service", service, ""},
		{"of another board", with(stream, func(t *wire.Ticket) { t.Board = boardB }), s4t.Forbidden},
		{"late", with(stream, func(t *wire.Ticket) { t.Expires = cloudNow.Unix() - 1 }), s4t.Unauthenticated},
		{"without an expiry", with(stream, func(t *wire.Ticket) { t.Expires = 0 }), s4t.Unauthenticated},
		{"without an id", with(stream, func(t *wire.Ticket) { t.ID = "" }), s4t.Forbidden},
		{"for a port", with(stream, func(t *wire.Ticket) { t.Purpose = wire.PurposePort }), s4t.Forbidden},
		{"for idle data rtunnels", with(stream, func(t *wire.Ticket) { t.Purpose = wire.PurposeStreams }), s4t.Forbidden},
		{"of a service that is not exposed", with(service, func(t *wire.Ticket) { t.Service = "service-2" }), s4t.Forbidden},
		{"of a service with another target", with(service, func(t *wire.Ticket) { t.Target = "127.0.0.1:23" }), s4t.Forbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			target, err := testPolicy().authorize(tt.ticket.Sign(conductorKey))
			if s4t.KindOf(err) != tt.kind {
				t.Fatalf("authorize = %+v, %v; want kind %q", target, err, tt.kind)
			}
			if err == nil && target.Target != tt.ticket.Target {
				t.Errorf("target = %+v, want %q", target, tt.ticket.Target)
			}
		})
	}
	t.Run("signed by somebody else", func(t *testing.T) {
		key := append([]byte(nil), conductorKey...)
		key[0] ^= 1
		if _, err := testPolicy().authorize(stream.Sign(key)); s4t.KindOf(err) != s4t.Unauthenticated {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("a service that was hidden", func(t *testing.T) {
		p := testPolicy()
		p.Apply(nil)
		if _, err := p.authorize(service.Sign(conductorKey)); s4t.KindOf(err) != s4t.Forbidden {
			t.Errorf("error = %v", err)
		}
	})
}

func TestStreamTicketWorksOnceAlsoWhenUsedAtOnce(t *testing.T) {
	p := testPolicy()
	text := wire.Ticket{ID: "t", Purpose: wire.PurposeStream, Board: boardA, Target: "127.0.0.1:22", Expires: cloudNow.Unix() + 60}.Sign(conductorKey)
	var mu sync.Mutex
	var wg sync.WaitGroup
	passed := 0
	for range 16 {
		wg.Go(func() {
			if _, err := p.authorize(text); err == nil {
				mu.Lock()
				passed++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if passed != 1 {
		t.Errorf("%d of 16 passed, want 1", passed)
	}
}

func TestServiceTicketWorksAnyNumberOfTimes(t *testing.T) {
	p := testPolicy()
	text := wire.Ticket{Purpose: wire.PurposeService, Board: boardA, Service: "service-1", Target: "127.0.0.1:22"}.Sign(conductorKey)
	for range 3 {
		if _, err := p.authorize(text); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUsedTicketsAreBoundedAndNeverForgottenEarly(t *testing.T) {
	p := testPolicy()
	ticket := func(i int, expires int64) string {
		return wire.Ticket{ID: fmt.Sprint(i), Purpose: wire.PurposeStream, Board: boardA, Target: "127.0.0.1:22", Expires: expires}.Sign(conductorKey)
	}
	use := func(from, n int, expires int64) {
		t.Helper()
		for i := range n {
			if err := p.used.Use(wire.Ticket{ID: fmt.Sprint(from + i), Expires: expires}, p.clock.now()); err != nil {
				t.Fatalf("ticket %d of %d: %v", i, n, err)
			}
		}
	}
	use(0, maxUsed, cloudNow.Unix()+60)
	if _, err := p.authorize(ticket(maxUsed, cloudNow.Unix()+60)); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("one more: %v, want too many", err)
	}
	p.clock.set(cloudNow.Add(2 * time.Minute))
	if _, err := p.authorize(ticket(maxUsed, cloudNow.Unix()+300)); err != nil {
		t.Errorf("after the others expired: %v", err)
	}
	use(maxUsed+1, maxUsed-1, cloudNow.Unix()+300) // only the one of just now is remembered
}

func TestOnlyTheBoardItselfIsReachedUnlessAllowed(t *testing.T) {
	lan := netip.MustParsePrefix("192.168.1.0/24")
	for _, tt := range []struct {
		address string
		allow   []netip.Prefix
		want    bool
	}{
		{"127.0.0.1:22", nil, true},
		{"[::1]:22", nil, true},
		{"[::ffff:127.0.0.1]:22", nil, true},
		{"127.0.0.2:22", nil, false},
		{"192.168.1.5:80", nil, false},
		{"192.168.1.5:80", []netip.Prefix{lan}, true},
		{"[::ffff:192.168.1.5]:80", []netip.Prefix{lan}, true},
		{"192.168.2.5:80", []netip.Prefix{lan}, false},
		{"169.254.169.254:80", []netip.Prefix{lan}, false},
		{"[fe80::1%eth0]:80", nil, false},
		{"0.0.0.0:22", nil, false},
	} {
		t.Run(fmt.Sprint(tt.address, tt.allow), func(t *testing.T) {
			err := testPolicy(tt.allow...).allowedAddress("host", tt.address)
			if (err == nil) != tt.want {
				t.Errorf("allowed = %v, want %v", err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), "--allow-target") {
				t.Errorf("%v does not say how to allow it", err)
			}
		})
	}
}

// TestTheBoardsOwnAddressesAreTheBoardItself: no owner's word is needed.
func TestTheBoardsOwnAddressesAreTheBoardItself(t *testing.T) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	p := testPolicy()
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if err := p.allowed(ip.String(), ip); err != nil {
			t.Errorf("%v: %v", ip, err)
		}
		if next := ip.Unmap().Next(); !isOwn(next) && p.allowed(next.String(), next) == nil {
			t.Errorf("%v is reached, which is not the board's", next)
		}
	}
}

// TestAServiceIsUpWhenItsTargetIsAllowed: and a user who tries it all the same
// is told how to allow it.
func TestAServiceIsUpWhenItsTargetIsAllowed(t *testing.T) {
	for target, up := range map[string]bool{"127.0.0.1": true, "::1": true, "localhost": true, "printer.lan": true, "192.168.1.5": true, "192.168.2.5": false} {
		p := testPolicy(netip.MustParsePrefix("192.168.1.0/24"))
		p.Apply([]wire.Resource{wire.NewResource(wire.KindService, "service-1", wire.DesiredService{Target: target, TCPPort: 80})})
		states, settled := p.States()
		if len(states) != 1 || !settled || states[0].ID != "service-1" || states[0].Up != up || strings.Contains(states[0].Problem, "--allow-target 192.168.2.5/32") == up {
			t.Errorf("%s: %+v", target, states)
		}
		to := net.JoinHostPort(target, "80")
		ticket := wire.Ticket{Purpose: wire.PurposeService, Board: boardA, Service: "service-1", Target: to}.Sign(conductorKey)
		if got, err := p.authorize(ticket); got.Target != to || err != nil {
			t.Errorf("%s: %+v, %v", target, got, err)
		}
	}
}

func TestDialSaysWhyAServiceIsNotReached(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, tcpPort, _ := net.SplitHostPort(l.Addr().String())
	for _, tt := range []struct {
		target string
		kind   s4t.Kind
	}{
		{"127.0.0.1:" + tcpPort, ""},
		{"localhost:" + tcpPort, ""},
		{"127.0.0.1:1", s4t.Unavailable},
		{"192.0.2.1:80", s4t.Forbidden},
		{"no-port", s4t.Invalid},
	} {
		t.Run(tt.target, func(t *testing.T) {
			c, err := testPolicy().dial(context.Background(), tt.target, "maria")
			if s4t.KindOf(err) != tt.kind {
				t.Fatalf("dial = %v, want kind %q", err, tt.kind)
			}
			if err == nil {
				c.Close()
			}
		})
	}
	t.Run("localhost that listens on IPv6 only", func(t *testing.T) {
		l6, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Skip("no IPv6 here")
		}
		defer l6.Close()
		_, tcpPort, _ := net.SplitHostPort(l6.Addr().String())
		c, err := testPolicy().dial(context.Background(), "localhost:"+tcpPort, "maria")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "x")
		c.Close()
	})
}

func TestCloudClockDoesNotFollowTheBoardsOwn(t *testing.T) {
	var c cloudClock
	if c.known() {
		t.Error("known before the cloud spoke")
	}
	c.set(cloudNow)
	if d := c.now().Sub(cloudNow); d < 0 || d > time.Minute {
		t.Errorf("now is %v off", d)
	}
}

func TestAServiceIsUpWhenItsTargetIsAllowedAndStreamsCanCome(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newStreamPolicy(boardA, func() ed25519.PublicKey { return nil }, &cloudClock{}, nil)
	ready := false
	p.ready = func() bool { return ready }
	p.Apply([]wire.Resource{
		wire.NewResource(wire.KindService, "own", wire.DesiredService{Target: "127.0.0.1", TCPPort: l.Addr().(*net.TCPAddr).Port}),
		wire.NewResource(wire.KindService, "lan", wire.DesiredService{Target: "192.0.2.1", TCPPort: 22}),
	})
	for range 2 {
		states, _ := p.States()
		if own := states[0]; own.Up != ready || own.Problem != "" {
			t.Errorf("streams can come: %v, %+v", ready, own)
		}
		if lan := states[1]; lan.Up || lan.ProblemID != wire.TargetForbidden || !strings.Contains(lan.Problem, "--allow-target 192.0.2.1/32") {
			t.Errorf("a target that is not allowed: %+v", lan)
		}
		ready = true
	}
}

// TestAShellIsOpenedByAUsersTicketOnly: for a terminal, where the owner allows one, and by a
// stream that can be resumed.
func TestAShellIsOpenedByAUsersTicketOnly(t *testing.T) {
	open := func(p *streamPolicy, change func(*wire.Ticket)) error {
		ticket := wire.Ticket{ID: s4t.NewID(), Purpose: wire.PurposeStream, Board: boardA, Target: wire.TargetTerminal, User: "maria", Resumable: "name", Expires: cloudNow.Unix() + 60}
		change(&ticket)
		end, _, err := p.connect(t.Context(), ticket.Sign(conductorKey), "")
		if err == nil {
			end.Close()
		}
		p.resumable.Close()
		return err
	}
	same := func(*wire.Ticket) {}
	if err := open(testPolicy(), same); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("without the owner's word: %v", err)
	}
	me, err := user.Current()
	if err != nil {
		t.Skip(err)
	}
	host, err := terminal.NewHost(me.Username, nil)
	if err != nil {
		t.Skip(err)
	}
	for name, change := range map[string]func(*wire.Ticket){
		"of a service":             func(t *wire.Ticket) { t.Purpose, t.Service, t.ID = wire.PurposeService, "service-1", "" },
		"that cannot be resumed":   func(t *wire.Ticket) { t.Resumable = "" },
		"of another board":         func(t *wire.Ticket) { t.Board = boardB },
		"that is resumed, but new": func(t *wire.Ticket) { t.Again = true },
	} {
		p := testPolicy()
		p.shells = host
		if err := open(p, change); err == nil {
			t.Errorf("a ticket %s opens a shell", name)
		}
	}
	p := testPolicy()
	p.shells = host
	if err := open(p, same); err != nil {
		t.Error(err)
	}
	host.Wait()
}
