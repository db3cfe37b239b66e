package rtunnel

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

const (
	maxWaiters    = 1024             // streams of one board that wait for an idle rtunnel
	answerTimeout = 3 * time.Second  // an rtunnel that does not answer an open within this is dead
	openTimeout   = 10 * time.Second // of a stream whose target takes its time
	lineSilence   = 45 * time.Second // the board pings every 20 s
)

// Opener is the tunnel agent's side of streams: it holds the rtunnels that
// boards opened with [SubprotocolStreams], and opens streams on them.
type Opener struct {
	changed func()
	lot     lot
	burst   burst // of rtunnels; Sweep's

	mu     sync.Mutex // guards the fields below
	boards map[s4t.BoardID]*boardLines
}

// boardLines are the rtunnels of one board.
type boardLines struct {
	lines   map[*line]*openerLine
	idle    []*openerLine      // the last is the one used last, and so the one most likely alive
	waiters []chan *openerLine // the first waits longest; each has room for one
}

// openerLine is a line at the tunnel agent. It is the line's owner.
type openerLine struct {
	line
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
	return &Opener{changed: changed, boards: map[s4t.BoardID]*boardLines{}}
}

// Keep keeps conn for streams of a board until it ends or ctx does, closes it,
// and then calls ended with the reason why. It does not wait for that.
func (o *Opener) Keep(ctx context.Context, board s4t.BoardID, conn *Conn, ended func(error)) {
	l := &openerLine{opener: o, board: board, answers: make(chan control, 2), ended: ended}
	l.line.conn, l.line.owner = conn, l
	conn.sleeper.lot = &o.lot
	l.stop = context.AfterFunc(ctx, func() { l.shut(context.Cause(ctx)) })

	o.mu.Lock()
	b := o.boards[board]
	first := b == nil || len(b.lines) == 0
	if b == nil {
		b = &boardLines{lines: map[*line]*openerLine{}}
		o.boards[board] = b
	}
	b.lines[&l.line] = l
	o.offer(b, l)
	o.mu.Unlock()
	if first {
		o.changed()
	}
	go l.run()
}

// over implements lineOwner.
func (l *openerLine) over(_ *line, err error) {
	o := l.opener
	o.mu.Lock()
	b := o.boards[l.board]
	delete(b.lines, &l.line)
	if i := slices.Index(b.idle, l); i >= 0 {
		b.idle = slices.Delete(b.idle, i, i+1)
	}
	last := len(b.lines) == 0
	o.tidy(l.board, b)
	o.mu.Unlock()
	if last {
		o.changed()
	}
	l.stop()
	l.ended(err)
}

// Serve is [Opener.Keep] that waits, and returns why the rtunnel ended.
func (o *Opener) Serve(ctx context.Context, board s4t.BoardID, conn *Conn) error {
	ended := make(chan error, 1)
	o.Keep(ctx, board, conn, func(err error) { ended <- err })
	return <-ended
}

// tidy forgets a board that has nothing. o.mu is held.
func (o *Opener) tidy(board s4t.BoardID, b *boardLines) {
	if len(b.lines)+len(b.waiters) == 0 && o.boards[board] == b {
		delete(o.boards, board)
	}
}

// offer gives l to who waits longest, or makes it idle. o.mu is held.
func (o *Opener) offer(b *boardLines, l *openerLine) {
	if len(b.waiters) > 0 {
		w := b.waiters[0]
		b.waiters = b.waiters[1:]
		w <- l
		return
	}
	b.idle = append(b.idle, l)
}

// Has reports whether the board has an rtunnel for streams, idle or busy.
func (o *Opener) Has(board s4t.BoardID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.boards[board]
	return b != nil && len(b.lines) > 0
}

