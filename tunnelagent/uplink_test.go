package tunnelagent

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

// fakeTAP is a device whose kernel is the test.
type fakeTAP struct {
	send   chan []byte // to be read
	got    chan []byte // was written
	closed chan struct{}
	once   sync.Once
}

func newFakeTAP() *fakeTAP {
	return &fakeTAP{send: make(chan []byte, 16), got: make(chan []byte, 16), closed: make(chan struct{})}
}

func (d *fakeTAP) ReadFrames(next func() []byte, done func(n int)) (int, error) {
	select {
	case f := <-d.send:
		done(copy(next(), f))
		return 1, nil
	case <-d.closed:
		return 0, io.EOF
	}
}

func (d *fakeTAP) Write(p []byte) error {
	select {
	case d.got <- bytes.Clone(p):
		return nil
	case <-d.closed:
		return link.ErrGone
	}
}

func (d *fakeTAP) Flush() error { return nil }

func (d *fakeTAP) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func TestAnUplinkIsAPortOfTheSwitch(t *testing.T) {
	r := newRig(t)
	taps := make(chan *fakeTAP, 4)
	var trouble error
	r.agent.applyMu.Lock()
	r.agent.cfg.Open = func(cfg link.Config) (device, error) {
		if trouble != nil {
			return nil, trouble
		}
		if cfg.Layer != 2 || !strings.HasPrefix(cfg.Name, "s4tu-") || cfg.MAC[0] != 0xfe {
			t.Errorf("opened %+v", cfg)
		}
		d := newFakeTAP()
		taps <- d
		return d, nil
	}
	r.agent.cfg.Apply = func(ops []vnet.Op) error {
		if !strings.Contains(vnet.Render(ops), "master br0") {
			t.Errorf("applied %s", vnet.Render(ops))
		}
		return nil
	}
	trouble = s4t.Errorf(s4t.Forbidden, "create device x", "run as root", "this process may not create devices")
	r.agent.applyMu.Unlock()

	n := twoPorts()
	n.uplink = &wire.TunnelUplink{Bridge: "br0"}
	r.want(n.resources()...)
	r.await("a problem", func(s view) bool {
		return strings.Contains(s.problem(wire.KindUplink, "lab"), "run as root") && len(s.all(wire.KindUplink)) == 0
	})

	r.agent.applyMu.Lock()
	trouble = nil
	r.agent.applyMu.Unlock()
	up := func(s view) bool { return up(wire.KindUplink, "lab")(s) && s.problem(wire.KindUplink, "lab") == "" }
	r.want(n.resources()...)
	r.await("the uplink", up)
	tap := <-taps
	board := r.attach(kitchen, "a")
	r.await("the port", portUp("a"))

	tap.send <- frameOf(1, 0x77, "from the bridge")
	if f := next(t, board); !bytes.Contains(f, []byte("from the bridge")) {
		t.Errorf("the board got %x", f)
	}
	if err := board.WriteMessage(rtunnel.OpBinary, frameOf(0x77, 1, "from the board")); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	for found := false; !found; {
		select {
		case f := <-tap.got:
			found = bytes.Contains(f, []byte("from the board"))
		case <-deadline:
			t.Fatal("the bridge did not get the board's frame")
		}
	}
	for { // a frame is counted after it was written
		c, err := r.agent.portCounters(t.Context(), wire.PortCountersAsk{Port: "lab"})
		if err == nil && c.RxFrames == 1 && c.TxFrames > 0 {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("counters %+v, %v", c, err)
		case <-time.After(time.Millisecond):
		}
	}
	if all, _ := r.agent.counters(t.Context(), wire.CountersAsk{Ports: []s4t.PortID{"lab", "a", "b", "c"}}); len(all.Ports) != 2 {
		t.Errorf("counters %+v", all)
	}

	tap.Close() // somebody deletes the device
	second := <-taps
	r.await("the uplink again", up)

	n.uplink = nil
	r.want(n.resources()...)
	<-second.closed
	r.await("no uplink", func(s view) bool { return len(s.all(wire.KindUplink)) == 0 })
}
