package lightningrod

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

// fakeDevice is a device whose kernel is the test.
type fakeDevice struct {
	sent   chan []byte // what the kernel sends
	got    chan []byte // what the kernel was given
	closed chan struct{}
	once   sync.Once
	gone   chan struct{} // closed: somebody removed it
}

func newFakeDevice() *fakeDevice {
	return &fakeDevice{sent: make(chan []byte, 16), got: make(chan []byte, 16), closed: make(chan struct{}), gone: make(chan struct{})}
}

func (d *fakeDevice) ReadFrames(next func() []byte, done func(n int)) (int, error) {
	next() // as the real one does before it waits
	select {
	case <-d.closed:
		return 0, io.EOF
	case <-d.gone:
		return 0, link.ErrGone
	case f := <-d.sent:
		done(copy(next(), f))
		return 1, nil
	}
}

func (d *fakeDevice) Write(packet []byte) error {
	d.got <- append([]byte(nil), packet...)
	return nil
}

func (d *fakeDevice) Flush() error { return nil }

func (d *fakeDevice) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func (d *fakeDevice) isClosed() bool {
	select {
	case <-d.closed:
		return true
	default:
		return false
	}
}

// pipeDialer gives the tunnel agent's end of each data rtunnel to the test.
type pipeDialer struct {
	agents chan *rtunnel.Conn

	mu    sync.Mutex // guards fails
	fails error
}

func (d *pipeDialer) setFails(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails = err
}

func (d *pipeDialer) Dial(context.Context, string, string, string, string) (*rtunnel.Conn, error) {
	d.mu.Lock()
	err := d.fails
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	board, agent := net.Pipe()
	d.agents <- rtunnel.NewConn(agent, nil, false)
	return rtunnel.NewConn(newQueued(board), nil, true), nil
}

// queued is a connection with a send buffer, as a socket has: writers do not
// wait for the reader at the other end.
type queued struct {
	net.Conn
	out  chan []byte
	over chan struct{}
	once sync.Once
}

func newQueued(c net.Conn) *queued {
	q := &queued{Conn: c, out: make(chan []byte, 1024), over: make(chan struct{})}
	go func() {
		for {
			select {
			case <-q.over:
				return
			case p := <-q.out:
				if _, err := q.Conn.Write(p); err != nil {
					return
				}
			}
		}
	}()
	return q
}

func (q *queued) Write(p []byte) (int, error) {
	select {
	case <-q.over:
		return 0, net.ErrClosed
	case q.out <- append([]byte(nil), p...):
		return len(p), nil
	}
}

func (q *queued) Close() error {
	q.once.Do(func() { close(q.over) })
	return q.Conn.Close()
}

// portBench is ports with everything around them faked.
type portBench struct {
	*ports
	dialer  *pipeDialer
	devices chan *fakeDevice
	applied chan []vnet.Op

	mu      sync.Mutex
	online  bool
	changed chan struct{}
	openErr error
	tickets int
}

func newPortBench() *portBench {
	b := &portBench{
		dialer:  &pipeDialer{agents: make(chan *rtunnel.Conn, 64)},
		devices: make(chan *fakeDevice, 64), applied: make(chan []vnet.Op, 64),
		online: true, changed: make(chan struct{}),
	}
	b.ports = &ports{cfg: portsConfig{
		Dial: b.dialer, Traffic: &traffic{received: newPacer(), sent: newPacer(), usage: newUsage(stateDir(""), time.Now, slog.New(slog.DiscardHandler))},
		Ticket: func(context.Context, s4t.PortID) (string, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.tickets++
			return "ticket", nil
		},
		Online: func() (bool, <-chan struct{}) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.online, b.changed
		},
		Changed: func() {},
		Open: func(link.Config) (Device, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.openErr != nil {
				return nil, b.openErr
			}
			d := newFakeDevice()
			b.devices <- d
			return d, nil
		},
		Apply: func(ops []vnet.Op) (link.Outcome, error) { b.applied <- ops; return link.Outcome{}, nil },
		Sweep: func(func(string) bool) error { return nil },
		Moved: func(link.Change) {},
		Log:   slog.New(slog.DiscardHandler),
	}}
	return b
}

// setOnline says whether there is a session.
func (b *portBench) setOnline(online bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.online = online
	close(b.changed)
	b.changed = make(chan struct{})
}

func testPort() wire.DesiredPort {
	return wire.DesiredPort{
		Layer: 2, Encapsulation: s4t.EncapEthernet, Interface: "s4t-0a1b2c3d", MAC: "02:00:00:00:00:01",
		Addresses: []string{"10.77.0.2/24"}, MTU: 1500, URL: "https://127.0.0.1:8812",
	}
}

