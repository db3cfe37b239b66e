package doctor

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// TestDiagnosesOfTheBoardItself looks at one thing at a time. What lies on the
// path is tested with real networks in package e2e.
func TestDiagnosesOfTheBoardItself(t *testing.T) {
	survey := func(s link.Survey) func() (link.Survey, error) {
		return func() (link.Survey, error) { return s, nil }
	}
	port := func(p Port, s link.Survey) *examination {
		return &examination{Board: Board{Identity: &Identity{}, Running: &Running{Connected: true, Ports: []Port{p}}}, survey: survey(s)}
	}
	lan := link.Survey{Interfaces: []link.Interface{{Name: "eth0", Up: true}, {Name: "s4t-1", Up: true}},
		Routes: []link.Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Interface: "eth0"}, {To: netip.MustParsePrefix("192.168.0.0/16"), Interface: "eth0"}}}
	bridged := func(drops []link.ForwardDrop) *examination {
		x := port(Port{Interface: "s4t-1", Addresses: []string{"10.77.0.2/24"}}, link.Survey{
			Interfaces: append(lan.Interfaces, link.Interface{Name: "s4tb-1", Up: true}),
			Routes:     append(lan.Routes, link.Route{To: netip.MustParsePrefix("10.77.0.0/24"), Interface: "s4tb-1"})})
		x.drops = func(context.Context) []link.ForwardDrop { return drops }
		return x
	}
	now := time.Date(2040, 5, 1, 0, 0, 0, 0, time.UTC)
	a4, a4b, a6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::1")
	for _, tt := range []struct {
		want string // ID; "": nothing is wrong
		name string
		x    *examination
		run  func(x *examination)
		says string
	}{
		{wire.NotConnected, "lightning-rod has just begun", &examination{Board: Board{Identity: &Identity{}, Running: &Running{}}}, func(x *examination) { checkAgent(t.Context(), x) }, ""},
		{wire.AgentProblem, "lightning-rod tells a problem", &examination{Board: Board{Identity: &Identity{}, Running: &Running{Problems: []string{"the disk is slow"}}}},
			func(x *examination) { checkAgent(t.Context(), x) }, "the disk is slow"},
		{wire.BoardCloned, "lightning-rod tells of a clone", &examination{Board: Board{Identity: &Identity{}, Running: &Running{Problems: []string{"another board"}, Trouble: "another board", Cause: wire.BoardCloned}}},
			func(x *examination) { checkAgent(t.Context(), x) }, "another board"},
		{wire.PortDown, "a port waits for the tunnel agent", port(Port{Interface: "s4t-1", Problem: "the agent is away"}, lan),
			func(x *examination) { checkPorts(t.Context(), x) }, "the agent is away"},
		{wire.DeviceNameTaken, "somebody made a device of that name", port(Port{Interface: "s4t-1", Problem: "create device s4t-1: a device of that name exists", ProblemID: wire.DeviceNameTaken}, lan),
			func(x *examination) { checkPorts(t.Context(), x) }, "s4t-1"},
		{wire.PortDown, "a device cannot be made for another reason", port(Port{Interface: "s4t-2", Problem: "create device s4t-2: no memory"}, lan),
			func(x *examination) { checkPorts(t.Context(), x) }, "no memory"},
		{wire.PortDown, "a port of a board that cannot make devices", port(Port{Interface: "s4t-1", Problem: "no /dev/net/tun", ProblemID: wire.NoTun}, lan),
			func(x *examination) { checkPorts(t.Context(), x) }, "/dev/net/tun"},
		{wire.BridgeToFails, "the interface behind a port was unplugged", port(Port{Interface: "s4t-1", Problem: "ip link set dev eth1 master s4tb-1: Link not found", ProblemID: wire.BridgeToFails}, lan),
			func(x *examination) { checkPorts(t.Context(), x) }, "eth1"},
		{wire.BridgeNotAllowed, "the owner has not allowed it", port(Port{Interface: "s4t-1", Problem: "does not let networks bridge eth1", ProblemID: wire.BridgeNotAllowed}, lan),
			func(x *examination) { checkPorts(t.Context(), x) }, "eth1"},
		{wire.DeviceContested, "a port that is up is fought over", port(Port{Interface: "s4t-1", Problem: "NetworkManager keeps changing the MTU", ProblemID: wire.DeviceContested}, lan),
			func(x *examination) { checkPorts(t.Context(), x) }, "NetworkManager"},
		{wire.AddressOverlap, "lightning-rod refused the port, told once", port(Port{Interface: "s4t-1", Addresses: []string{"192.168.7.2/24"}, Problem: "overlaps eth0's", ProblemID: wire.AddressOverlap}, lan),
			func(x *examination) { checkPorts(t.Context(), x) }, "eth0"},
		{"", "a port that is bridged to an interface (row F8)", bridged(nil),
			func(x *examination) { checkPorts(t.Context(), x) }, ""},
		{wire.ForwardDropped, "Docker's firewall (row F7)", bridged([]link.ForwardDrop{{Chain: "table ip filter, chain FORWARD", Packets: 77}}),
			func(x *examination) { checkPorts(t.Context(), x) }, "77 packets"},
		{wire.AddressOverlap, "a bridge within the board's LAN", port(Port{Interface: "s4t-1", Addresses: []string{"192.168.7.2/24"}}, lan),
			func(x *examination) { checkPorts(t.Context(), x) }, "eth0"},
		{"", "a bridge beside the board's LAN", port(Port{Interface: "s4t-1", Addresses: []string{"10.77.0.2/24", "fe80::1/64"}}, lan),
			func(x *examination) { checkPorts(t.Context(), x) }, ""},
		{wire.TargetRefused, "nothing listens where a service's streams go",
			&examination{Board: Board{Running: &Running{Services: []Service{{Target: "127.0.0.1:80", Problem: "nothing listens there", ProblemID: wire.TargetRefused}}}}},
			func(x *examination) { checkServices(t.Context(), x) }, "127.0.0.1:80"},
		{wire.ServiceDown, "a service is down for another reason", &examination{Board: Board{Running: &Running{Services: []Service{{Target: "127.0.0.1:80", Problem: "strange"}}}}},
			func(x *examination) { checkServices(t.Context(), x) }, "strange"},
		{wire.PluginRefused, "a plugin that the board does not take",
			&examination{Board: Board{Running: &Running{Plugins: []Plugin{{Name: "meter", Problem: "its signature is not good", ProblemID: wire.PluginRefused}}}}},
			func(x *examination) { checkPlugins(t.Context(), x) }, "meter: its signature"},
		{wire.PluginFellBack, "a version that did not become healthy",
			&examination{Board: Board{Running: &Running{Plugins: []Plugin{{Name: "meter", Problem: "2 is not healthy; 1 runs", ProblemID: wire.PluginFellBack}}}}},
			func(x *examination) { checkPlugins(t.Context(), x) }, "1 runs"},
		{wire.PluginFailed, "a plugin that crashes", &examination{Board: Board{Running: &Running{Plugins: []Plugin{{Name: "meter", Problem: "exit status 3"}}}}},
			func(x *examination) { checkPlugins(t.Context(), x) }, "exit status 3"},
		{wire.ClockPast, "the clock says 1970", &examination{now: time.Unix(5, 0)}, func(x *examination) { checkClock(t.Context(), x) }, "1970-01-01"},
		{wire.ClockOff, "the clock is years off", &examination{now: now, cloudNow: now.AddDate(-3, 0, 0)}, func(x *examination) { checkClock(t.Context(), x) }, "off the cloud's"},
		{"", "the clock is a little off", &examination{now: now, cloudNow: now.Add(30 * time.Second)}, func(x *examination) { checkClock(t.Context(), x) }, ""},
		{wire.NoTun, "no /dev/net/tun", &examination{Board: Board{Capabilities: &link.Capabilities{Kind: s4t.Unavailable, Reason: "/dev/net/tun is not there"}}}, func(x *examination) { checkNetworks(t.Context(), x) }, "/dev/net/tun"},
		{wire.NoNetAdmin, "no right", &examination{Board: Board{Capabilities: &link.Capabilities{Kind: s4t.Forbidden, Reason: "no CAP_NET_ADMIN"}}}, func(x *examination) { checkNetworks(t.Context(), x) }, "CAP_NET_ADMIN"},
		{wire.NoNetworks, "devices fail for another reason", &examination{Board: Board{Capabilities: &link.Capabilities{Kind: s4t.Internal, Reason: "strange"}}}, func(x *examination) { checkNetworks(t.Context(), x) }, "strange"},
		{wire.FamilyDead, "IPv6 is dead", &examination{}, func(x *examination) { x.partly([]reach{{a6, syscall.ETIMEDOUT}}, map[bool]bool{false: true}) }, "IPv6"},
		{wire.FamilyDead, "IPv4 is dead", &examination{}, func(x *examination) { x.partly([]reach{{a4, syscall.ECONNREFUSED}}, map[bool]bool{true: true}) }, "IPv4"},
		{"", "there is no IPv6", &examination{}, func(x *examination) { x.partly([]reach{{a6, syscall.ENETUNREACH}}, map[bool]bool{false: true}) }, ""},
		{wire.AddressDead, "one of two addresses is dead", &examination{}, func(x *examination) { x.partly([]reach{{a4b, syscall.ECONNREFUSED}}, map[bool]bool{false: true}) }, "192.0.2.2"},
		{wire.BoardRefused, "the cloud refuses for a reason of its own", &examination{}, func(x *examination) { x.blame(wamp.DecodeError("join", "wamp.error.no_such_realm", "", "")) }, "realm"},
		{wire.BoardCloned, "the cloud says that there is a clone", &examination{}, func(x *examination) { x.blame(wamp.DecodeError("join", wamp.ReasonCloned, "", "")) }, ""},
		{wire.BoardUnknown, "the cloud says that the board left", &examination{}, func(x *examination) { x.blame(wamp.DecodeError("join", wamp.ReasonLeft, "", "")) }, ""},
		{wire.CloudDown, "the cloud stops", &examination{}, func(x *examination) { x.blame(wamp.DecodeError("join", wamp.ReasonShutdown, "", "")) }, ""},
		{wire.UpgradeCut, "the connection is lost", &examination{}, func(x *examination) {
			x.blame(s4t.Errorf(s4t.Unavailable, "join", "", "the connection was lost: %w", errors.New("cut")))
		}, "lost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.run(tt.x)
			expect(t, tt.x.findings, tt.want, tt.says)
		})
	}
}

