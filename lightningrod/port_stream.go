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
)

// The data rtunnel of a port, and the frames that go through it.

const (
	// handoverTime is how long a port sends through the data rtunnel that it leaves:
	// the others of its network are to have opened theirs at the new tunnel agent
	// meanwhile. It takes frames from both.
	handoverTime = 2 * time.Second
	// leaveTime bounds how long it takes frames from the one that it leaves, which
	// the tunnel agent ends when nobody needs it any more.
	leaveTime = 30 * time.Second
)

// keepStream keeps a data rtunnel open: a ticket, a connection, again and again.
// Where the tunnel agent is to be another, the new one is open before the old one
// is left.
func (p *port) keepStream(ctx context.Context, dev Device, encap *encap) {
	retry, moving := portBackoff(), portBackoff()
	in := &inlet{dev: dev, encap: encap}
	var (
		now, left *lane            // that frames go out of; that is left
		start     time.Time        // of now
		again     <-chan time.Time // when to try again to move
	)
	defer func() {
		now.close()
		left.close()
	}()
	for ctx.Err() == nil {
		if now == nil {
			if now = p.first(ctx, in, &retry); now == nil {
				return
			}
			start = time.Now()
			p.use(now)
		}
		select {
		case <-ctx.Done():
			return
		case <-left.ended():
			left.close()
			left = nil
			continue
		case <-now.ended():
			err := now.err
			now.close()
			now = nil
			if time.Since(start) > 5*time.Second {
				retry.reset()
				p.later(ctx, err, rand.N(100*time.Millisecond))
			} else {
				p.later(ctx, err, retry.wait())
			}
			continue
		case <-p.redial:
			continue
		case <-p.rerouted:
		case <-again:
		}
		again = nil
		if p.desired().URL == now.url {
			continue
		}
		next, err := p.open(ctx, in)
		if err != nil {
			wait := moving.wait()
			p.cfg.Log.Info("port cannot move to another tunnel agent yet", "port", p.id, "err", err, "retry_in", wait.Round(time.Millisecond))
			again = time.After(wait)
			continue
		}
		moving.reset()
		if now.conn.Idle() < s4t.PresenceTimeout/2 { // else there is nobody to wait for
			select {
			case <-ctx.Done():
			case <-now.ended():
			case <-next.ended(): // the loop finds out
			case <-time.After(handoverTime):
			}
		}
		left.close()
		left, now, start = now, next, time.Now()
		p.use(now)
		time.AfterFunc(leaveTime, left.shut)
	}
}

// later waits until it is time to dial again.
func (p *port) later(ctx context.Context, err error, wait time.Duration) {
	if ctx.Err() != nil {
		return
	}
	p.cfg.Log.Info("port has no data rtunnel", "port", p.id, "err", err, "retry_in", wait.Round(time.Millisecond))
	p.set(func(s *portState) { s.stream, s.settled = problem{doctor.DiagnosisOf(err), err.Error()}, true })
	select {
	case <-ctx.Done():
	case <-p.redial:
	case <-p.rerouted:
	case <-time.After(wait):
	}
}

// first opens a data rtunnel, whatever it takes; nil: ctx has ended.
func (p *port) first(ctx context.Context, in *inlet, retry *backoff) *lane {
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
		l, err := p.open(ctx, in)
		if err == nil {
			return l
		}
		p.later(ctx, err, retry.wait())
	}
	return nil
}

// inlet takes the frames of all data rtunnels of a port to its device.
type inlet struct {
	dev   Device
	encap *encap
	mu    sync.Mutex // held while one of them gives frames
}

// lane is a data rtunnel whose frames are taken.
type lane struct {
	url     string
	conn    *rtunnel.Conn
	out     *vswitch.Egress
	encap   *encap
	port    *port
	cancel  context.CancelFunc
	running sync.WaitGroup
	done    chan struct{} // closed when it has ended
	err     error         // valid when done is closed
}

// ended is closed when the lane has ended; of none, never.
func (l *lane) ended() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.done
}

// shut has a lane end.
func (l *lane) shut() { l.cancel() }

// close ends a lane, if it is one, and returns when nothing of it runs.
func (l *lane) close() {
	if l == nil {
		return
	}
	l.cancel()
	l.running.Wait()
	l.port.out.CompareAndSwap(l.out, nil)
	l.out.Close()
}

var errClosedByAgent = errors.New("the tunnel agent closed the data rtunnel")

// open opens a data rtunnel at the tunnel agent that is wanted, and takes the
// frames that come from it.
func (p *port) open(ctx context.Context, in *inlet) (*lane, error) {
	want := p.desired()
	ticket, err := p.cfg.Ticket(ctx, p.id)
	if err != nil {
		return nil, err
	}
	conn, err := p.cfg.Dial.Dial(ctx, want.URL, rtunnel.Path, rtunnel.SubprotocolPort, ticket)
	if err != nil {
		return nil, err
	}
	conn.CarryFrames()
	out, err := vswitch.NewEgress(vswitch.EgressConfig{Layer: want.Layer, Out: conn, Wrap: in.encap.wrapper(conn.NewLayout()), Pace: p.cfg.Traffic.sent})
	if err != nil {
		conn.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &lane{url: want.URL, conn: conn, out: out, encap: in.encap, port: p, cancel: cancel, done: make(chan struct{})}
	l.running.Go(func() { conn.Keepalive(ctx, s4t.PresenceInterval, s4t.PresenceTimeout) })
	l.running.Go(func() { <-ctx.Done(); conn.Close() })
	l.running.Go(func() {
		if out.Run(ctx) != nil { // the reading side ends with it and dials again
			conn.Close()
		}
	})
	l.running.Go(func() {
		defer close(l.done)
		defer cancel()
		if l.err = p.receive(ctx, in, conn, want.Layer); l.err == nil {
			l.err = errClosedByAgent
		}
	})
	return l, nil
}

// use has the frames of the device go out of a lane.
func (p *port) use(l *lane) {
	l.running.Go(func() {
		for _, packet := range announcements(p.desired()) {
			l.conn.WriteMessage(rtunnel.OpBinary, l.encap.copyWrapped(packet)) // an error ends the reading, too
		}
	})
	p.out.Store(l.out)
	p.set(func(s *portState) { s.stream, s.settled = problem{}, true })
	p.cfg.Log.Info("port is up", "port", p.id, "peer", l.url)
}

// receive takes frames from a data rtunnel to the device until it ends.
func (p *port) receive(ctx context.Context, in *inlet, conn *rtunnel.Conn, layer int) error {
	came := 0
	return conn.ReadFrames(link.MaxPacket, func(packet []byte) error {
		came += len(packet)
		in.mu.Lock()
		defer in.mu.Unlock()
		packet = in.encap.unwrap(packet)
		if link.Validate(packet, layer) != nil {
			return nil // the switch let through what this kernel might choke on
		}
		return link.OnlyGone(in.dev.Write(packet))
	}, func() error {
		p.cfg.Traffic.usage.own().received.Add(int64(came))
		p.cfg.Traffic.received.moved(came, ctx.Done())
		came = 0
		in.mu.Lock()
		defer in.mu.Unlock()
		return link.OnlyGone(in.dev.Flush())
	})
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
