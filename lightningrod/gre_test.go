package lightningrod

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/gre"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

func grePort() wire.DesiredPort {
	d := testPort()
	d.Layer, d.Encapsulation, d.MTU = 2, s4t.EncapGRE, vnet.GREMTU(1500)
	d.GRE = &s4t.PortGRE{Local: "100.64.0.2", Remote: "100.64.0.1", Key: 7}
	return d
}

// agentEnd is the tunnel agent's end of the GRE tunnel of grePort.
func agentEnd(t *testing.T, key uint32) *gre.Tunnel {
	t.Helper()
	end, err := gre.NewTunnel(netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("100.64.0.2"), key)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func TestAPortCarriesItsFramesInGRE(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		b.wantPorts(grePort())
		defer b.Apply(nil)
		dev, agent := <-b.devices, <-b.dialer.agents
		defer agent.Close()
		ops := <-b.applied
		if !strings.Contains(strings.ToLower(vnet.Render(ops)), "gso") {
			t.Errorf("super-frames are not bounded: %s", vnet.Render(ops))
		}
		synctest.Wait() // until the port is up: what comes before has nowhere to go
		end := agentEnd(t, 7)
		dev.sent <- frame(1)
		for { // announcements come in the tunnel too
			_, packet, err := agent.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			inner, err := end.Unwrap(bytes.Clone(packet))
			if err != nil {
				t.Fatalf("%x: %v", packet, err)
			}
			if bytes.Equal(inner, frame(1)) {
				break
			}
		}
		for _, p := range []struct {
			key  uint32
			mark byte
		}{{8, 9}, {7, 2}} {
			packet := append(make([]byte, gre.Overhead), frame(p.mark)...)
			if err := agentEnd(t, p.key).Wrap(packet, 1); err != nil {
				t.Fatal(err)
			}
			if err := agent.WriteMessage(rtunnel.OpBinary, packet); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-dev.got; !bytes.Equal(got, frame(2)) {
			t.Errorf("the device got %x, want frame 2: that of another key must not come through", got)
		}
	})
}

// TestAGREPortIsNotPlannedAnewWithEveryFetch: the outer addresses come in a
// value of their own each time.
func TestAGREPortIsNotPlannedAnewWithEveryFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		defer b.Apply(nil)
		for range 4 {
			b.wantPorts(grePort())
			synctest.Wait()
		}
		defer (<-b.dialer.agents).Close()
		if n := len(b.applied); n != 1 {
			t.Errorf("the plan was applied %d times, want once", n)
		}
		changed := grePort()
		changed.MTU--
		b.wantPorts(changed)
		synctest.Wait()
		if n := len(b.applied); n != 2 {
			t.Errorf("the plan was applied %d times after it changed, want twice", n)
		}
	})
}

func TestGREWithoutItsAddressesIsAProblem(t *testing.T) {
	for name, change := range map[string]func(*wire.DesiredPort){
		"no addresses":            func(d *wire.DesiredPort) { d.GRE = nil },
		"a local address of IPv6": func(d *wire.DesiredPort) { d.GRE.Local = "fd00::1" },
		"no remote address":       func(d *wire.DesiredPort) { d.GRE.Remote = "" },
		"layer 3":                 func(d *wire.DesiredPort) { d.Layer = 3 },
		"something newer":         func(d *wire.DesiredPort) { d.Encapsulation = "geneve" },
	} {
		d := grePort()
		change(&d)
		if _, err := newEncap(portA, d); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrappingAFrameDoesNotAllocate(t *testing.T) {
	c, err := newEncap(portA, grePort())
	if err != nil {
		t.Fatal(err)
	}
	w := c.wrapper(rtunnel.NewConn(sink{}, nil, false).NewLayout())
	packet := make([]byte, link.HeaderLen+1500)
	dst := make([]byte, len(packet)+64)
	if n := testing.AllocsPerRun(100, func() {
		n := w.Put(dst, packet)
		if head := n - gre.Overhead - len(packet); head != 4 || c.unwrap(dst[head:n]) != nil { // it is not for this end
			t.Fatal("failed")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if w.MaxFrame != gre.MaxFrame {
		t.Errorf("frames of %d bytes are wrapped, and IPv4 holds %d", w.MaxFrame, gre.MaxFrame)
	}
}
