package router

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/park"
	"github.com/stack4things/s4t/wamp"
)

// Bounds of one session.
const (
	maxQueued      = 256 // messages that wait for a board; what does not fit is dropped
	maxQueuedBytes = 16 << 20
	writeWait      = s4t.PresenceTimeout // a board that takes no byte for so long is dropped
	closeWait      = time.Second         // for the last words, and for the board to close
	maxHandshake   = 16 << 10            // bytes of a HELLO or AUTHENTICATE
	messageRate    = rate.Limit(200)     // messages a second that are read from a board; the rest waits in its socket
	messageRush    = 400                 // messages that may come at once
	answerRate     = rate.Limit(2000)    // the same of answers to what the cloud asks, and of samples: there is much of it, and little to do for each
	answerRush     = 4000
)

// peer is a board's connection, and its session once it is welcomed.
//
// Somebody reads while there is something to read, and somebody writes while
// there is something to write; in between it has no goroutine. It always says
// what is queued before it closes, takes any byte for a sign of life, and drops a
// board that does not read.
type peer struct {
	r      *Router
	run    *running
	conn   *rtunnel.Conn
	remote string        // its source, for the guard
	from   netip.Addr    // its address, as it is shown
	direct string        // its address where the path ends there, as far as is known; "": at a reverse proxy
	gone   chan struct{} // closed when reading has ended

	// Owned by who reads.
	auth    *exchange // of the authentication; nil before HELLO and after WELCOME
	last    uint64    // request id
	limit   *rate.Limiter
	answers *rate.Limiter

	wrote atomic.Bool // since it was last seen that all is acknowledged

	mu            sync.Mutex // guards the fields below
	out           [][]byte   // messages to write
	queued        int        // bytes in it
	writing       bool       // somebody writes
	ending        bool       // nothing more is queued, nothing that comes is heeded
	broken        bool       // nor written
	registrations []offer
	subscriptions []offer
	offered       uint64                 // ids of them so far: no more than maxOffers
	asked         uint64                 // id of the last call to the board
	asking        map[uint64]chan answer // calls to the board under way; nil: none are
	serving       map[uint64]bool        // calls of the board under way: whether it gave them up
	newest        chan struct{}          // of those that are served in order: closed when the newest has been; nil: it has

	// Guarded by r.mu.
	way      *arrival    // to its session
	clock    *time.Timer // ends who does not join, or a session that does not begin; nil: it has begun
	since    time.Time   // when it came
	pinged   time.Time   // when it was last
	welcomed bool
	left     bool    // its session has ended, or none can begin
	evicted  bool    // closed before it was welcomed, and not counted any more
	session  Session // valid once welcomed, when it does not change any more
	begun    bool    // the cloud has taken it in
	cancels  bool    // the board knows INTERRUPT; set before it is welcomed
	steady   bool    // the kernels watch the path, and the board pings; set before it is welcomed
}

// offer is what a board registered or subscribed to, by its name under the board's
// prefix.
type offer struct {
	name string
	id   uint64
}

func newPeer(r *Router, run *running, conn *rtunnel.Conn, req *http.Request, way *arrival) *peer {
	conn.LimitMessages(maxHandshake)
	if conn.CanPark() {
		conn.ParkWith(&r.parked)
		conn.ParkEagerly()
	}
	p := &peer{r: r, run: run, conn: conn, remote: s4t.SourceOfPeer(req.RemoteAddr), way: way, since: time.Now(), gone: make(chan struct{})}
	if ap, err := netip.ParseAddrPort(req.RemoteAddr); err == nil {
		p.from = ap.Addr().Unmap().WithZone("")
	}
	if addr := conn.NetConn().RemoteAddr().String(); addr == req.RemoteAddr { // else it is what a reverse proxy says
		p.direct = addr
	}
	return p
}

func (p *peer) log() *slog.Logger { return p.r.cfg.Log.With("peer", p.remote) }

// read heeds what the board says, until nothing is left to read: it is called
// again when something comes. What comes after the end is thrown away, so that the last
// words arrive.
func (p *peer) read() {
	for {
		op, b, err := p.conn.ReadMessage()
		switch {
		case err == park.ErrParked:
			p.conn.Park(p.read)
			return
		case err != nil:
			p.log().Debug("control connection ends", "err", err)
			close(p.gone)
			p.close(nil)
			return
		case p.isEnding():
		case op != rtunnel.OpBinary:
			p.violates("a message is not binary")
		default:
			p.heed(b)
		}
	}
}

