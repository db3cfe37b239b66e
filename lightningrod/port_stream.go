package lightningrod

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/doctor"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// The data rtunnel of a port, and the frames that go through it.

// keepStream keeps a data rtunnel open: a ticket, a connection, again and again.
func (p *port) keepStream(ctx context.Context, dev Device, encap *encap, want wire.DesiredPort) {
	retry := portBackoff()
	for ctx.Err() == nil {
		online, changed := p.cfg.Online()
		if !online {
			p.set(func(s *portState) { s.stream, s.settled = problem{text: "waits for a session with the cloud"}, true })
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		var lived time.Duration
		conn, err := p.dial(ctx, want)
		if err == nil {
			start := time.Now()
			err = p.carry(ctx, dev, encap, conn)
			lived = time.Since(start)
		}
		if ctx.Err() != nil {
			return
		}
		wait := retry.wait()
		if lived > 5*time.Second {
			retry.reset()
			wait = rand.N(100 * time.Millisecond)
		}
		p.cfg.Log.Info("port has no data rtunnel", "port", p.id, "err", err, "retry_in", wait.Round(time.Millisecond))
		p.set(func(s *portState) { s.stream, s.settled = problem{doctor.DiagnosisOf(err), err.Error()}, true })
		select {
		case <-ctx.Done():
		case <-p.redial:
		case <-time.After(wait):
		}
	}
}

func (p *port) dial(ctx context.Context, want wire.DesiredPort) (*rtunnel.Conn, error) {
	ticket, err := p.cfg.Ticket(ctx, p.id)
	if err != nil {
		return nil, err
	}
	return p.cfg.Dial.Dial(ctx, want.URL, rtunnel.Path, rtunnel.SubprotocolPort, ticket)
}

var errClosedByAgent = errors.New("the tunnel agent closed the data rtunnel")

// carry lets frames flow until the data rtunnel or ctx ends.
func (p *port) carry(ctx context.Context, dev Device, encap *encap, conn *rtunnel.Conn) error {
	conn.CarryFrames()
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { conn.Keepalive(ctx, s4t.PresenceInterval, s4t.PresenceTimeout) })
	running.Go(func() { <-ctx.Done(); conn.Close() })
	defer running.Wait()
	defer cancel()

	running.Go(func() {
		for _, packet := range announcements(p.desired()) {
			conn.WriteMessage(rtunnel.OpBinary, encap.copyWrapped(packet)) // an error ends the reading below too
		}
	})
	layer := p.desired().Layer
	out, err := vswitch.NewEgress(vswitch.EgressConfig{Layer: layer, Out: conn, Wrap: encap.wrapper(conn.NewLayout()), Pace: p.cfg.Traffic.sent})
	if err != nil {
		return err
	}
	running.Go(func() {
		if out.Run(ctx) != nil { // the reading side ends with it and dials again
			conn.Close()
		}
	})
	defer out.Close()
	p.out.Store(out)
	defer p.out.CompareAndSwap(out, nil)
	p.set(func(s *portState) { s.stream, s.settled = problem{}, true })
	p.cfg.Log.Info("port is up", "port", p.id)

	came := 0
	err = conn.ReadFrames(link.MaxPacket, func(packet []byte) error {
		came += len(packet)
		packet = encap.unwrap(packet)
		if link.Validate(packet, layer) != nil {
			return nil // the switch let through what this kernel might choke on
		}
		return link.OnlyGone(dev.Write(packet))
	}, func() error {
		p.cfg.Traffic.usage.own().received.Add(int64(came))
		p.cfg.Traffic.received.moved(came, ctx.Done())
		came = 0
		return link.OnlyGone(dev.Flush())
	})
	if err == nil {
		err = errClosedByAgent
	}
	return err
}

// burst is how many bytes are read from the device before some are sent.
const burst = 256 << 10

// pump takes frames from the device to whatever data rtunnel there is, and
// drops them where there is none, until the device ends. It never waits for
// the rtunnel: what a full path does not take waits in the outlet, where a ping
// overtakes a file and too much is dropped, and not in the device's own queue,
// which is first come, first served.
func (p *port) pump(dev Device) error {
	var (
		buf  = make([]byte, link.MaxPacket)
		out  *vswitch.Egress
		read int
	)
	next := func() []byte {
		switch {
		case read == 0: // also after a wait
			out = p.out.Load()
		case read >= burst:
			return nil
		}
		return buf
	}
	done := func(n int) {
		read += n
		if out != nil {
			out.Put(buf[:n])
		}
	}
	for {
		read = 0
		_, err := dev.ReadFrames(next, done)
		if err != nil {
			return err
		}
		if out != nil {
			out.Flush()
			p.cfg.Traffic.usage.own().sent.Add(int64(read))
		}
		if read >= burst/4 {
			runtime.Gosched() // lets the control channel run, also on a slow CPU
		}
	}
}
