package lightningrod

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

func TestAPortThatBridgesAnInterfaceLooksAfterItAndTidiesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		removed := make(chan string, 4)
		b.cfg.Allow = []string{"eth1"}
		b.cfg.Sweep = func(keep func(bridge string) bool) error {
			for _, bridge := range []string{vnet.BridgeName(portA), "s4tb-ffffffff"} {
				if !keep(bridge) {
					removed <- bridge
				}
			}
			return nil
		}
		want := testPort()
		want.Guards.BridgeTo = "eth1"
		b.wantPorts(want)
		for _, when := range []string{"at first", "and again, as it may have been unplugged"} {
			if when != "at first" {
				b.noticed(link.Change{Interface: "eth1"})
			}
			ops := <-b.applied
			if plan := vnet.Render(ops); !strings.Contains(plan, "ip link set dev eth1 master "+vnet.BridgeName(portA)) {
				t.Errorf("%s the plan is\n%s", when, plan)
			}
		}
		if len(removed) > 0 {
			t.Error("the kernel bridge of a port that is wanted was removed")
		}
		b.Apply(nil)
		if got := <-removed; got != vnet.BridgeName(portA) || len(removed) > 0 {
			t.Errorf("%s was removed", got)
		}
	})
}

// TestWhyAPortIsNotUpHasAnID: the conductor decides by it whether waiting is of
// any use.
func TestWhyAPortIsNotUpHasAnID(t *testing.T) {
	bridged := func(ops []vnet.Op) bool {
		return slices.ContainsFunc(ops, func(op vnet.Op) bool { m, ok := op.(vnet.Master); return ok && m.Name == "eth1" })
	}
	broken := s4t.Errorf(s4t.NotFound, "ip link set dev eth1 master x", "see `ip link`", "there is no eth1")
	for _, tt := range []struct {
		name    string
		prepare func(b *portBench, p *wire.DesiredPort)
		id      string
		says    string
	}{
		{"there is no /dev/net/tun", func(b *portBench, _ *wire.DesiredPort) {
			b.openErr = s4t.Errorf(s4t.Unavailable, "create device x", "", "/dev/net/tun is not there")
		}, wire.NoTun, "/dev/net/tun"},
		{"there is no right to make devices", func(b *portBench, _ *wire.DesiredPort) {
			b.openErr = s4t.Errorf(s4t.Forbidden, "create device x", "", "this process may not create devices")
		}, wire.NoNetAdmin, "may not"},
		{"somebody made a device of that name", func(b *portBench, _ *wire.DesiredPort) {
			b.openErr = s4t.Errorf(s4t.Conflict, "create device x", "", "a device of that name exists")
		}, wire.DeviceNameTaken, "that name"},
		{"no device could be made when lightning-rod began", func(b *portBench, _ *wire.DesiredPort) {
			b.cfg.Incapable = "strange"
			b.openErr = s4t.Errorf(s4t.Internal, "create device x", "", "invalid argument")
		}, wire.NoNetworks, "invalid argument"},
		{"this device cannot be made now", func(b *portBench, _ *wire.DesiredPort) {
			b.openErr = s4t.Errorf(s4t.Internal, "create device x", "", "no memory")
		}, "", "no memory"},
		{"the interface to bridge to is missing", func(b *portBench, p *wire.DesiredPort) {
			p.Guards.BridgeTo = "eth1"
			b.cfg.Apply = func(ops []vnet.Op) (link.Outcome, error) {
				if bridged(ops) {
					return link.Outcome{}, broken
				}
				return link.Outcome{}, nil
			}
		}, wire.BridgeToFails, "eth1"},
		{"a layer-3 port cannot be bridged", func(b *portBench, p *wire.DesiredPort) {
			p.Layer, p.Guards.BridgeTo = 3, "eth1"
		}, wire.BridgeToFails, "eth1"},
		{"the device of a bridged port cannot be set up", func(b *portBench, p *wire.DesiredPort) {
			p.Guards.BridgeTo = "eth1"
			b.cfg.Apply = func([]vnet.Op) (link.Outcome, error) {
				return link.Outcome{}, s4t.Errorf(s4t.Forbidden, "set MTU", "", "no right")
			}
		}, "", "no right"},
		{"the owner has not allowed the interface", func(b *portBench, p *wire.DesiredPort) {
			p.Guards.BridgeTo = "eth1"
			b.cfg.Allow = []string{"eth0", "eth10"}
		}, wire.BridgeNotAllowed, "--allow-bridge eth1"},
		{"the network hides the board's LAN", func(b *portBench, p *wire.DesiredPort) {
			b.cfg.Overlap = func(a []string) string { return a[0] + " overlaps the LAN" }
		}, wire.AddressOverlap, "10.77.0.2/24 overlaps the LAN"},
		{"the tunnel agent is away", func(b *portBench, _ *wire.DesiredPort) {
			b.dialer.fails = errors.New("the tunnel agent is away")
		}, "", "away"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, want := newPortBench(), testPort()
				b.cfg.Allow = []string{"eth1"}
				tt.prepare(b, &want)
				b.wantPorts(want)
				defer b.Apply(nil)
				synctest.Wait()
				if st := b.only(t); st.Up || st.ProblemID != tt.id || !strings.Contains(st.Problem, tt.says) {
					t.Errorf("state = %+v, want the problem %q that says %q", st, tt.id, tt.says)
				}
			})
		})
	}
}

// TestAnInterfaceThatGoesAndComesBackIsTold: the port's data rtunnel stays.
func TestAnInterfaceThatGoesAndComesBackIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		b.cfg.Allow = []string{"eth1"}
		var gone atomic.Bool
		b.cfg.Apply = func(ops []vnet.Op) (link.Outcome, error) {
			if gone.Load() && slices.ContainsFunc(ops, func(op vnet.Op) bool { _, ok := op.(vnet.Bridge); return ok }) {
				return link.Outcome{}, errors.New("there is no eth1")
			}
			return link.Outcome{}, nil
		}
		want := testPort()
		want.Guards.BridgeTo = "eth1"
		b.wantPorts(want)
		defer b.Apply(nil)
		agent := <-b.dialer.agents
		defer agent.Close()
		go readAll(agent)
		for _, is := range []bool{false, true, false} {
			gone.Store(is)
			b.noticed(link.Change{Interface: "eth1"})
			time.Sleep(time.Second)
			synctest.Wait()
			if st := b.only(t); st.Up == is || (st.ProblemID == wire.BridgeToFails) != is {
				t.Errorf("gone %v: state = %+v", is, st)
			}
		}
		if len(b.dialer.agents) > 0 {
			t.Error("the data rtunnel was opened again")
		}
	})
}

// readAll answers the pings of a board as a tunnel agent does, until the end.
func readAll(agent *rtunnel.Conn) {
	for {
		if _, _, err := agent.ReadMessage(); err != nil {
			return
		}
	}
}
