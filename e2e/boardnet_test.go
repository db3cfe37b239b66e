package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
	"github.com/stack4things/s4t/wire"
)

// allowBridge is the word of a board's owner that networks may bridge these
// interfaces.
func allowBridge(t *testing.T, b *cloudlab.Board, interfaces ...string) {
	t.Helper()
	for _, i := range interfaces {
		b.Args = append(b.Args, "--allow-bridge", i)
	}
	must(t, b.Process.Stop())
	must(t, b.Run())
	must(t, b.WaitReady(0, 15*time.Second))
}

// TestANetworkThatHidesTheBoardsOwnIsRefused: rows 10 and F2.
func TestANetworkThatHidesTheBoardsOwnIsRefused(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 1)
	board := c.Boards[0]
	for _, cidr := range []string{"192.168.1.0/24", "192.168.0.0/16", "192.168.1.128/25"} {
		msg := s4tFails(t, c, 6, "bridge", "create", "home", "--board", "board1", "--cidr", cidr)
		if !strings.Contains(msg, "board1") || !strings.Contains(msg, "192.168.1.0/24") {
			t.Errorf("%s: %s", cidr, msg)
		}
	}
	must(t, ping(t.Context(), board.Host, "192.168.1.1"))
	must(t, status(t, c, "board1", s4t.BoardOnline))

	// A route that comes later: the board itself sees it.
	runS4T(t, c, "bridge", "create", "away", "--board", "board1", "--cidr", "10.99.7.0/24")
	port := func(want s4t.PortStatus) func() error {
		return func() error {
			var b s4t.Bridge
			if err := c.JSON(t.Context(), &b, "bridge", "show", "away"); err != nil {
				return err
			}
			if b.Ports[0].Status != want {
				return fmt.Errorf("port is %s: %s", b.Ports[0].Status, b.Ports[0].Problem)
			}
			return nil
		}
	}
	hostRun(t, board.Host, "ip route add 10.99.0.0/16 via 192.168.1.1 metric 100") // the company's, behind the router
	within(t, 5*time.Second, "the port gives way", port(s4t.PortDown))
	var report wire.DoctorReport
	within(t, 5*time.Second, "the doctor names the overlap", func() error {
		c.JSON(t.Context(), &report, "doctor", "board1") // its exit status says that there are errors
		return hasFinding(report.Findings, wire.AddressOverlap)
	})
	msg := s4tFails(t, c, 6, "bridge", "create", "more", "--board", "board1", "--cidr", "10.99.8.0/24")
	if !strings.Contains(msg, "10.99.0.0/16") {
		t.Errorf("a network in the new route: %s", msg)
	}
	// The route goes, told by the kernel, and the port comes up by itself.
	hostRun(t, board.Host, "ip route del 10.99.0.0/16")
	within(t, 5*time.Second, "the port comes up when the route has gone", port(s4t.PortUp))
}

// TestADeviceThatAnotherProgramChangesComesBack: row F1.
func TestADeviceThatAnotherProgramChangesComesBack(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 2)
	var b s4t.Bridge
	s4tJSON(t, c, &b, "bridge", "create", "lab", "--board", "board1", "--board", "board2")
	one, two := c.Boards[0].Host, c.Boards[1].Host
	device := interfaceOf(t, b, "board1")
	works := func() error { return ping(t.Context(), two, addressOf(t, b, "board1", false)) }
	within(t, 5*time.Second, "ping across", works)
	for _, command := range []string{"ip addr flush dev %s", "ip link set %s down", "ip link set %s mtu 600 address 02:00:00:00:00:01"} {
		hostRun(t, one, command, device)
		t.Logf("%s: back after %v", command, within(t, 5*time.Second, "ping again after "+command, works).Round(time.Millisecond))
	}
	within(t, 5*time.Second, "who fights over it is told", func() error {
		var report wire.DoctorReport
		c.JSON(t.Context(), &report, "doctor", "board1")
		return hasFinding(report.Findings, wire.DeviceContested)
	})
}

// TestFaultWhatCutsTheBoardOffIsTakenBack: row 10, where nobody could foresee it:
// with a second device of ours a script on the board closes the way to the
// cloud.
func TestFaultWhatCutsTheBoardOffIsTakenBack(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 2)
	board := c.Boards[0]
	var good s4t.Bridge
	s4tJSON(t, c, &good, "bridge", "create", "good", "--board", "board1", "--board", "board2")
	_, err := board.Host.Start("script", nil, "sh", "-c",
		`while sleep 0.2; do if [ $(ls /sys/class/net | grep -c ^s4t-) -gt 1 ]; then ip route replace blackhole `+netlab.CloudAddr+`; else ip route del blackhole `+netlab.CloudAddr+` 2>/dev/null; fi; done`)
	must(t, err)
	c.S4T(t.Context(), "bridge", "create", "bad", "--board", "board1") // the board is cut off before or after it has told that it is up
	within(t, 30*time.Second, "the board is cut off", func() error { return status(t, c, "board1", s4t.BoardOffline) })
	t.Logf("back after %v", within(t, 150*time.Second, "the board is back", func() error { return status(t, c, "board1", s4t.BoardOnline) }).Round(time.Second))
	var report wire.DoctorReport
	within(t, 10*time.Second, "it tells why", func() error {
		c.JSON(t.Context(), &report, "doctor", "board1")
		return hasFinding(report.Findings, wire.StateTakenBack)
	})
	board.Process.Kill()
	must(t, board.Run())
	within(t, healLimit, "it is online after a restart, and the other network works", func() error {
		if err := status(t, c, "board1", s4t.BoardOnline); err != nil {
			return err
		}
		return ping(t.Context(), c.Boards[1].Host, addressOf(t, good, "board1", false))
	})
	if out := hostRun(t, board.Host, "ls /sys/class/net"); strings.Count(out, "s4t-") != 1 {
		t.Errorf("board1 has the devices %s", out)
	}
}
