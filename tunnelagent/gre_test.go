package tunnelagent

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/gre"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wire"
)

const cloudOuter = "100.64.0.1"

func grePorts() lab {
	n := twoPorts()
	n.Encapsulation, n.Key, n.MTU = s4t.EncapGRE, 7, 1458
	for id, local := range map[s4t.PortID]string{"a": "100.64.0.2", "b": "100.64.0.3"} {
		p := n.ports[id]
		p.GRE = &s4t.PortGRE{Local: local, Remote: cloudOuter, Key: 7}
		n.ports[id] = p
	}
	return n
}

// boardEnd is the board's end of a port's GRE tunnel.
func boardEnd(t *testing.T, local string, key uint32) *gre.Tunnel {
	t.Helper()
	end, err := gre.NewTunnel(netip.MustParseAddr(local), netip.MustParseAddr(cloudOuter), key)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func wrapped(t *testing.T, end *gre.Tunnel, pkt []byte) []byte {
	t.Helper()
	p := append(make([]byte, gre.Overhead), pkt...)
	if err := end.Wrap(p, 1); err != nil {
		t.Fatal(err)
	}
	return p
}

// nextIn returns the next frame with our EtherType that came in the tunnel.
func nextIn(t *testing.T, c *rtunnel.Conn, end *gre.Tunnel) []byte {
	t.Helper()
	c.NetConn().SetReadDeadline(time.Now().Add(time.Minute))
	for {
		_, p, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		inner, err := end.Unwrap(p)
		if err != nil {
			t.Fatalf("%x is not of the tunnel: %v", p, err)
		}
		if len(inner) > offloadHeader+14 && inner[offloadHeader+12] == 0x88 && inner[offloadHeader+13] == 0xb5 {
			return inner
		}
	}
}

func TestBoardsOfANetworkInGREHearEachOther(t *testing.T) {
	r := newRig(t)
	r.want(grePorts().resources()...)
	a, b := r.attach(kitchen, "a"), r.attach(garden, "b")
	r.await("port a", portUp("a"))
	r.await("port b", portUp("b"))
	endA, endB := boardEnd(t, "100.64.0.2", 7), boardEnd(t, "100.64.0.3", 7)
	for _, bad := range [][]byte{
		wrapped(t, boardEnd(t, "100.64.0.2", 8), frameOf(2, 1, "another key")),
		wrapped(t, boardEnd(t, "100.64.0.3", 7), frameOf(2, 1, "another board's address")),
		frameOf(2, 1, "not wrapped at all"),
		{1, 2, 3},
	} {
		if err := a.WriteMessage(rtunnel.OpBinary, bad); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.WriteMessage(rtunnel.OpBinary, wrapped(t, endA, frameOf(2, 1, "hello"))); err != nil {
		t.Fatal(err)
	}
	if got := nextIn(t, b, endB); !bytes.Equal(got[offloadHeader+14:], []byte("hello")) {
		t.Errorf("the other board got %q", got)
	}
	var c s4t.PortCounters
	if err := r.queue.Call(t.Context(), wire.TopicTunnelAgent+"."+string(agentID), wire.MethodPortCounters, wire.PortCountersAsk{Port: "a"}, &c); err != nil || c.Dropped.Invalid != 4 {
		t.Errorf("counters %+v, %v; want four invalid frames", c, err)
	}
}

// fakeGRE is a socket whose other end is the test.
type fakeGRE struct {
	local  netip.Addr
	in     chan []byte // IPv4 packets for us
	out    chan []byte // GRE packets from us
	closed chan struct{}
	once   sync.Once
}

func (s *fakeGRE) Local() netip.Addr { return s.local }

func (s *fakeGRE) ReadPackets(next func() []byte, done func(n int)) (int, error) {
	select {
	case p := <-s.in:
		done(copy(next(), p))
		return 1, nil
	case <-s.closed:
		return 0, io.EOF
	}
}

func (s *fakeGRE) Write(p []byte) error {
	select {
	case s.out <- bytes.Clone(p):
		return nil
	case <-s.closed:
		return io.ErrClosedPipe
	}
}

func (s *fakeGRE) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func endpointUp(id s4t.EndpointID, want bool) func(view) bool {
	return func(s view) bool { return up(wire.KindGRE, id)(s) == want }
}

func TestAGREEndpointIsAPortOfTheSwitch(t *testing.T) {
	r := newRig(t)
	opened := make(chan *fakeGRE, 4)
	r.agent.cfg.OpenGRE = func(local, remote netip.Addr) (greSocket, error) {
		s := &fakeGRE{local: netip.MustParseAddr("192.0.2.1"), in: make(chan []byte, 4), out: make(chan []byte, 64), closed: make(chan struct{})}
		opened <- s
		return s, nil
	}
	n := twoPorts()
	n.endpoints = map[s4t.EndpointID]wire.GREAttachment{"e": {Remote: "192.0.2.9", Key: 7}}
	lifted := n.ports["a"]
	lifted.Guards.AllowAnySource = true
	n.ports["a"] = lifted
	r.want(n.resources()...)
	r.await("the endpoint", endpointUp("e", true))
	socket := <-opened
	a := r.attach(kitchen, "a")
	r.await("port a", portUp("a"))

	// From the endpoint to the board; another key is another network's.
	here, there := netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("192.0.2.1")
	for _, key := range []uint32{8, 7} {
		far, _ := gre.NewTunnel(here, there, key)
		frame := frameOf(1, 9, "from the data centre "+string(rune('0'+key)))
		socket.in <- wrapped(t, far, frame)[gre.OffloadLen:]
	}
	got := next(t, a)
	for bytes.Contains(got, []byte("s4t loop probe")) { // both may bridge a LAN
		got = next(t, a)
	}
	if !bytes.HasSuffix(got, []byte("centre 7")) {
		t.Errorf("the board got %q", got)
	}

	// From the board to the endpoint, whose MAC is known now: what is true.
	if err := a.WriteMessage(rtunnel.OpBinary, frameOf(9, 5, "as another machine")); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteMessage(rtunnel.OpBinary, frameOf(9, 1, "to the data centre")); err != nil {
		t.Fatal(err)
	}
	for {
		got := <-socket.out
		h, frame, err := gre.Parse(got)
		if err != nil || h != (gre.Header{Proto: gre.ProtoTEB, Key: 7, HasKey: true}) {
			t.Fatalf("%x: %+v, %v", got, h, err)
		}
		if bytes.HasSuffix(frame, []byte("as another machine")) {
			t.Error("a port whose guards are lifted speaks to the data centre as another machine")
		}
		if bytes.HasSuffix(frame, []byte("to the data centre")) {
			break
		}
	}

	// Applying the same again leaves it alone; a change and a detach do not.
	r.want(n.resources()...)
	select {
	case <-socket.closed:
		t.Error("the endpoint was closed though nothing changed")
	default:
	}
	n.endpoints = nil
	r.want(n.resources()...)
	r.await("its end", endpointUp("e", false))
	<-socket.closed
}

func TestAGREEndpointThatCannotBeOpenedIsAProblemAndTriedAgain(t *testing.T) {
	r := newRig(t)
	fails := true
	r.agent.cfg.OpenGRE = func(local, remote netip.Addr) (greSocket, error) {
		if fails { // apply is called by one goroutine at a time
			fails = false
			return nil, errors.New("needs root")
		}
		return &fakeGRE{local: netip.MustParseAddr("192.0.2.1"), closed: make(chan struct{})}, nil
	}
	n := twoPorts()
	n.endpoints = map[s4t.EndpointID]wire.GREAttachment{"e": {Remote: "192.0.2.9", Key: 7}}
	r.want(n.resources()...)
	r.await("the problem", func(s view) bool { return s.problem(wire.KindGRE, "e") == "needs root" })
	r.want(n.resources()...)
	r.await("the endpoint", endpointUp("e", true))
}

func TestASuperFrameLeavesAsTheFramesItStandsFor(t *testing.T) {
	socket := &fakeGRE{out: make(chan []byte, 64), closed: make(chan struct{})}
	w := newGREWriter(socket, 0x01020304)
	pkt := make([]byte, offloadHeader+14+20+20+4000)
	frame := pkt[offloadHeader:]
	copy(frame[12:], []byte{8, 0, 0x45, 0, 0x0f, 0xc8}) // IPv4, 4040 bytes
	frame[14+8], frame[14+9] = 64, 6
	frame[34+12] = 0x50
	link.Header{Flags: link.FlagNeedsChecksum, GSOType: link.GSOTCPv4, HdrLen: 54, GSOSize: 1418, CSumStart: 34, CSumOffset: 16}.Put(pkt)
	if err := link.Validate(pkt, 2); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFrame(pkt); err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for range len(socket.out) {
		p := <-socket.out
		h, frame, err := gre.Parse(p)
		if err != nil || h.Key != 0x01020304 {
			t.Fatalf("%x, %v", p[:8], err)
		}
		sizes = append(sizes, len(frame)-54)
	}
	if !slices.Equal(sizes, []int{1418, 1418, 1164}) {
		t.Errorf("payloads of %v bytes", sizes)
	}
}

// quiet swallows packets.
type quiet struct{ fakeGRE }

func (*quiet) Write([]byte) error { return nil }

func TestThePathToAnEndpointDoesNotAllocate(t *testing.T) {
	w := newGREWriter(&quiet{}, 7)
	pkt := frameOf(2, 1, "hello")
	if n := testing.AllocsPerRun(100, func() {
		clear(pkt[:offloadHeader])
		if w.WriteFrame(pkt) != nil {
			t.Fatal("failed")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	wr := newWrapper(boardEnd(t, "100.64.0.2", 7))
	dst := make([]byte, 1000)
	if n := testing.AllocsPerRun(100, func() { wr.Put(dst, pkt) }); n != 0 {
		t.Errorf("wrap: %v allocations", n)
	}
}