func (p *peer) isEnding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ending
}

// heed reads one message and acts.
func (p *peer) heed(b []byte) {
	m, err := decode(b)
	switch {
	case err != nil:
		p.violates(err.Error())
	case !p.session.joined():
		p.authenticate(&m)
	case m.isRequest() && m.request <= p.last:
		p.violates(fmt.Sprintf("request %d came after request %d", m.request, p.last))
	default:
		if m.isRequest() {
			p.last = m.request
		}
		of := p.limit
		if m.isAnswer() {
			of = p.answers
		}
		if of.Wait(p.run.ctx) == nil { // else the router stops
			p.route(&m)
		}
	}
}

// violates ends the session for what the board said.
func (p *peer) violates(why string) { p.close(abort(errProtocol, why)) }

// queue has a message written, unless there are too many or the session ends.
func (p *peer) queue(m []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.enqueue(m)
}

// enqueue is queue with p.mu held.
func (p *peer) enqueue(m []byte) bool {
	if p.ending || len(p.out) >= maxQueued || p.queued+len(m) > maxQueuedBytes {
		return false
	}
	p.out = append(p.out, m)
	p.queued += len(m)
	p.wakeWriter()
	return true
}

// wakeWriter has somebody write. p.mu is held.
func (p *peer) wakeWriter() {
	if !p.writing {
		p.writing = true
		p.r.ended.Go(p.write)
	}
}

// close ends the session: what is queued and then last, which may be nil, is
// said before. It does not wait.
func (p *peer) close(last []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending {
		return
	}
	p.ending = true
	if last != nil {
		p.out = append(p.out, last)
	}
	p.conn.NetConn().SetWriteDeadline(time.Now().Add(closeWait)) // a write that hangs
	p.wakeWriter()
}

// drop ends the session of a board that hears nothing.
func (p *peer) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending, p.broken = true, true
	p.conn.NetConn().SetWriteDeadline(time.Unix(1, 0))
	p.wakeWriter()
}

// write writes what is queued. At the end it says the last words and closes.
func (p *peer) write() {
	for {
		p.mu.Lock()
		out, ending := p.out, p.ending
		p.out, p.queued = nil, 0
		if len(out) == 0 && !ending {
			p.writing = false
			p.conn.NetConn().SetWriteDeadline(time.Time{}) // pongs are written without
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		if ending {
			p.r.leaves(p)
		}
		for _, m := range out {
			if !p.send(m) {
				break
			}
		}
		if ending {
			p.finish()
			return
		}
	}
}

// send writes one message, and reports whether it could. The deadline of who is
// closed meanwhile is close's.
func (p *peer) send(m []byte) bool {
	p.mu.Lock()
	if !p.ending {
		p.conn.NetConn().SetWriteDeadline(time.Now().Add(writeWait))
	}
	broken := p.broken
	p.mu.Unlock()
	p.wrote.Store(true)
	if broken || p.conn.WriteMessage(rtunnel.OpBinary, m) == nil {
		return !broken
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending, p.broken = true, true
	return false
}

// finish closes the connection. A socket closed with bytes unread is reset, and
// the last words are lost: the board closes first.
func (p *peer) finish() {
	p.mu.Lock()
	broken, asking := p.broken, p.asking
	p.asking = nil
	p.mu.Unlock()
	for _, c := range asking {
		close(c)
	}
	if !broken && p.conn.SayClose(rtunnel.StatusNormal, "") == nil {
		timer := time.NewTimer(closeWait)
		defer timer.Stop()
		select {
		case <-p.gone:
		case <-timer.C:
		}
	}
	p.conn.Close()
	<-p.gone
	p.r.remove(p)
}

// isAnswer reports whether a message answers the cloud, or brings samples.
func (m *message) isAnswer() bool {
	if m.kind != wamp.MsgCall {
		return m.kind == wamp.MsgYield || m.kind == wamp.MsgError
	}
	_, name, _ := wamp.ParseBoardURI(m.uri)
	return name == wamp.Samples
}
