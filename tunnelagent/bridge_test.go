package tunnelagent

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wire"
)

// frameOf is an offload header and a minimal Ethernet frame of an EtherType
// that nobody knows.
func frameOf(dst, src byte, payload string) []byte {
	f := make([]byte, offloadHeader, 100)
	f = append(f, 2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 0x88, 0xb5)
	return append(f, payload...)
}

// attach opens the data rtunnel of a port.
func (r *rig) attach(board s4t.BoardID, port s4t.PortID) *rtunnel.Conn {
	r.t.Helper()
	conn, err := r.dial(rtunnel.SubprotocolPort, r.sign(wire.Ticket{Purpose: wire.PurposePort, Board: board, Port: port}, nil))
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

func portUp(id s4t.PortID) func(view) bool { return up(wire.KindPort, id) }

// lab is a network with what is on it.
type lab struct {
	wire.TunnelNetwork
	ports     map[s4t.PortID]wire.TunnelPort
	endpoints map[s4t.EndpointID]wire.GREAttachment
	uplink    *wire.TunnelUplink
}

func (l lab) resources() []wire.Resource {
	all := []wire.Resource{wire.NewResource(wire.KindNetwork, "lab", l.TunnelNetwork)}
	for id, p := range l.ports {
		p.Network = "lab"
		all = append(all, wire.NewResource(wire.KindPort, string(id), p))
	}
	for id, e := range l.endpoints {
		e.Network = "lab"
		all = append(all, wire.NewResource(wire.KindGRE, string(id), e))
	}
	if l.uplink != nil {
		all = append(all, wire.NewResource(wire.KindUplink, "lab", *l.uplink))
	}
	return all
}

func twoPorts() lab {
	return lab{TunnelNetwork: wire.TunnelNetwork{Layer: 2, Encapsulation: s4t.EncapEthernet, MTU: 1500}, ports: map[s4t.PortID]wire.TunnelPort{
		"a": {Board: kitchen, MAC: "02:00:00:00:00:01", Addresses: []string{"10.77.0.2/24"}},
		"b": {Board: garden, MAC: "02:00:00:00:00:02", Addresses: []string{"10.77.0.3/24"}},
	}}
}

// next returns the next frame with our EtherType.
func next(t *testing.T, c *rtunnel.Conn) []byte {
	t.Helper()
	c.NetConn().SetReadDeadline(time.Now().Add(time.Minute))
	for {
		_, p, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if len(p) > offloadHeader+14 && p[offloadHeader+12] == 0x88 && p[offloadHeader+13] == 0xb5 {
			return p
		}
	}
}

// endOf reads on until the rtunnel ends, and returns why.
func endOf(c *rtunnel.Conn) error {
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			return err
		}
	}
}

func TestTwoBoardsOfANetworkHearEachOther(t *testing.T) {
	r := newRig(t)
	r.want(twoPorts().resources()...)
	a, b := r.attach(kitchen, "a"), r.attach(garden, "b")
	r.await("port a", portUp("a"))
	r.await("port b", portUp("b"))
	if err := a.WriteMessage(rtunnel.OpBinary, frameOf(2, 1, "hello")); err != nil {
		t.Fatal(err)
	}
	if got := next(t, b); !bytes.Equal(got[offloadHeader+14:], []byte("hello")) {
		t.Errorf("the other board got %q", got)
	}
	var c s4t.PortCounters
	if err := r.queue.Call(t.Context(), wire.TopicTunnelAgent+"."+string(agentID), wire.MethodPortCounters, wire.PortCountersAsk{Port: "a"}, &c); err != nil || c.RxFrames != 1 {
		t.Errorf("counters %+v, %v; want one frame from the board", c, err)
	}
}

func TestBoardMayBeFasterThanTheWakeUp(t *testing.T) {
	r := newRig(t)
	r.conductor.want(twoPorts().resources())
	r.attach(kitchen, "a")
	r.await("port a", portUp("a"))
}

