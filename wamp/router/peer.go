package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/gammazero/nexus/v3/transport/serialize"
	nwamp "github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// Bounds of one session.
const (
	outQueue     = 256                 // messages that wait for a board; what does not fit is dropped, it is a wake-up
	writeWait    = s4t.PresenceTimeout // a board that takes no byte for so long is dropped
	closeWait    = time.Second         // for the last words, and for the board to close
	messageRate  = rate.Limit(200)     // messages a second that are read from a board; the rest waits in its socket
	maxHandshake = 16 << 10            // bytes of a HELLO or AUTHENTICATE
	messageRush  = 400                 // messages that may come at once
	answerRate   = rate.Limit(2000)    // the same of answers to what the cloud asks, and of samples: there is much of it, and little to do for each
	answerRush   = 4000
)

// peer is a board's end of a session as nexus sees it: its Peer over a
// WebSocket. Unlike nexus' own it always sends what is queued before it
// closes, never closes the queue under a sender, sees any byte as a sign of
// life, and drops a board that does not read.
type peer struct {
	r      *Router
	ws     *websocket.Conn
	remote string // its source, for the guard
	log    *slog.Logger

	rd     chan nwamp.Message // to the router; closed by the reader
	wr     chan nwamp.Message // to the board; never closed
	ctx    context.Context    // ends by Close
	cancel context.CancelFunc
	gone   chan struct{} // the reader has ended

	codeGood bool        // the authenticator found nothing wrong with a code; set before nexus queues the ABORT
	refusal  *wire.Error // why the authenticator said no; set before nexus queues the ABORT

	leave   func()      // gives its place free: it is not on its way any more
	silence *time.Timer // ends a session that does not begin; set when welcomed

	since    time.Time // when it came
	welcomed bool      // guarded by r.mu, as are the next two
	evicted  bool      // closed before it was welcomed, and not counted any more
	session  Session   // valid once welcomed
	begun    bool      // the cloud has taken it in; guarded by r.mu
}

// newPeer starts the reader; run must be called.
func newPeer(r *Router, ctx context.Context, ws *websocket.Conn, remote string) *peer {
	p := &peer{
		r: r, ws: ws, remote: remote, since: time.Now(), log: r.cfg.Log.With("peer", remote),
		rd:   make(chan nwamp.Message),
		wr:   make(chan nwamp.Message, outQueue),
		gone: make(chan struct{}),
	}
	// Not ctx itself: when Run ends, nexus says goodbye before it closes.
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return p
}

// The methods of nexus' Peer.
func (p *peer) Recv() <-chan nwamp.Message { return p.rd }
func (p *peer) Send() chan<- nwamp.Message { return p.wr }
func (p *peer) IsLocal() bool              { return false }

// Close lets the queue drain, then closes. It does not wait.
func (p *peer) Close() {
	p.cancel()
	p.ws.NetConn().SetWriteDeadline(time.Now().Add(closeWait)) // a write that hangs
}

// write sends what nexus queues, and pings, until the session is closed. The board
// pings too, and that is not enough: where a NAT has lost its state only what
// comes from here finds out that the board's other connections are dead.
func (p *peer) write() {
	ping := time.NewTicker(s4t.PresenceInterval)
	defer ping.Stop()
	for broken := false; ; {
		select {
		case m := <-p.wr:
			if !broken {
				broken = p.send(m, writeWait) != nil
			}
		case <-ping.C:
			if !broken {
				broken = p.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWait)) != nil
			}
		case <-p.ctx.Done():
			p.finish(broken)
			return
		}
		if broken {
			p.ws.Close() // the reader ends, and nexus with it
		}
	}
}

// finish says the last words. The session is no longer in the router.
func (p *peer) finish(broken bool) {
	var last []nwamp.Message
	for more := true; more; {
		select {
		case m := <-p.wr:
			last = append(last, m)
			if w, ok := m.(*nwamp.Welcome); ok {
				p.r.welcome(p, w)
			}
		default:
			more = false
		}
	}
	p.r.leave(p)
	deadline := time.Now().Add(closeWait)
	for _, m := range last {
		broken = broken || p.send(m, time.Until(deadline)) != nil
	}
	if !broken {
		bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
		if p.ws.WriteControl(websocket.CloseMessage, bye, deadline) == nil {
			// A socket closed with bytes unread is reset, and the last words
			// are lost: the board closes first.
			timer := time.NewTimer(time.Until(deadline))
			defer timer.Stop()
			select {
			case <-p.gone:
			case <-timer.C:
			}
		}
	}
	p.ws.Close()
	<-p.gone
}

// send writes one message.
func (p *peer) send(m nwamp.Message, wait time.Duration) error {
	switch m := m.(type) {
	case *nwamp.Welcome:
		p.r.welcome(p, m)
	case *nwamp.Abort:
		if p.codeGood {
			m.Reason, m.Details = nwamp.URI(wamp.ReasonCodeGood), nwamp.Dict{}
		} else if p.refusal != nil {
			m.Reason = nwamp.URI(wamp.ErrorURI(p.refusal.Kind))
			m.Details = nwamp.Dict{nwamp.OptMessage: p.refusal.Err().Error(), wamp.ErrorKey: string(wire.Encode(p.refusal))}
		}
	}
	b, err := (&serialize.MessagePackSerializer{}).Serialize(m)
	if err != nil {
		return err
	}
	if err := p.ws.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	return p.ws.WriteMessage(websocket.BinaryMessage, b)
}

