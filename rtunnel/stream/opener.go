package stream

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/park"
)

const (
	maxQueued     = 1024             // streams of one board that wait for an idle rtunnel
	answerTimeout = 3 * time.Second  // an rtunnel that does not answer an open within this is dead
	openTimeout   = 10 * time.Second // of a stream whose target takes its time
	maxSilence    = 45 * time.Second // the board pings every 20 s
)

// Opener is the tunnel agent's side of streams: it holds the rtunnels that
// boards opened with [rtunnel.SubprotocolStreams], and opens streams on them.
//
// Lock order: Opener.mu, streamConn.mu. Under Opener.mu nobody waits for the
// network, and changed and ended are called without it.
type Opener struct {
	// Crowded, which may be nil, says that descriptors are few: of a board fewer
	// idle rtunnels are kept then. It is set before the first Keep, and must not
	// block.
	Crowded func() bool

	changed func()
	poller  park.Poller
	burst   park.Burst // of rtunnels; Sweep's

	mu     sync.Mutex // guards the fields below
	boards map[s4t.BoardID]*boardConns
}

// boardConns are the rtunnels of one board.
type boardConns struct {
	conns map[*streamConn]*openerConn
	idle  []*openerConn      // the last is the one used last, and so the one most likely alive
	queue []chan *openerConn // the first waits longest; each has room for one
}

// openerConn is a streamConn at the tunnel agent, and its owner.
type openerConn struct {
	streamConn
	opener *Opener
	board  s4t.BoardID
	stop   func() bool // of shut when Keep's context ends
	ended  func(error)

	// answers gets the board's answer to an open. The reader sends, without
	// waiting, what Connect receives.
	answers chan control
}

// NewOpener returns an Opener. changed, which may be nil, is called when a
// board gets its first rtunnel or loses its last; it must not block.
func NewOpener(changed func()) *Opener {
	if changed == nil {
		changed = func() {}
	}
	return &Opener{changed: changed, boards: map[s4t.BoardID]*boardConns{}}
}

// Keep keeps conn for streams of a board until it ends or ctx does, closes it,
// and then calls ended with the reason why. It does not wait for that.
func (o *Opener) Keep(ctx context.Context, board s4t.BoardID, conn *rtunnel.Conn, ended func(error)) {
	oc := &openerConn{opener: o, board: board, answers: make(chan control, 2), ended: ended}
	oc.conn, oc.owner = conn, oc
	conn.ParkWith(&o.poller)
	oc.stop = context.AfterFunc(ctx, func() { oc.shut(context.Cause(ctx)) })

	o.mu.Lock()
	b := o.boards[board]
	first := b == nil || len(b.conns) == 0
	if b == nil {
		b = &boardConns{conns: map[*streamConn]*openerConn{}}
		o.boards[board] = b
	}
	b.conns[&oc.streamConn] = oc
	surplus := o.offer(b, oc)
	o.mu.Unlock()
	if first {
		o.changed()
	}
	go oc.run()
	shutAll(surplus, errSurplus)
}

// over implements owner.
func (oc *openerConn) over(_ *streamConn, err error) {
	o := oc.opener
	o.mu.Lock()
	b := o.boards[oc.board]
	delete(b.conns, &oc.streamConn)
	if i := slices.Index(b.idle, oc); i >= 0 {
		b.idle = slices.Delete(b.idle, i, i+1)
	}
	last := len(b.conns) == 0
	o.tidy(oc.board, b)
	o.mu.Unlock()
	if last {
		o.changed()
	}
	oc.stop()
	oc.ended(err)
}

// Serve is [Opener.Keep] that waits, and returns why the rtunnel ended.
func (o *Opener) Serve(ctx context.Context, board s4t.BoardID, conn *rtunnel.Conn) error {
	ended := make(chan error, 1)
	o.Keep(ctx, board, conn, func(err error) { ended <- err })
	return <-ended
}

// tidy forgets a board that has nothing. o.mu is held.
func (o *Opener) tidy(board s4t.BoardID, b *boardConns) {
	if len(b.conns)+len(b.queue) == 0 && o.boards[board] == b {
		delete(o.boards, board)
	}
}

