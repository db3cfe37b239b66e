package e2e

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
)

// portOf returns a board's port with its counters.
func portOf(t *testing.T, c *cloudlab.Cloud, b s4t.Bridge, board string) s4t.Port {
	t.Helper()
	for _, p := range b.Ports {
		if p.Board == board {
			var shown s4t.Port
			s4tJSON(t, c, &shown, "port", "show", string(p.ID))
			return shown
		}
	}
	t.Fatalf("bridge %s has no port on %s", b.Name, board)
	return s4t.Port{}
}

// attacker is what a hostile program on board1 may know of its own port.
func attacker(t *testing.T, p s4t.Port) hostile {
	t.Helper()
	mac, err := net.ParseMAC(p.MAC)
	if err != nil {
		t.Fatal(err)
	}
	h := hostile{mac: mac, marker: make([]byte, 12)}
	rand.Read(h.marker)
	for _, a := range p.Addresses {
		if ip := netip.MustParsePrefix(a).Addr(); ip.Is4() {
			h.ip4 = ip
		} else {
			h.ip6 = ip
		}
	}
	return h
}

func TestGuardsStopWhatIsNotThePortsOwn(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 2)
	one := c.Boards[0]
	stranger4, stranger6 := netip.MustParseAddr("10.90.0.99"), netip.MustParseAddr("fd00:90::99")
	bad := []struct {
		name   string
		frame  func(h hostile) []byte
		count  func(d s4t.PortDropped) uint64
		always bool // no flag lifts it
	}{
		{name: "a foreign source MAC",
			frame: func(h hostile) []byte { return ethernet(broadcastMAC, strangerMAC, 0x88b6, h.marked(make([]byte, 40))) },
			count: func(d s4t.PortDropped) uint64 { return d.SpoofedMAC }},
		{name: "ARP for a foreign address",
			frame: func(h hostile) []byte { return h.arp(stranger4) },
			count: func(d s4t.PortDropped) uint64 { return d.SpoofedARP }},
		{name: "a neighbour advertisement for a foreign address",
			frame: func(h hostile) []byte { return h.advertisement(stranger6) },
			count: func(d s4t.PortDropped) uint64 { return d.SpoofedND }},
		{name: "a foreign IPv4 source",
			frame: func(h hostile) []byte { return h.udp4(stranger4, 4000, 4001, nil) },
			count: func(d s4t.PortDropped) uint64 { return d.SpoofedIP }},
		{name: "a foreign IPv6 source",
			frame: func(h hostile) []byte { return h.icmp6(stranger6, []byte{200, 0, 0, 0}) },
			count: func(d s4t.PortDropped) uint64 { return d.SpoofedIP }},
		{name: "a DHCP server's answer",
			frame: func(h hostile) []byte { return h.udp4(h.ip4, 67, 68, append([]byte{2, 1, 6, 0}, make([]byte, 240)...)) },
			count: func(d s4t.PortDropped) uint64 { return d.DHCPServer }},
		{name: "a router advertisement",
			frame: func(h hostile) []byte { return h.router() },
			count: func(d s4t.PortDropped) uint64 { return d.RouterAdvertisement }},
		{name: "a BPDU", always: true,
			frame: func(h hostile) []byte {
				return ethernet(net.HardwareAddr{0x01, 0x80, 0xc2, 0, 0, 0}, h.mac, 60, h.marked([]byte{0x42, 0x42, 0x03, 0, 0, 0, 0, 0}))
			},
			count: func(d s4t.PortDropped) uint64 { return d.BPDU }},
	}
	var guarded, open s4t.Bridge
	s4tJSON(t, c, &guarded, "bridge", "create", "guarded", "--board", "board1", "--board", "board2", "--cidr", "10.90.0.0/24", "--cidr6", "fd00:90::/64")
	s4tJSON(t, c, &open, "bridge", "create", "open", "--board", "board1", "--board", "board2", "--cidr", "10.92.0.0/24", "--cidr6", "fd00:92::/64",
		"--allow-any-source", "--allow-dhcp", "--allow-ra", "--storm-limit", "100")
	for _, b := range []s4t.Bridge{guarded, open} {
		seen := startCapture(t, c.Boards[1].Host, interfaceOf(t, b, "board2"), c.Lab.Dir)
		iface := interfaceOf(t, b, "board1")
		arrives := func(h hostile) {
			t.Helper()
			within(t, 3*time.Second, "the frame arrives", func() error {
				if n, _ := seen.count(h.marker); n == 0 {
					return fmt.Errorf("board2 has not seen it; board1's port counts %+v", portOf(t, c, b, "board1").Counters.Dropped)
				}
				return nil
			})
		}
		for _, tt := range bad {
			t.Run(b.Name+"/"+tt.name, func(t *testing.T) {
				p := portOf(t, c, b, "board1")
				h := attacker(t, p)
				sendFrames(t, one.Host, iface, tt.frame(h), 5, time.Millisecond)
				if b.Name == "open" && !tt.always {
					arrives(h)
					return
				}
				within(t, 3*time.Second, "the reason counts", func() error {
					if n := tt.count(portOf(t, c, b, "board1").Counters.Dropped) - tt.count(p.Counters.Dropped); n < 5 {
						return fmt.Errorf("it grew by %d, want 5", n)
					}
					return nil
				})
				honest := attacker(t, p)
				sendFrames(t, one.Host, iface, honest.udp4(honest.ip4, 4000, 4001, nil), 1, 0)
				arrives(honest) // behind the hostile ones
				if n, _ := seen.count(h.marker); n > 0 {
					t.Errorf("board2 received %d of 5", n)
				}
			})
		}
		t.Run(b.Name+"/a storm", func(t *testing.T) {
			p := portOf(t, c, b, "board1")
			h := attacker(t, p)
			limit, start := 500, time.Now()
			if b.Name == "open" {
				limit = 100
			}
			sendFrames(t, one.Host, iface, ethernet(broadcastMAC, h.mac, 0x88b6, h.marked(make([]byte, 40))), 4000, 20*time.Microsecond)
			within(t, 3*time.Second, "the storm counts", func() error {
				if n := portOf(t, c, b, "board1").Counters.Dropped.Storm - p.Counters.Dropped.Storm; n < 500 {
					return fmt.Errorf("it grew by %d", n)
				}
				return nil
			})
			n, _ := seen.count(h.marker)
			if most := 2*limit + int(time.Since(start).Seconds()*float64(limit)) + 1; n == 0 || n > most {
				t.Errorf("board2 received %d frames, want 1 to %d", n, most)
			}
		})
	}
	t.Run("a LAN of too many MACs", func(t *testing.T) {
		h := attacker(t, portOf(t, c, open, "board1"))
		frame := ethernet(h.mac, net.HardwareAddr{2, 1, 0, 0, 0, 0}, 0x88b6, make([]byte, 46))
		sendCounted(t, one.Host, interfaceOf(t, open, "board1"), frame, 8, 3000, 20*time.Microsecond) // the source MAC counts
		within(t, 3*time.Second, "the limit counts", func() error {
			if n := portOf(t, c, open, "board1").Counters.Dropped.MACLimit; n == 0 {
				return fmt.Errorf("mac_limit is 0")
			}
			return nil
		})
	})
	t.Run("metrics", func(t *testing.T) {
		text := metricsOf(t, c)
		for _, want := range []string{`reason="spoofed_mac"} 5`, `s4t_boards{status="online"} 2`, "# TYPE s4t_port_dropped_frames_total counter"} {
			if !strings.Contains(text, want) {
				t.Errorf("the metrics lack %s:\n%.2000s", want, text)
			}
		}
	})
}

