package stream

import (
	"context"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
)

// serve serves streams on conn until it ends; p.wg has counted it.
func (p *Pool) serve(url string, conn *rtunnel.Conn) {
	conn.ParkWith(&p.poller)
	sc := &streamConn{conn: conn, owner: p}
	p.mu.Lock()
	p.dialling--
	p.redial, p.problem = 0, ""
	now := time.Now()
	p.conns[sc] = &connState{url: url, idle: true, since: now, pinged: now}
	p.idleN++
	over := p.ctx.Err() != nil // Run has closed the others already
	p.mu.Unlock()
	p.cfg.Changed()
	if over {
		conn.Close()
	}
	sc.run()
}

// over implements owner.
func (p *Pool) over(sc *streamConn, _ error) {
	defer p.wg.Done()
	p.mu.Lock()
	p.markBusy(p.conns[sc])
	delete(p.conns, sc)
	p.mu.Unlock()
	p.wake()
	p.cfg.Changed()
}

// markBusy takes an rtunnel out of the idle ones. p.mu is held.
func (p *Pool) markBusy(s *connState) {
	if s.idle {
		s.idle = false
		p.idleN--
	}
}

// idle implements owner.
func (p *Pool) idle(sc *streamConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.conns[sc]; s != nil && !s.idle {
		s.idle, s.since = true, time.Now()
		p.idleN++
	}
}

// control implements owner: it serves an open. It runs in the reader
// of the rtunnel, which waits until the target is connected.
func (p *Pool) control(sc *streamConn, m control) error {
	if m.Open == nil {
		return streamError("an answer came to a question that nobody asked")
	}
	if ending := sc.ending(); ending != nil {
		<-ending
	}
	p.mu.Lock()
	ctx := p.ctx
	if s := p.conns[sc]; s != nil {
		p.markBusy(s)
	}
	p.fill(min(max(m.Open.Waiting, 0), maxConns))
	p.mu.Unlock()

	slow := time.AfterFunc(openingAfter, func() { control{Opening: set}.send(sc.conn) })
	local, by, err := p.connect(ctx, m.Open)
	slow.Stop() // an "opening" that comes late is ignored
	if err != nil {
		p.cfg.Log.Info("a stream was refused", "err", err)
		p.idle(sc)
		return refused(err).send(sc.conn)
	}
	end := &localEnd{local: local, by: by, open: true, note: p.cfg.Moved, done: make(chan struct{}), ended: func(error) { p.wg.Done() }}
	if !sc.begin(end) {
		abort(local)
		return streamError("a stream was asked for while another is open")
	}
	if err := (control{Opened: set}).send(sc.conn); err != nil {
		return err
	}
	p.wg.Add(1)
	go sc.pump(end)
	return nil
}

// connect connects a stream to its target.
func (p *Pool) connect(ctx context.Context, m *openControl) (HalfCloser, string, error) {
	ctx, cancel := context.WithTimeout(ctx, targetTimeout)
	defer cancel()
	c, by, err := p.cfg.Connect(ctx, m.Ticket, m.Source)
	if err != nil {
		if s4t.KindOf(err) == s4t.Internal {
			err = s4t.Errorf(s4t.Unavailable, "open a stream on the board", "check that the service runs there", "%w", err)
		}
		return nil, "", err
	}
	return c, by, nil
}