// offer gives oc to who waits longest, or makes it idle. What it returns is
// more than the board may have idle, and the caller's to shut. o.mu is held.
func (o *Opener) offer(b *boardConns, oc *openerConn) (surplus []*openerConn) {
	if len(b.queue) > 0 {
		w := b.queue[0]
		b.queue = b.queue[1:]
		w <- oc
		return nil
	}
	b.idle = append(b.idle, oc)
	return b.trim(o.idleLimit())
}

// Has reports whether the board has an rtunnel for streams, idle or busy.
func (o *Opener) Has(board s4t.BoardID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.boards[board]
	return b != nil && len(b.conns) > 0
}

// Boards lists the boards that have one, in order.
func (o *Opener) Boards() []s4t.BoardID {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := []s4t.BoardID{}
	for id, b := range o.boards {
		if len(b.conns) > 0 {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// Drop closes all rtunnels of a board, and the streams on them.
func (o *Opener) Drop(board s4t.BoardID) {
	o.mu.Lock()
	var conns []*openerConn
	if b := o.boards[board]; b != nil {
		for _, oc := range b.conns {
			conns = append(conns, oc)
		}
	}
	o.mu.Unlock()
	shutAll(conns, s4t.Errorf(s4t.Forbidden, "carry a stream", "", "the board was removed"))
}

// Sweep closes rtunnels that have been silent for too long, or are idle and too
// many, and parks who waits on the others. Call it every second or so, one call
// at a time.
func (o *Opener) Sweep() {
	o.mu.Lock()
	var dead, surplus []*openerConn
	conns, limit := 0, o.idleLimit()
	for _, b := range o.boards {
		conns += len(b.conns)
		surplus = append(surplus, b.trim(limit)...)
		for _, oc := range b.conns {
			oc.parkIdle()
			if oc.conn.Silence() > maxSilence {
				dead = append(dead, oc)
			}
		}
	}
	o.mu.Unlock()
	shutAll(dead, errSilent)
	shutAll(surplus, errSurplus)
	o.burst.Note(conns)
}

// take returns an idle rtunnel of board and how many more streams wait for
// one. It waits until there is one or ctx ends.
func (o *Opener) take(ctx context.Context, board s4t.BoardID) (*openerConn, int, error) {
	const op = "open a stream on the board"
	o.mu.Lock()
	b := o.boards[board]
	if b == nil {
		b = &boardConns{conns: map[*streamConn]*openerConn{}}
		o.boards[board] = b
	}
	if n := len(b.idle); n > 0 {
		oc := b.idle[n-1]
		b.idle[n-1] = nil
		b.idle = b.idle[:n-1]
		waiting := len(b.queue)
		o.mu.Unlock()
		return oc, waiting, nil
	}
	if len(b.queue) >= maxQueued {
		o.mu.Unlock()
		return nil, 0, s4t.Errorf(s4t.TooMany, op, "try again in a moment", "%d streams wait for it already", maxQueued)
	}
	w := make(chan *openerConn, 1)
	b.queue = append(b.queue, w)
	o.mu.Unlock()
	select {
	case oc := <-w:
		o.mu.Lock()
		defer o.mu.Unlock()
		return oc, len(b.queue), nil
	case <-ctx.Done():
	}
	var surplus []*openerConn
	defer func() { shutAll(surplus, errSurplus) }()
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(b.queue, w); i >= 0 {
		b.queue = slices.Delete(b.queue, i, i+1)
	} else { // it was given one in the same moment
		surplus = o.offer(b, <-w)
	}
	has := len(b.conns) > 0
	o.tidy(board, b)
	if has {
		return nil, 0, s4t.Errorf(s4t.Timeout, op, "try again in a moment", "it brought no rtunnel for the stream in time")
	}
	return nil, 0, s4t.Errorf(s4t.Offline, op, "try again when it is back", "it has no rtunnel to this tunnel agent")
}

// Asked is a stream that is asked of a board.
type Asked struct {
	Board  s4t.BoardID
	Ticket string
	Source netip.Addr   // of a public port's stream: who connected; else none
	Local  HalfCloser   // is joined to it
	Admit  func() error // optional: called once when the board has connected to the target, before bytes flow
}

// Open opens a stream of a board and joins it to its local end. It waits for
// an rtunnel, and for the board's answer, until ctx ends or 10 s passed; an
// rtunnel that does not answer is closed and the next one is tried, which loses
// nothing as no bytes were sent. Once Admit was called ctx has no meaning, and
// the end of revoke breaks the stream. If it was opened, ended is called when it
// has ended, with nil if both directions ended by themselves; the local end is
// closed by then, with a reset if the stream broke. If not, the error says why,
// the local end is left to the caller, and ended is not called.
func (o *Opener) Open(ctx, revoke context.Context, asked Asked, ended func(error)) (opened bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	defer context.AfterFunc(revoke, cancel)()
	for {
		oc, waiting, err := o.take(ctx, asked.Board)
		if err != nil {
			return false, err
		}
		end := &localEnd{local: asked.Local, admit: asked.Admit, done: make(chan struct{})}
		open := &openControl{Ticket: asked.Ticket, Waiting: waiting}
		if asked.Source.IsValid() {
			open.Source = asked.Source.Unmap().WithZone("").String()
		}
		switch answer, err := oc.open(ctx, end, open); {
		case answer == answerOpened:
			stop := context.AfterFunc(revoke, func() {
				oc.breakOff(end, errRevoked)
			})
			end.ended = func(err error) { stop(); ended(err) }
			go oc.pump(end)
			return true, nil
		case answer == answerBroken:
			abort(asked.Local)
			if revoke.Err() != nil {
				err = errRevoked
			}
			ended(err)
			return true, nil
		case answer == answerRefused || ctx.Err() != nil:
			return false, err
		}
	}
}

// Connect is [Opener.Open] that waits, and returns what ended is told.
func (o *Opener) Connect(ctx, revoke context.Context, asked Asked) (opened bool, err error) {
	ended := make(chan error, 1)
	if opened, err = o.Open(ctx, revoke, asked, func(err error) { ended <- err }); opened {
		err = <-ended
	}
	return opened, err
}

// answer is what came of an open.
type answer int

const (
	answerNone    answer = iota // the rtunnel is at fault: another may be tried
	answerRefused               // by the board
	answerOpened
	answerBroken // opened, and lost in the same moment: bytes may have flowed
)

// open asks the board for a stream on oc. Unless it was opened, oc is closed
// after it, or idle again.
func (oc *openerConn) open(ctx context.Context, end *localEnd, question *openControl) (answer, error) {
	for len(oc.answers) > 0 { // of an earlier open that was given up
		<-oc.answers
	}
	if !oc.begin(end) {
		oc.conn.Close()
		return answerNone, streamError("an idle rtunnel has a stream")
	}
	fail := func(err error) (answer, error) {
		open := oc.drop(end)
		oc.conn.Close()
		if open {
			return answerBroken, err
		}
		return answerNone, err
	}
	oc.conn.NetConn().SetWriteDeadline(time.Now().Add(answerTimeout))
	if err := (control{Open: question}).send(oc.conn); err != nil {
		return fail(err)
	}
	oc.conn.NetConn().SetWriteDeadline(time.Time{})
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return fail(errSilent)
		case <-ctx.Done():
			return fail(s4t.Errorf(s4t.Timeout, "open a stream on the board", "", "it does not answer: %w", context.Cause(ctx)))
		case <-end.done: // the rtunnel ended
			return fail(end.err)
		case m := <-oc.answers:
			switch {
			case m.Opening != nil:
				timer.Stop()
			case m.Refused != nil:
				oc.drop(end)
				oc.idle(&oc.streamConn)
				return answerRefused, m.Refused.Err()
			case m.Opened != nil:
				return answerOpened, nil
			}
		}
	}
}

// control implements owner.
func (oc *openerConn) control(_ *streamConn, m control) error {
	if m.Open != nil {
		return streamError("the board asked for a stream")
	}
	if m.Opened != nil {
		end := oc.current()
		if end == nil || !oc.admit(end) {
			return streamError("a stream was opened that nobody asked for")
		}
		if end.admit != nil {
			if err := end.admit(); err != nil {
				oc.reset()
				return err
			}
		}
	}
	select {
	case oc.answers <- m:
	default: // more answers than questions
		return streamError("answers came to no question")
	}
	return nil
}

// idle implements owner.
func (oc *openerConn) idle(*streamConn) {
	var surplus []*openerConn
	oc.opener.mu.Lock()
	if b := oc.opener.boards[oc.board]; b != nil && b.conns[&oc.streamConn] == oc {
		surplus = oc.opener.offer(b, oc)
	}
	oc.opener.mu.Unlock()
	shutAll(surplus, errSurplus)
}