func TestNewerDataRtunnelTakesThePlaceOfTheOlder(t *testing.T) {
	r := newRig(t)
	r.want(twoPorts().resources()...)
	old := r.attach(kitchen, "a")
	r.await("port a", portUp("a"))
	b := r.attach(garden, "b")
	r.await("port b", portUp("b"))
	fresh := r.attach(kitchen, "a")
	if err := endOf(old); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("the older one ends with %v, want to be told that it was replaced", err)
	}
	r.await("port a", portUp("a"))
	if err := fresh.WriteMessage(rtunnel.OpBinary, frameOf(2, 1, "again")); err != nil {
		t.Fatal(err)
	}
	if got := next(t, b); !bytes.HasSuffix(got, []byte("again")) {
		t.Errorf("the other board got %q", got)
	}
}

func TestRemovedPortIsCutAndTheOthersStay(t *testing.T) {
	r := newRig(t)
	n := twoPorts()
	r.want(n.resources()...)
	a, b := r.attach(kitchen, "a"), r.attach(garden, "b")
	r.await("port a", portUp("a"))
	r.await("port b", portUp("b"))
	delete(n.ports, "a")
	changed := n.ports["b"]
	changed.Addresses = []string{"10.77.0.9/24"} // and b is changed in place
	n.ports["b"] = changed
	r.want(n.resources()...)
	if err := endOf(a); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("the removed port's rtunnel ends with %v", err)
	}
	if s := r.await("port b alone", func(s view) bool { return len(s.all(wire.KindPort)) == 1 }); !portUp("b")(s) {
		t.Errorf("ports %v, want b", s.all(wire.KindPort))
	}
	if err := b.WriteMessage(rtunnel.OpBinary, frameOf(1, 2, "anyone?")); err != nil {
		t.Error(err)
	}
	b.NetConn().SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if err := endOf(b); s4t.KindOf(err) == s4t.Forbidden {
		t.Error("the other port was cut too")
	}
}

func TestUnknownEncapsulationIsAProblemOfItsPorts(t *testing.T) {
	r := newRig(t)
	n := twoPorts()
	n.Encapsulation = "carrier-pigeon"
	r.want(n.resources()...)
	r.await("the problem", func(s view) bool {
		return s.problem(wire.KindPort, "a") != "" && s.problem(wire.KindPort, "b") != "" && s.problem(wire.KindNetwork, "lab") != ""
	})
}

func TestWhatIsOnANetworkMovesToItsNewSwitch(t *testing.T) {
	r := newRig(t)
	sockets := make(chan *fakeGRE, 4)
	r.agent.cfg.OpenGRE = func(local, remote netip.Addr) (greSocket, error) {
		s := &fakeGRE{local: netip.MustParseAddr("192.0.2.1"), in: make(chan []byte, 4), out: make(chan []byte, 64), closed: make(chan struct{})}
		sockets <- s
		return s, nil
	}
	n := twoPorts()
	n.endpoints = map[s4t.EndpointID]wire.GREAttachment{"e": {Remote: "192.0.2.9", Key: 7}}
	r.want(n.resources()...)
	a := r.attach(kitchen, "a")
	r.await("port a", portUp("a"))
	first := <-sockets

	n.Layer = 3 // nothing else has changed
	r.want(n.resources()...)
	if err := endOf(a); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("the port's rtunnel ends with %v", err)
	}
	<-first.closed
	second := <-sockets
	r.attach(kitchen, "a")
	r.await("port a again", portUp("a"))
	r.await("the endpoint again", endpointUp("e", true))

	r.want(n.resources()[1:]...) // the network alone has gone
	<-second.closed
	if v, _ := r.conductor.view(); v.problem(wire.KindPort, "a") == "" || v.problem(wire.KindGRE, "e") == "" {
		t.Errorf("it is told %+v", v)
	}
	r.want(n.resources()...)
	r.await("the endpoint once more", endpointUp("e", true))
}
