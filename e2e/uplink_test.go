package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/netlab"
)

// cable joins two hosts with a veth pair.
func cable(t *testing.T, a *netlab.Host, ifA string, b *netlab.Host, ifB string) {
	t.Helper()
	if out, err := exec.Command("ip", "link", "add", ifA, "netns", a.NS, "type", "veth", "peer", "name", ifB, "netns", b.NS).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// hostRun runs a command in a host.
func hostRun(t *testing.T, h *netlab.Host, line string, args ...any) string {
	t.Helper()
	out, err := h.Run(t.Context(), strings.Fields(fmt.Sprintf(line, args...))...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// hostAddress returns an address of a bridge's subnet that no board has.
func hostAddress(t *testing.T, b s4t.Bridge) netip.Prefix {
	t.Helper()
	p := netip.MustParsePrefix(b.CIDR)
	a := p.Addr().As4()
	a[3] = 200
	return netip.PrefixFrom(netip.AddrFrom4(a), p.Bits())
}

func TestUplinkPutsANetworkIntoALinuxBridge(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 2)
	board, vm := c.Boards[0].Host, c.Lab.User // the VM is the user's host, behind a second interface
	var b s4t.Bridge
	s4tJSON(t, c, &b, "bridge", "create", "lab", "--board", "board1", "--board", "board2")
	to := addressOf(t, b, "board1", false)
	at := hostAddress(t, b)

	msg := s4tFails(t, c, 6, "network", "uplink", "lab", "--bridge", "br0")
	if !strings.Contains(msg, "br0") || !strings.Contains(msg, "ip link") {
		t.Errorf("the error does not say what to do: %s", msg)
	}
	hostRun(t, c.Lab.Cloud, "ip link add br0 type bridge")
	hostRun(t, c.Lab.Cloud, "ip link set br0 up")
	cable(t, vm, "vm0", c.Lab.Cloud, "vmport")
	hostRun(t, c.Lab.Cloud, "ip link set vmport address 02:00:00:00:0a:01") // a random one may begin with fe: too
	hostRun(t, c.Lab.Cloud, "ip link set vmport master br0 up")
	mac := hostRun(t, c.Lab.Cloud, "cat /sys/class/net/br0/address")
	hostRun(t, vm, "ip addr add %v dev vm0", at)
	hostRun(t, vm, "ip link set vm0 up")
	cures := within(t, 5*time.Second, "the uplink comes by itself when its bridge does", func() error { return ping(t.Context(), vm, to) })
	t.Logf("cured in %v", cures.Round(time.Millisecond))

	var n s4t.Network
	s4tJSON(t, c, &n, "network", "uplink", "lab", "--bridge", "br0", "--allow-dhcp")
	if n.Uplink == nil || n.Uplink.Status != s4t.PortUp || !n.Uplink.Guards.AllowDHCP {
		t.Fatalf("uplink = %+v", n.Uplink)
	}
	within(t, time.Second, "ping the VM from the board", func() error { return ping(t.Context(), board, at.Addr().String()) })
	if now := hostRun(t, c.Lab.Cloud, "cat /sys/class/net/br0/address"); now != mac {
		t.Errorf("the uplink changed the bridge's MAC from %s to %s", mac, now)
	}

	t.Run("offloads are kept", func(t *testing.T) {
		server, err := board.Start("iperf3-uplink", nil, "iperf3", "-s", "-1", "--forceflush")
		if err != nil {
			t.Skip(err)
		}
		if _, err := server.WaitLine("Server listening", 0, time.Minute); err != nil {
			t.Fatal(err)
		}
		if out, err := vm.Run(t.Context(), "iperf3", "-c", to, "-t", "1"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		s4tJSON(t, c, &n, "network", "show", "lab")
		if k := n.Uplink.Counters; k == nil || k.RxFrames == 0 || k.RxBytes/k.RxFrames < 4*1500 {
			t.Errorf("frames from the bridge are not super-frames: %+v", k)
		} else {
			t.Logf("%d frames of %d bytes on average", k.RxFrames, k.RxBytes/k.RxFrames)
		}
	})

	t.Run("a second network in the same bridge is refused", func(t *testing.T) {
		runS4T(t, c, "bridge", "create", "other", "--board", "board1")
		s4tFails(t, c, 6, "network", "uplink", "other", "--bridge", "br0")
		s4tFails(t, c, 2, "network", "uplink", "other")
		s4tFails(t, c, 3, "network", "uplink", "other", "--remove")
	})

	t.Run("after kill -9 of iotronic", func(t *testing.T) {
		c.Process.Kill()
		if err := c.Run(); err != nil {
			t.Fatal(err)
		}
		within(t, 5*time.Second, "ping", func() error { return ping(t.Context(), vm, to) })
		if k := strings.Count(hostRun(t, c.Lab.Cloud, "ip -br link"), "s4tu-"); k != 1 {
			t.Errorf("%d devices of uplinks", k)
		}
	})

	t.Run("after the bridge was made anew", func(t *testing.T) {
		hostRun(t, c.Lab.Cloud, "ip link del br0")
		within(t, 8*time.Second, "it is told", func() error {
			n = s4t.Network{}
			s4tJSON(t, c, &n, "network", "show", "lab")
			if n.Uplink.Status != s4t.PortDown || !strings.Contains(n.Uplink.Problem, "br0") {
				return fmt.Errorf("uplink %+v", n.Uplink)
			}
			return nil
		})
		hostRun(t, c.Lab.Cloud, "ip link add br0 type bridge")
		hostRun(t, c.Lab.Cloud, "ip link set br0 up")
		hostRun(t, c.Lab.Cloud, "ip link set vmport master br0 up")
		within(t, 5*time.Second, "ping", func() error { return ping(t.Context(), vm, to) })
	})

	t.Run("removed", func(t *testing.T) {
		n = s4t.Network{}
		s4tJSON(t, c, &n, "network", "uplink", "lab", "--remove")
		if n.Uplink != nil {
			t.Errorf("uplink = %+v", n.Uplink)
		}
		if out := hostRun(t, c.Lab.Cloud, "ip -br link"); strings.Contains(out, "s4tu-") {
			t.Errorf("a device stays:\n%s", out)
		}
		if ping(t.Context(), vm, to) == nil {
			t.Error("the VM still reaches the board")
		}
	})
	audit := runS4T(t, c, "audit", "list")
	for _, action := range []string{"network.uplink", "network.uplink_remove"} {
		if !strings.Contains(audit, action) {
			t.Errorf("the audit lacks %s", action)
		}
	}
}

func TestBridgeToPutsTheLANBehindABoardIntoTheNetwork(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 2)
	one, two, plc := c.Boards[0], c.Boards[1], c.Lab.User // the PLC is the user's host, behind a second interface
	cable(t, one.Host, "eth1", plc, "plc0")
	var b s4t.Bridge
	s4tJSON(t, c, &b, "bridge", "create", "plant", "--board", "board2")
	at := hostAddress(t, b)
	hostRun(t, plc, "ip addr add %v dev plc0", at)
	hostRun(t, plc, "ip link set plc0 up")
	works := func() error {
		if err := ping(t.Context(), two.Host, at.Addr().String()); err != nil {
			return err
		}
		if err := ping(t.Context(), plc, addressOf(t, b, "board2", false)); err != nil {
			return err
		}
		return ping(t.Context(), plc, addressOf(t, b, "board1", false))
	}
	undone := func() error {
		if out := hostRun(t, one.Host, "ls /sys/class/net /sys/class/net/eth1"); strings.Contains(out, "s4t") || strings.Contains(out, "master") {
			return fmt.Errorf("board1 keeps:\n%s", out)
		}
		if flags := hostRun(t, one.Host, "cat /sys/class/net/eth1/flags"); flags != "0x1002\n" {
			return fmt.Errorf("eth1 was down and has the flags %s", flags)
		}
		return nil
	}
	add := func() {
		s4tJSON(t, c, &b, "bridge", "add", "plant", "--board", "board1", "--bridge-to", "eth1")
		within(t, 5*time.Second, "the PLC is in the network", works)
	}
	if err := undone(); err != nil {
		t.Fatalf("before: %v", err)
	}
	msg := s4tFails(t, c, 4, "bridge", "add", "plant", "--board", "board1", "--bridge-to", "eth1") // row 12
	if !strings.Contains(msg, "--allow-bridge eth1") {
		t.Errorf("without the owner's word: %s", msg)
	}
	runS4T(t, c, "bridge", "remove", "plant", "--board", "board1")
	within(t, time.Second, "a refusal leaves nothing", undone)
	allowBridge(t, one, "eth0", "eth1", "eth7")
	start := time.Now()
	msg = s4tFails(t, c, 6, "bridge", "add", "plant", "--board", "board1", "--bridge-to", "eth7")
	if took := time.Since(start); !strings.Contains(msg, "eth7") || took > 20*time.Second { // it is asked at once, not in vain
		t.Errorf("after %v: %s", took, msg)
	}
	msg = func() string { // the board's own way to the cloud
		runS4T(t, c, "bridge", "remove", "plant", "--board", "board1")
		return s4tFails(t, c, 6, "bridge", "add", "plant", "--board", "board1", "--bridge-to", "eth0")
	}()
	if !strings.Contains(msg, "addresses of its own") {
		t.Errorf("the error is %s", msg)
	}
	runS4T(t, c, "bridge", "remove", "plant", "--board", "board1")
	within(t, time.Second, "a refusal leaves nothing", undone)
	add()
	if p := portOf(t, c, b, "board1"); !p.Guards.AllowAnySource || p.Guards.BridgeTo != "eth1" {
		t.Errorf("guards = %+v", p.Guards)
	}

	mac := strings.TrimSpace(hostRun(t, plc, "cat /sys/class/net/plc0/address"))
	hostRun(t, one.Host, "ip link del eth1") // it is unplugged
	cable(t, one.Host, "eth1", plc, "plc0")
	hostRun(t, plc, "ip link set plc0 address %s", mac)
	hostRun(t, plc, "ip addr add %v dev plc0", at)
	hostRun(t, plc, "ip link set plc0 up")
	t.Logf("back after it was unplugged in %v", within(t, 8*time.Second, "the PLC is back when it is plugged in", works).Round(time.Millisecond))

	one.Process.Kill()
	if err := one.Run(); err != nil {
		t.Fatal(err)
	}
	t.Logf("back after kill -9 in %v", within(t, 5*time.Second, "the PLC is back after kill -9", works).Round(time.Millisecond))

	runS4T(t, c, "bridge", "remove", "plant", "--board", "board1")
	within(t, time.Second, "removal undoes it", undone)

	add()
	one.Process.Signal(syscall.SIGTERM)
	<-one.Process.Done()
	within(t, time.Second, "SIGTERM undoes it", undone)
	if err := one.Run(); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the PLC is back", works)

	one.Process.Kill()
	hostRun(t, one.Host, "%s leave --state %s", filepath.Join(c.Bin, "lightning-rod"), one.State)
	within(t, time.Second, "leave undoes what a kill -9 left", undone)
}

func TestALoopThroughALANIsCut(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 3)
	lan := c.Lab.User // a switch is in the user's host
	hostRun(t, lan, "ip link add lan type bridge")
	hostRun(t, lan, "ip link set lan up")
	for i, board := range c.Boards[:2] {
		cable(t, board.Host, "eth1", lan, fmt.Sprintf("p%d", i))
		hostRun(t, lan, "ip link set p%d up", i)
		allowBridge(t, board, "eth1")
	}
	hostRun(t, lan, "ip link set p0 master lan")
	var b s4t.Bridge
	s4tJSON(t, c, &b, "bridge", "create", "loop", "--board", "board3")
	s4tJSON(t, c, &b, "bridge", "add", "loop", "--board", "board1", "--board", "board2", "--bridge-to", "eth1")
	events, err := c.Lab.Cloud.Start("events", c.Env(), filepath.Join(c.Bin, "s4t"), "event", "watch", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	sender := c.Boards[2].Host
	iface := interfaceOf(t, b, "board3")
	h := attacker(t, portOf(t, c, b, "board3"))
	back := startCapture(t, sender, iface, c.Lab.Dir)
	within(t, 3*time.Second, "ping across", func() error { return ping(t.Context(), sender, addressOf(t, b, "board1", false)) })

	stranger := attacker(t, portOf(t, c, b, "board3")) // a machine of the LAN, with a MAC and a marker of its own
	stranger.mac = strangerMAC
	heard := startCapture(t, lan, "lan", c.Lab.Dir)
	var sent sync.WaitGroup // broadcasts every 20 ms for 20 s
	sent.Go(func() { sendFrames(t, sender, iface, h.udp4(h.ip4, 4000, 4001, nil), 800, 20*time.Millisecond) })
	sent.Go(func() {
		sendFrames(t, lan, "lan", ethernet(broadcastMAC, strangerMAC, 0x88b6, stranger.marked(make([]byte, 40))), 800, 20*time.Millisecond)
	})
	time.Sleep(300 * time.Millisecond) // no loop yet
	if n, _ := back.count(h.marker); n > 0 {
		t.Errorf("%d broadcasts came back before there was a loop", n)
	}
	seen := startCapture(t, c.Boards[0].Host, interfaceOf(t, b, "board1"), c.Lab.Dir)
	plugged := time.Now()
	hostRun(t, lan, "ip link set p1 master lan") // the cable is plugged in
	var event s4t.Event
	told := func(kind string) func() error {
		return func() error {
			out := events.Tail(100)
			for line := range strings.Lines(out) {
				if json.Unmarshal([]byte(line), &event) == nil && event.Kind == kind {
					return nil
				}
			}
			return fmt.Errorf("the events are:\n%s", out)
		}
	}
	after := within(t, 3*time.Second, "the loop is told", told("port.loop"))
	if took := event.At.Sub(plugged); took > 5*time.Second {
		t.Errorf("the loop was cut after %v, want 1 s, and a bit where the machine is busy", took)
	} else {
		t.Logf("cut after %v, told after %v", took.Round(time.Millisecond), after.Round(time.Millisecond))
	}
	time.Sleep(time.Second)
	own, _ := back.count(h.marker)
	total, unique := seen.count(h.marker)
	t.Logf("%d broadcasts of board3 came back to it; board1 got %d of %d", own, total, unique)
	all, different := back.count(stranger.marker)
	onLAN, _ := heard.count(stranger.marker)
	if n, _ := heard.count(h.marker); n == 0 || all == 0 || total == 0 {
		t.Errorf("the broadcasts did not arrive: %d, %d, %d", n, all, total)
	}
	t.Logf("%d broadcasts of the LAN came back to it; board3 got %d of %d", onLAN, all, different)
	if n := own + total - unique + all - different + onLAN; n >= 50 {
		t.Errorf("%d duplicated frames, want less than 50", n)
	}
	within(t, 2*time.Second, "the network works while it is cut", func() error { return ping(t.Context(), sender, addressOf(t, b, "board1", false)) })

	hostRun(t, lan, "ip link set p1 nomaster") // and out again
	healed := within(t, 20*time.Second, "the port is in use again", told("port.loop_ended"))
	t.Logf("healed %v after the cable went", healed.Round(time.Millisecond))
	for _, board := range []string{"board1", "board2"} {
		within(t, 2*time.Second, "ping "+board, func() error { return ping(t.Context(), sender, addressOf(t, b, board, false)) })
	}
	sent.Wait()
}