// read gives nexus what the board says, until the board is gone, says
// something that is not WAMP, or is dead.
func (p *peer) read() {
	defer close(p.gone)
	err := p.deliver()
	p.log.Debug("control connection ends", "err", err)
	close(p.rd) // nexus ends the session and closes the peer
	for {
		// What still comes is thrown away, so that the last words arrive.
		if _, _, err := p.ws.NextReader(); err != nil {
			return
		}
	}
}

func (p *peer) deliver() error {
	n := 0 // messages so far; HELLO and AUTHENTICATE must come in time, after them any byte is a sign of life
	sign := func() {
		if n >= 2 {
			_ = p.ws.SetReadDeadline(time.Now().Add(s4t.PresenceTimeout)) // fails only where reading does
		}
	}
	_ = p.ws.SetReadDeadline(time.Now().Add(s4t.HandshakeTimeout))
	p.ws.SetReadLimit(maxHandshake)
	p.ws.SetPongHandler(func(string) error { sign(); return nil })
	p.ws.SetPingHandler(func(data string) error {
		sign()
		return p.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(closeWait))
	})
	limit, answers := rate.NewLimiter(messageRate, messageRush), rate.NewLimiter(answerRate, answerRush)
	var last nwamp.ID
	for {
		kind, from, err := p.ws.NextReader()
		if err != nil {
			return err
		}
		if kind != websocket.BinaryMessage {
			return p.refuse("a message is not binary")
		}
		b, err := io.ReadAll(alive{from, sign})
		if err != nil {
			return err
		}
		m, err := decode(b)
		if err != nil {
			return p.refuse(err.Error())
		}
		if id, ok := requestID(m); ok {
			if id <= last {
				return p.refuse(fmt.Sprintf("request %d came after request %d", id, last))
			}
			last = id
		}
		if n++; n == 2 {
			p.ws.SetReadLimit(s4t.MaxMessage)
			sign()
		}
		of := limit
		if isAnswer(m) {
			of = answers
		}
		if of.Wait(p.ctx) != nil {
			return p.ctx.Err()
		}
		select {
		case p.rd <- m:
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
}

// isAnswer reports whether a message answers the cloud, or brings samples.
func isAnswer(m nwamp.Message) bool {
	switch m := m.(type) {
	case *nwamp.Yield:
		return true
	case *nwamp.Error:
		return true
	case *nwamp.Call:
		return strings.HasSuffix(string(m.Procedure), "."+wamp.Samples)
	}
	return false
}

// refuse tells the board what is wrong with what it said.
func (p *peer) refuse(why string) error {
	select {
	case p.wr <- &nwamp.Abort{Reason: nwamp.ErrProtocolViolation, Details: nwamp.Dict{nwamp.OptMessage: why}}:
	default:
	}
	return errors.New(why)
}

// alive tells of every read that brought bytes.
type alive struct {
	io.Reader
	sign func()
}

func (a alive) Read(b []byte) (int, error) {
	n, err := a.Reader.Read(b)
	if n > 0 {
		a.sign()
	}
	return n, err
}

// decode reads one message of a board. The bounds are checked before nexus'
// decoder sees the bytes; a panic of it is the board's error, not ours.
func decode(b []byte) (m nwamp.Message, err error) {
	if err := wamp.Check(b); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("a message cannot be decoded: %v", p)
		}
	}()
	m, err = (&serialize.MessagePackSerializer{}).Deserialize(b)
	if h, ok := m.(*nwamp.Hello); ok {
		h.Details = helloDetails(h.Details)
	}
	return m, err
}

// helloDetails keeps of a HELLO what is used: nexus keeps all of it as long as
// the session lasts, and features of WAMP that boards do not need stay off.
func helloDetails(in nwamp.Dict) nwamp.Dict {
	in = nwamp.NormalizeDict(in)
	out := nwamp.Dict{}
	for _, key := range []string{"authid", "authmethods"} {
		if v, ok := in[key]; ok {
			out[key] = v
		}
	}
	roles := nwamp.Dict{}
	for _, role := range []string{nwamp.RoleCaller, nwamp.RoleCallee, nwamp.RolePublisher, nwamp.RoleSubscriber} {
		r, ok := nwamp.AsDict(nwamp.DictChild(in, "roles")[role])
		if !ok {
			continue
		}
		can, _ := nwamp.AsBool(nwamp.DictChild(r, "features")[nwamp.FeatureCallCanceling])
		roles[role] = nwamp.Dict{"features": nwamp.Dict{nwamp.FeatureCallCanceling: can}}
	}
	out["roles"] = roles
	return out
}

// requestID returns the request id of a request. They grow (WAMP section
// 5.1.2); nexus takes a CALL with an id that is under way for the next part of
// a progressive one.
func requestID(m nwamp.Message) (nwamp.ID, bool) {
	switch m := m.(type) {
	case *nwamp.Call:
		return m.Request, true
	case *nwamp.Register:
		return m.Request, true
	case *nwamp.Unregister:
		return m.Request, true
	case *nwamp.Subscribe:
		return m.Request, true
	case *nwamp.Unsubscribe:
		return m.Request, true
	case *nwamp.Publish:
		return m.Request, true
	}
	return 0, false
}