// wantPorts makes these, of which there is one at the most, the ports of a
// board.
func (b *portBench) wantPorts(list ...wire.DesiredPort) {
	var want []wire.Resource
	for _, d := range list {
		want = append(want, wire.NewResource(wire.KindPort, string(portA), d))
	}
	b.Apply(want)
}

// frame is a packet of the least size that is valid: header of zeros and an
// Ethernet frame of an EtherType that nobody knows.
func frame(mark byte) []byte {
	f := make([]byte, link.HeaderLen+60)
	f[link.HeaderLen] = 0x02
	f[link.HeaderLen+6] = 0x02
	f[link.HeaderLen+12], f[link.HeaderLen+13] = 0x88, 0xb5 // IEEE 802 local experimental
	f[link.HeaderLen+20] = mark
	return f
}

// readFrame returns the next frame that is not the port's announcement.
func readFrame(t *testing.T, agent *rtunnel.Conn) []byte {
	t.Helper()
	for {
		op, got, err := agent.ReadMessage()
		if err != nil || op != rtunnel.OpBinary || len(got) < markAt {
			t.Fatalf("the agent read %v %x %v", op, got, err)
		}
		if got[link.HeaderLen+12] == 0x88 {
			return got
		}
	}
}

const markAt = link.HeaderLen + 20

func (b *portBench) only(t *testing.T) wire.ResourceState {
	t.Helper()
	r, _ := b.States()
	if len(r) != 1 || r[0].Key() != (wire.ResourceKey{Kind: wire.KindPort, ID: string(portA)}) {
		t.Fatalf("states = %+v, want one of the port", r)
	}
	return r[0]
}

func TestPortCarriesFramesBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		b.wantPorts(testPort())
		defer b.Apply(nil)
		dev, agent := <-b.devices, <-b.dialer.agents
		defer agent.Close()
		synctest.Wait()
		if r := b.only(t); !r.Up || r.Problem != "" {
			t.Fatalf("report = %+v, want up", r)
		}
		dev.sent <- frame(1)
		if got := readFrame(t, agent); got[markAt] != 1 {
			t.Fatalf("the agent read %x", got)
		}
		bad := frame(9)
		bad[1] = 0x7f // no such kind of super-frame
		for _, f := range [][]byte{bad, frame(2)} {
			if err := agent.WriteMessage(rtunnel.OpBinary, f); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-dev.got; got[markAt] != 2 {
			t.Errorf("the device got frame %d, want 2: the invalid one must not come through", got[markAt])
		}
	})
}

func TestDeviceStaysWhileTheRtunnelIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		b.wantPorts(testPort())
		defer b.Apply(nil)
		dev, agent := <-b.devices, <-b.dialer.agents
		synctest.Wait()
		b.setOnline(false)
		agent.Close()
		time.Sleep(time.Second)
		synctest.Wait()
		if r := b.only(t); r.Up || dev.isClosed() {
			t.Fatalf("report %+v, device closed %v; want down with its device", r, dev.isClosed())
		}
		dev.sent <- frame(1) // nobody to take it: dropped, not kept
		synctest.Wait()
		start := time.Now()
		b.setOnline(true)
		agent = <-b.dialer.agents
		defer agent.Close()
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("the port came back %v after the session", took)
		}
		synctest.Wait()
		dev.sent <- frame(2)
		if got := readFrame(t, agent); got[markAt] != 2 {
			t.Errorf("the agent read %x, want frame 2", got)
		}
	})
}

func TestPortSettlesOnceItWasTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		b.dialer.fails = errors.New("the tunnel agent is away")
		b.wantPorts(testPort())
		defer b.Apply(nil)
		synctest.Wait()
		r, settled := b.States()
		if !settled || r[0].Up || r[0].Problem != "the tunnel agent is away" {
			t.Errorf("reports = %+v, settled %v", r, settled)
		}
		d := wire.BoardDesired{Resources: []wire.Resource{wire.NewResource(wire.KindPort, string(portA), testPort())}}
		if s := statusOf(testIdentity(), d, r).Ports; s[0].Interface != "s4t-0a1b2c3d" || s[0].Up || s[0].Problem != "the tunnel agent is away" {
			t.Errorf("status = %+v", s)
		}
	})
}

func TestPortWithoutTheRightToMakeDevicesSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		b.openErr = s4t.Errorf(s4t.Forbidden, "create device x", "run as root or with CAP_NET_ADMIN", "this process may not create devices")
		b.wantPorts(testPort())
		synctest.Wait()
		if r := b.only(t); r.Up || !contains(r.Problem, "CAP_NET_ADMIN") {
			t.Errorf("report = %+v", r)
		}
		b.Apply(nil)
	})
}

func TestDeviceThatWasTakenAwayIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		b.wantPorts(testPort())
		defer b.Apply(nil)
		dev, agent := <-b.devices, <-b.dialer.agents
		defer agent.Close()
		close(dev.gone)
		again, agent2 := <-b.devices, <-b.dialer.agents
		defer agent2.Close()
		synctest.Wait()
		if !dev.isClosed() || again.isClosed() || !b.only(t).Up {
			t.Errorf("old closed %v, new closed %v, report %+v", dev.isClosed(), again.isClosed(), b.only(t))
		}
	})
}

func TestChangedPortKeepsItsRtunnelWhereItCan(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*wire.DesiredPort)
		keeps  bool
	}{
		{"another MTU", func(p *wire.DesiredPort) { p.MTU = 1300 }, true},
		{"another address", func(p *wire.DesiredPort) { p.Addresses = []string{"10.77.0.9/24"} }, true},
		{"another guard", func(p *wire.DesiredPort) { p.Guards.AllowAnySource = true }, true},
		{"another MAC", func(p *wire.DesiredPort) { p.MAC = "02:00:00:00:00:02" }, true},
		{"another tunnel agent", func(p *wire.DesiredPort) { p.URL = "https://127.0.0.1:8813" }, true},
		{"another layer", func(p *wire.DesiredPort) { p.Layer = 3 }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newPortBench()
				b.wantPorts(testPort())
				defer b.Apply(nil)
				dev, agent := <-b.devices, <-b.dialer.agents
				defer agent.Close()
				<-b.applied
				p := testPort()
				tt.change(&p)
				b.wantPorts(p)
				<-b.applied
				if dev.isClosed() == tt.keeps {
					t.Errorf("device closed: %v, want %v", dev.isClosed(), !tt.keeps)
				}
				b.wantPorts(p) // nothing new
				synctest.Wait()
				if len(b.applied) != 0 {
					t.Errorf("the same state was applied again")
				}
				for len(b.dialer.agents) > 0 {
					(<-b.dialer.agents).Close()
				}
			})
		})
	}
}

// TestPortMovesWithoutALostFrame: frames are taken from both tunnel agents, and go
// to the old one until the others of the network have had the time to come over.
func TestPortMovesWithoutALostFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		b.wantPorts(testPort())
		defer b.Apply(nil)
		dev, before := <-b.devices, <-b.dialer.agents
		defer before.Close()
		synctest.Wait()
		moved := testPort()
		moved.URL = "https://127.0.0.1:8813"
		b.wantPorts(moved)
		after := <-b.dialer.agents
		defer after.Close()
		mark := byte(1)
		sends := func(to *rtunnel.Conn) {
			t.Helper()
			for _, agent := range []*rtunnel.Conn{before, after} {
				if err := agent.WriteMessage(rtunnel.OpBinary, frame(mark)); err != nil {
					t.Fatal(err)
				}
				if got := <-dev.got; got[markAt] != mark {
					t.Errorf("the device got frame %d, want %d", got[markAt], mark)
				}
				mark++
			}
			dev.sent <- frame(mark)
			if got := readFrame(t, to); got[markAt] != mark {
				t.Errorf("the agent read %x, want frame %d", got, mark)
			}
			mark++
			if !b.only(t).Up || dev.isClosed() {
				t.Errorf("report %+v, device closed %v", b.only(t), dev.isClosed())
			}
		}
		synctest.Wait()
		sends(before)
		time.Sleep(handoverTime)
		synctest.Wait()
		sends(after)
		before.Close() // the agent lets go of what was moved
		synctest.Wait()
		dev.sent <- frame(mark)
		if got := readFrame(t, after); got[markAt] != mark || !b.only(t).Up || len(b.dialer.agents) > 0 {
			t.Errorf("the agent read %x, report %+v, %d rtunnels more", got, b.only(t), len(b.dialer.agents))
		}
	})
}

func TestRemovedPortIsGoneWhenApplyReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		b.wantPorts(testPort())
		dev, agent := <-b.devices, <-b.dialer.agents
		defer agent.Close()
		b.Apply(nil)
		if !dev.isClosed() {
			t.Error("its device is still there")
		}
		if r, settled := b.States(); len(r) != 0 || !settled {
			t.Errorf("reports = %+v, settled %v", r, settled)
		}
	})
}

func TestSilentRtunnelIsNoticedWithinTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newPortBench()
		b.wantPorts(testPort())
		defer b.Apply(nil)
		agent := <-b.dialer.agents
		defer agent.Close() // it never reads, and so never answers a ping
		start := time.Now()
		again := <-b.dialer.agents
		defer again.Close()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("noticed after %v", took)
		}
	})
}
