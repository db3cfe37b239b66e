package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// addressOf returns a port's address of a family, without the prefix length.
func addressOf(t *testing.T, b s4t.Bridge, board string, v6 bool) string {
	t.Helper()
	for _, p := range b.Ports {
		if p.Board != board {
			continue
		}
		for _, a := range p.Addresses {
			if pre, err := netip.ParsePrefix(a); err == nil && pre.Addr().Is6() == v6 {
				return pre.Addr().String()
			}
		}
	}
	t.Fatalf("bridge %s has no such address for %s: %+v", b.Name, board, b.Ports)
	return ""
}

// interfaceOf returns the device of a board's port.
func interfaceOf(t *testing.T, b s4t.Bridge, board string) string {
	t.Helper()
	for _, p := range b.Ports {
		if p.Board == board {
			return p.Interface
		}
	}
	t.Fatalf("bridge %s has no port on %s", b.Name, board)
	return ""
}

// broadcastOf returns the directed broadcast address of an IPv4 block.
func broadcastOf(cidr string) string {
	p := netip.MustParsePrefix(cidr).Masked()
	a := p.Addr().As4()
	for bit := p.Bits(); bit < 32; bit++ {
		a[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(a).String()
}

func TestBridgeTwoBoardsBehindNATs(t *testing.T) {
	c := newCloud(t, 2)
	for _, tt := range []struct {
		name string
		args []string
		v6   bool
	}{
		{name: "layer2", args: []string{"--layer", "2"}},
		{name: "layer3", args: []string{"--layer", "3"}},
		{name: "layer2-six", args: []string{"--cidr6", "fd00:88::/64"}, v6: true},
		{name: "layer3-six", args: []string{"--layer", "3", "--cidr", "none", "--cidr6", "fd00:89::/64"}, v6: true},
		{name: "layer2-gre", args: []string{"--encapsulation", "gre"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			var b s4t.Bridge
			s4tJSON(t, c, &b, append([]string{"bridge", "create", tt.name, "--board", "board1", "--board", "board2"}, tt.args...)...)
			if b.Status != s4t.BridgeUp || len(b.Ports) != 2 {
				t.Fatalf("bridge = %+v, want it up with 2 ports", b)
			}
			to := addressOf(t, b, "board2", tt.v6)
			within(t, 3*time.Second, "first ping", func() error { return ping(t.Context(), c.Boards[0].Host, to) })
			t.Logf("request to first ping: %v (with two process starts)", time.Since(start).Round(time.Millisecond))
			within(t, time.Second, "ping back", func() error {
				return ping(t.Context(), c.Boards[1].Host, addressOf(t, b, "board1", tt.v6))
			})
			runS4T(t, c, "bridge", "delete", tt.name)
			for _, board := range c.Boards {
				if _, err := board.Host.Run(t.Context(), "ip", "link", "show", interfaceOf(t, b, board.Name)); err == nil {
					t.Errorf("%s keeps its device after bridge delete", board.Name)
				}
			}
		})
	}
}

func TestLayer2CarriesWhatEthernetCarries(t *testing.T) {
	c := newCloud(t, 2)
	var b s4t.Bridge
	s4tJSON(t, c, &b, "bridge", "create", "lab", "--board", "board1", "--board", "board2")
	one, two := c.Boards[0], c.Boards[1]
	if1, if2 := interfaceOf(t, b, "board1"), interfaceOf(t, b, "board2")

	t.Run("mDNS discovery by avahi", func(t *testing.T) {
		a1, err := one.Host.StartAvahi("first", if1)
		if err != nil {
			t.Skip(err)
		}
		a2, err := two.Host.StartAvahi("second", if2)
		if err != nil {
			t.Fatal(err)
		}
		if err := a1.Publish("gate", "_s4t._tcp", 4000); err != nil {
			t.Fatal(err)
		}
		took := within(t, 10*time.Second, "avahi-browse on board2 finds board1's service", func() error {
			out, err := a2.Browse(t.Context(), "_s4t._tcp")
			if err != nil || !strings.Contains(out, "first.local") {
				return fmt.Errorf("avahi-browse: %q, %v", out, err)
			}
			return nil
		})
		t.Logf("discovered in %v", took.Round(time.Millisecond))
	})

	t.Run("broadcast", func(t *testing.T) {
		two.Host.Run(t.Context(), "sysctl", "-qw", "net.ipv4.icmp_echo_ignore_broadcasts=0")
		within(t, 5*time.Second, "a broadcast ping is answered", func() error {
			_, err := one.Host.Run(t.Context(), "ping", "-n", "-b", "-c1", "-W1", "-I", if1, broadcastOf(b.CIDR))
			return err
		})
	})

	t.Run("iperf3 both ways", func(t *testing.T) {
		server, err := two.Host.Start("iperf3", nil, "iperf3", "-s", "-1", "--forceflush")
		if err != nil {
			t.Skip(err)
		}
		if _, err := server.WaitLine("Server listening", 0, time.Minute); err != nil {
			t.Fatal(err)
		}
		out, err := one.Host.Run(t.Context(), "iperf3", "-c", addressOf(t, b, "board2", false), "-t", "2", "--bidir")
		if err != nil {
			t.Fatal(err)
		}
		t.Log(out)
	})
}

func TestBoardsComeAndGoWithoutALostPing(t *testing.T) {
	c := newCloud(t, 3)
	var b s4t.Bridge
	s4tJSON(t, c, &b, "bridge", "create", "lab", "--board", "board1", "--board", "board2")
	within(t, 3*time.Second, "first ping", func() error {
		return ping(t.Context(), c.Boards[0].Host, addressOf(t, b, "board2", false))
	})
	p := startPinger(t, c.Boards[0].Host, addressOf(t, b, "board2", false))
	for range 3 {
		s4tJSON(t, c, &b, "bridge", "add", "lab", "--board", "board3")
		if len(b.Ports) != 3 || b.Status != s4t.BridgeUp {
			t.Fatalf("after add: %+v", b)
		}
		within(t, 3*time.Second, "ping the added board", func() error {
			return ping(t.Context(), c.Boards[0].Host, addressOf(t, b, "board3", false))
		})
		s4tJSON(t, c, &b, "bridge", "remove", "lab", "--board", "board3")
		if len(b.Ports) != 2 {
			t.Fatalf("after remove: %+v", b)
		}
	}
	if sent, lost := p.stop(t); lost > 0 {
		t.Errorf("%d of %d pings were lost while a third board came and went", lost, sent)
	}
}

func TestAnOfflineBoardComesUpWithItsBridge(t *testing.T) {
	c := newCloud(t, 2)
	c.Boards[1].Process.Stop()
	within(t, 10*time.Second, "board2 offline", func() error { return status(t, c, "board2", s4t.BoardOffline) })
	s4tFails(t, c, 5, "bridge", "create", "no", "--board", "board1", "--board", "board2", "--require-online")
	var b s4t.Bridge
	s4tJSON(t, c, &b, "bridge", "create", "lab", "--board", "board1", "--board", "board2")
	if b.Status != s4t.BridgeDegraded {
		t.Fatalf("status = %s, want degraded", b.Status)
	}
	if err := c.Boards[1].Run(); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "ping after the board came", func() error {
		return ping(t.Context(), c.Boards[0].Host, addressOf(t, b, "board2", false))
	})
}

func TestBridgesThatShareABoardDoNotOverlap(t *testing.T) {
	c := newCloud(t, 2)
	var a, b s4t.Bridge
	s4tJSON(t, c, &a, "bridge", "create", "one", "--board", "board1", "--board", "board2")
	s4tJSON(t, c, &b, "bridge", "create", "two", "--board", "board1", "--board", "board2")
	pa, pb := netip.MustParsePrefix(a.CIDR), netip.MustParsePrefix(b.CIDR)
	if pa.Overlaps(pb) {
		t.Errorf("bridges overlap: %s and %s", pa, pb)
	}
	msg := s4tFails(t, c, 6, "bridge", "create", "three", "--board", "board1", "--cidr", a.CIDR)
	if !strings.Contains(msg, "one") {
		t.Errorf("the error does not name the bridge in the way: %s", msg)
	}
	s4tFails(t, c, 6, "bridge", "create", "one", "--board", "board1")
	s4tFails(t, c, 3, "bridge", "create", "four", "--board", "nowhere")
	s4tFails(t, c, 2, "bridge", "create", "five", "--board", "board1", "--cidr", "10.0.0.1/99")
	s4tFails(t, c, 3, "bridge", "show", s4t.NewID())
}