func TestADHCPServerServesTheNetworkWhereItIsAllowed(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 2)
	one, two := c.Boards[0], c.Boards[1]
	script := filepath.Join(c.Lab.Dir, "udhcpc.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = bound ] && exec ip addr add \"$ip/$mask\" dev \"$interface\"\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
	}{{"forbidden", nil}, {"allowed", []string{"--allow-dhcp"}}} {
		var b s4t.Bridge
		s4tJSON(t, c, &b, append([]string{"bridge", "create", tt.name, "--board", "board1", "--board", "board2", "--cidr", "none"}, tt.args...)...)
		iface := interfaceOf(t, b, "board1")
		if _, err := one.Host.Run(t.Context(), "ip", "addr", "add", "10.91.0.1/24", "dev", iface); err != nil {
			t.Fatal(err)
		}
		server := startDHCP(t, one.Host, iface, c.Lab.Dir)
		out, err := lease(t, two.Host, interfaceOf(t, b, "board2"), script)
		switch {
		case tt.name == "forbidden" && err == nil:
			t.Errorf("a lease came from a server that is not allowed: %s", out)
		case tt.name == "forbidden":
			if n := portOf(t, c, b, "board1").Counters.Dropped; n.DHCPServer == 0 && n.SpoofedIP == 0 && n.SpoofedARP == 0 {
				t.Errorf("nothing was counted: %+v", n)
			}
		case err != nil:
			t.Errorf("no lease: %v; server: %s; counters %+v", err, server.Tail(10), portOf(t, c, b, "board1").Counters.Dropped)
		default:
			within(t, 3*time.Second, "ping the server from the leased address", func() error { return ping(t.Context(), two.Host, "10.91.0.1") })
			ip, _ := two.Host.Run(t.Context(), "sh", "-c", "ip -4 -o addr show dev "+interfaceOf(t, b, "board2")+" | sed 's/.*inet \\([0-9.]*\\).*/\\1/'")
			within(t, 3*time.Second, "ping the leased address", func() error { return ping(t.Context(), one.Host, strings.TrimSpace(ip)) })
		}
		server.Stop()
		runS4T(t, c, "bridge", "delete", tt.name)
	}
	t.Run("through an uplink", func(t *testing.T) {
		var b s4t.Bridge
		s4tJSON(t, c, &b, "bridge", "create", "dc", "--board", "board1", "--board", "board2", "--cidr", "none")
		vm := c.Lab.User
		hostRun(t, c.Lab.Cloud, "ip link add br0 type bridge")
		hostRun(t, c.Lab.Cloud, "ip link set br0 up")
		cable(t, vm, "vm0", c.Lab.Cloud, "vmport")
		hostRun(t, c.Lab.Cloud, "ip link set vmport master br0 up")
		hostRun(t, vm, "ip addr add 10.91.0.1/24 dev vm0")
		hostRun(t, vm, "ip link set vm0 up")
		runS4T(t, c, "network", "uplink", "dc", "--bridge", "br0")
		startDHCP(t, vm, "vm0", c.Lab.Dir)
		if _, err := lease(t, one.Host, interfaceOf(t, b, "board1"), script); err == nil {
			t.Error("a lease came through an uplink that does not allow it")
		}
		runS4T(t, c, "network", "uplink", "dc", "--bridge", "br0", "--allow-dhcp")
		for _, board := range c.Boards {
			if out, err := lease(t, board.Host, interfaceOf(t, b, board.Name), script); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			within(t, 3*time.Second, "ping the server from the leased address", func() error { return ping(t.Context(), board.Host, "10.91.0.1") })
		}
	})
}