func TestAnObstacleThatLightningRodDoesNotMeetIsNoError(t *testing.T) {
	x := &examination{Board: Board{Running: &Running{Connected: true}}, dialer: new(dial.Dialer)}
	x.examine(t.Context(), []check{
		{"tcp", true, func(_ context.Context, x *examination) { x.found(wire.LocalFirewall, "forbidden", "") }},
		{"tls", true, func(context.Context, *examination) { t.Error("what lies behind it was looked at") }},
	})
	if f := x.findings[0]; f.Level != wire.LevelWarning || f.Certain || !strings.Contains(f.Cure, "HTTPS_PROXY") || !x.blocked {
		t.Errorf("%+v", f)
	}
}

// expect fails unless the diagnosis is the only one among findings that says
// something is wrong.
func expect(t *testing.T, findings []wire.Finding, want, says string) {
	t.Helper()
	found := want == ""
	for _, f := range findings {
		switch {
		case f.ID == want && want != "":
			found = true
			known, _ := wire.Diagnose(want)
			if f.Check != known.Check || f.Level != known.Level || f.Certain && !known.Certain || f.Cure == "" || !strings.Contains(f.Cause, says) {
				t.Errorf("%+v, want %q in it", f, says)
			}
		case f.ID != "":
			t.Errorf("%+v is said too", f)
		}
	}
	if !found {
		t.Errorf("no %s in %+v", want, findings)
	}
}

func TestDiagnosesOfTheDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount file systems")
	}
	for _, tt := range []struct {
		want, options string
		flags         uintptr
		fill          int // bytes
	}{
		{want: wire.DiskFull, options: "size=64k", fill: 64 << 10},
		{want: wire.DiskFull, options: "size=4m,nr_inodes=1"},
		{want: wire.DiskLow, options: "size=512k"},
		{want: wire.DiskReadOnly, options: "size=4m", flags: unix.MS_RDONLY},
		{want: "", options: "size=4m"},
	} {
		t.Run(tt.want+" "+tt.options, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("none", dir, "tmpfs", tt.flags, tt.options); err != nil {
				t.Skipf("needs to mount a tmpfs: %v", err)
			}
			t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
			if tt.fill > 0 {
				os.WriteFile(filepath.Join(dir, "full"), make([]byte, tt.fill), 0o600)
			}
			x := &examination{Board: Board{State: dir}}
			checkDisk(t.Context(), x)
			expect(t, x.findings, tt.want, "")
		})
	}
}