// Boards lists the boards that have one, in order.
func (o *Opener) Boards() []s4t.BoardID {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := []s4t.BoardID{}
	for id, b := range o.boards {
		if len(b.lines) > 0 {
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// Drop closes all rtunnels of a board, and the streams on them.
func (o *Opener) Drop(board s4t.BoardID) {
	o.mu.Lock()
	var lines []*openerLine
	if b := o.boards[board]; b != nil {
		for _, l := range b.lines {
			lines = append(lines, l)
		}
	}
	o.mu.Unlock()
	for _, l := range lines {
		l.shut(s4t.Errorf(s4t.Forbidden, "carry a stream", "", "the board was removed"))
	}
}

// Sweep closes rtunnels that have been silent for too long, and makes the others
// that are idle small. Call it every second or so, one call at a time.
func (o *Opener) Sweep() {
	o.mu.Lock()
	var dead []*openerLine
	lines := 0
	for _, b := range o.boards {
		lines += len(b.lines)
		for _, l := range b.lines {
			l.quieten()
			if l.conn.silence() > lineSilence {
				dead = append(dead, l)
			}
		}
	}
	o.mu.Unlock()
	for _, l := range dead {
		l.shut(errSilent)
	}
	o.burst.settle(lines)
}

// take returns an idle rtunnel of board and how many more streams wait for
// one. It waits until there is one or ctx ends.
func (o *Opener) take(ctx context.Context, board s4t.BoardID) (*openerLine, int, error) {
	const op = "open a stream on the board"
	o.mu.Lock()
	b := o.boards[board]
	if b == nil {
		b = &boardLines{lines: map[*line]*openerLine{}}
		o.boards[board] = b
	}
	if n := len(b.idle); n > 0 {
		l := b.idle[n-1]
		b.idle[n-1] = nil
		b.idle = b.idle[:n-1]
		waiting := len(b.waiters)
		o.mu.Unlock()
		return l, waiting, nil
	}
	if len(b.waiters) >= maxWaiters {
		o.mu.Unlock()
		return nil, 0, s4t.Errorf(s4t.TooMany, op, "try again in a moment", "%d streams wait for it already", maxWaiters)
	}
	w := make(chan *openerLine, 1)
	b.waiters = append(b.waiters, w)
	o.mu.Unlock()
	select {
	case l := <-w:
		o.mu.Lock()
		defer o.mu.Unlock()
		return l, len(b.waiters), nil
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := slices.Index(b.waiters, w); i >= 0 {
		b.waiters = slices.Delete(b.waiters, i, i+1)
	} else { // it was given one in the same moment
		o.offer(b, <-w)
	}
	has := len(b.lines) > 0
	o.tidy(board, b)
	if has {
		return nil, 0, s4t.Errorf(s4t.Timeout, op, "try again in a moment", "it brought no rtunnel for the stream in time")
	}
	return nil, 0, s4t.Errorf(s4t.Offline, op, "try again when it is back", "it has no rtunnel to this tunnel agent")
}

// Open opens a stream of board with ticket and joins it to local. It waits for
// an rtunnel, and for the board's answer, until ctx ends or 10 s passed; an
// rtunnel that does not answer is closed and the next one is tried, which loses
// nothing as no bytes were sent. admit, which may be nil, is called once when
// the board has connected to the target, before bytes flow. From then on ctx has
// no meaning, and the end of revoke breaks the stream. If it was opened, ended
// is called when it has ended, with nil if both directions ended by themselves;
// local is closed by then, with a reset if the stream broke. If not, the error
// says why, local is left to the caller, and ended is not called.
func (o *Opener) Open(ctx, revoke context.Context, board s4t.BoardID, ticket string, local HalfCloser, admit func() error, ended func(error)) (opened bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	defer context.AfterFunc(revoke, cancel)()
	for {
		l, waiting, err := o.take(ctx, board)
		if err != nil {
			return false, err
		}
		g := &leg{local: local, admit: admit, done: make(chan struct{})}
		switch answer, err := l.open(ctx, g, ticket, waiting); {
		case answer == answerOpened:
			stop := context.AfterFunc(revoke, func() {
				l.breakOff(g, errRevoked)
			})
			g.ended = func(err error) { stop(); ended(err) }
			go l.pump(g)
			return true, nil
		case answer == answerBroken:
			abort(local)
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
func (o *Opener) Connect(ctx, revoke context.Context, board s4t.BoardID, ticket string, local HalfCloser, admit func() error) (opened bool, err error) {
	ended := make(chan error, 1)
	if opened, err = o.Open(ctx, revoke, board, ticket, local, admit, func(err error) { ended <- err }); opened {
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

// open asks the board for a stream on l. Unless it was opened, l is closed
// after it, or idle again.
func (l *openerLine) open(ctx context.Context, g *leg, ticket string, waiting int) (answer, error) {
	for len(l.answers) > 0 { // of an earlier open that was given up
		<-l.answers
	}
	if !l.begin(g) {
		l.conn.Close()
		return answerNone, streamError("an idle rtunnel has a stream")
	}
	fail := func(err error) (answer, error) {
		open := l.drop(g)
		l.conn.Close()
		if open {
			return answerBroken, err
		}
		return answerNone, err
	}
	l.conn.nc.SetWriteDeadline(time.Now().Add(answerTimeout))
	if err := (control{Open: &openControl{Ticket: ticket, Waiting: waiting}}).send(l.conn); err != nil {
		return fail(err)
	}
	l.conn.nc.SetWriteDeadline(time.Time{})
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return fail(errSilent)
		case <-ctx.Done():
			return fail(s4t.Errorf(s4t.Timeout, "open a stream on the board", "", "it does not answer: %w", context.Cause(ctx)))
		case <-g.done: // the rtunnel ended
			return fail(g.err)
		case m := <-l.answers:
			switch {
			case m.Opening != nil:
				timer.Stop()
			case m.Refused != nil:
				l.drop(g)
				l.idle(&l.line)
				return answerRefused, m.Refused.Err()
			case m.Opened != nil:
				return answerOpened, nil
			}
		}
	}
}

// control implements lineOwner.
func (l *openerLine) control(_ *line, m control) error {
	if m.Open != nil {
		return streamError("the board asked for a stream")
	}
	if m.Opened != nil {
		g := l.current()
		if g == nil || !l.admit(g) {
			return streamError("a stream was opened that nobody asked for")
		}
		if g.admit != nil {
			if err := g.admit(); err != nil {
				l.reset()
				return err
			}
		}
	}
	select {
	case l.answers <- m:
	default: // more answers than questions
		return streamError("answers came to no question")
	}
	return nil
}

// idle implements lineOwner.
func (l *openerLine) idle(*line) {
	l.opener.mu.Lock()
	defer l.opener.mu.Unlock()
	if b := l.opener.boards[l.board]; b != nil && b.lines[&l.line] == l {
		l.opener.offer(b, l)
	}
}