// startDHCP starts a DHCP server on an interface that has 10.91.0.1/24.
func startDHCP(t *testing.T, h *netlab.Host, iface, dir string) *netlab.Process {
	t.Helper()
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		t.Skip("needs dnsmasq (make deps installs it)")
	}
	p, err := h.Start("dnsmasq-"+iface, nil, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--user=root", "--interface="+iface, "--bind-interfaces",
		"--dhcp-range=10.91.0.50,10.91.0.60,255.255.255.0,1h", "--dhcp-authoritative", "--no-ping", "--dhcp-leasefile="+filepath.Join(dir, iface+".leases"), "--pid-file=")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lease asks for an address of a DHCP server for 3 s.
func lease(t *testing.T, h *netlab.Host, iface, script string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("udhcpc"); err != nil {
		t.Skip("needs udhcpc (make deps installs it)")
	}
	return h.Run(t.Context(), "udhcpc", "-f", "-q", "-n", "-t", "3", "-T", "1", "-i", iface, "-s", script)
}

// metricsOf reads the metrics as a Prometheus server would.
func metricsOf(t *testing.T, c *cloudlab.Cloud) string {
	t.Helper()
	text, err := os.ReadFile(c.ContextFile())
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "token = ")
	token := strings.Trim(strings.SplitN(rest, "\n", 2)[0], "\"' ")
	out, err := c.Lab.User.Run(t.Context(), "curl", "-sSf", "--cacert", filepath.Join(c.Data, "ca.pem"), "-H", "Authorization: Bearer "+token, cloudlab.URL+"/v1/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return out
}
