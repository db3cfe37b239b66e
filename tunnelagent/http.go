package tunnelagent

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/accept"
	"github.com/stack4things/s4t/wire"
)

// purposeOf says which ticket each subprotocol takes.
var purposeOf = map[string]string{
	rtunnel.SubprotocolPort:    wire.PurposePort,
	rtunnel.SubprotocolStreams: wire.PurposeStreams,
	rtunnel.SubprotocolStream:  wire.PurposeStream,
	rtunnel.SubprotocolBundle:  wire.PurposeBundle,
	rtunnel.SubprotocolPeer:    wire.PurposePeer,
}

// ServeHTTP serves [rtunnel.Path]. Who comes is told why not in the HTTP
// answer, or gets the upgrade and is served until the rtunnel ends. It returns
// after the upgrade, so that what net/http holds of the request, 15 KB, is not
// held for as long as the rtunnel lives.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := a.enter()
	if ctx == nil {
		accept.Refuse(w, s4t.Errorf(s4t.Unavailable, "open an rtunnel", "try again in a moment", "the tunnel agent is starting or stopping"))
		return
	}
	proto, err := accept.Subprotocol(r, []string{rtunnel.SubprotocolPort, rtunnel.SubprotocolStreams, rtunnel.SubprotocolStream, rtunnel.SubprotocolBundle, rtunnel.SubprotocolPeer})
	if err != nil {
		a.handlers.Done()
		accept.Refuse(w, err)
		return
	}
	text := strings.Clone(accept.Bearer(r))
	t, err := a.admit(ctx, text, purposeOf[proto])
	if err == nil && t.Purpose == wire.PurposeStream && t.Origin != r.Header.Get("Origin") {
		err = s4t.Errorf(s4t.Forbidden, "open a stream", "open it from the page that asked for the ticket", "another page asks for it")
	}
	if err == nil && t.Purpose == wire.PurposePeer {
		err = a.peers.vouch(r, t.Peering)
	}
	if err != nil {
		a.handlers.Done()
		a.strangers.refused.Info(a.cfg.Log, "an rtunnel was refused", "peer", r.RemoteAddr, "board", t.Board, "err", err)
		accept.Refuse(w, err)
		return
	}
	release, ok := a.cfg.Descriptors.Acquire(1)
	if !ok {
		a.handlers.Done()
		err := fullUp("open an rtunnel")
		a.strangers.refused.Info(a.cfg.Log, "an rtunnel was refused", "peer", r.RemoteAddr, "board", t.Board, "err", err)
		accept.Refuse(w, err)
		return
	}
	done := func() {
		release()
		a.handlers.Done()
	}
	conn, _, err := accept.Accept(w, r, []string{proto})
	if err != nil {
		done()
		a.strangers.broken.Info(a.cfg.Log, "an rtunnel did not come about", "peer", r.RemoteAddr, "board", t.Board, "err", err)
		return
	}
	go a.serve(ctx, t, text, conn, done)
}

// serve serves an rtunnel until it ends, and calls done.
func (a *Agent) serve(ctx context.Context, t wire.Ticket, text string, conn *rtunnel.Conn, done func()) {
	if t.Purpose == wire.PurposeStreams {
		a.streams.keep(ctx, t.Board, conn, done)
		return
	}
	defer done()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	switch t.Purpose {
	case wire.PurposePort:
		a.ports.serve(ctx, t.Port, conn)
	case wire.PurposeStream:
		if t.Lease != "" {
			leased, done := a.streams.whileLeased(ctx, t.Board, t.Lease)
			defer done()
			defer context.AfterFunc(leased, func() { conn.Close() })()
			ctx = leased
		}
		a.serveStream(ctx, t, text, conn)
	case wire.PurposeBundle:
		a.bundles.serve(ctx, t, conn)
	case wire.PurposePeer:
		a.peers.serve(ctx, t.Peering, conn)
	}
}

// admit decides whether a ticket opens an rtunnel now, and uses it. The ticket
// is returned with an error too, as far as it is known to be ours.
func (a *Agent) admit(ctx context.Context, text, purpose string) (wire.Ticket, error) {
	now := time.Now()
	t, err := a.ticket(text, purpose, now)
	if err != nil {
		return t, err
	}
	switch purpose {
	case wire.PurposePort:
		err = a.await(ctx, t, "attach port "+string(t.Port), "the board has no such port here (any more)",
			func() bool { return a.ports.wanted(t.Port, t.Board) })
	case wire.PurposeStreams:
		err = a.await(ctx, t, "wait for streams of board "+string(t.Board), "the board's streams are not here (any more)",
			func() bool { return a.streams.wanted(t.Board) })
	case wire.PurposeStream:
		if t.Lease != "" {
			err = a.await(ctx, t, "open a stream of board "+string(t.Board), "the lease that it is by is over",
				func() bool { return a.streams.leased(t.Board, t.Lease) })
		}
		if t.Lease == "" && t.Project != "" && !a.streams.ofProject(t.Board, t.Project) {
			err = s4t.Errorf(s4t.Forbidden, "open a stream of board "+string(t.Board), "", "the board has another owner")
		}
	case wire.PurposePeer:
		err = a.await(ctx, t, "open peering "+t.Peering, "the peering is not here (any more)", func() bool { return a.peers.wanted(t.Peering) })
	}
	if err != nil {
		return t, err
	}
	return t, a.used.Use(t, now)
}

// ticket verifies a ticket for purpose at this agent. It is not used yet.
func (a *Agent) ticket(text, purpose string, now time.Time) (wire.Ticket, error) {
	const op = "open an rtunnel"
	a.mu.Lock()
	key := a.key
	a.mu.Unlock()
	if text == "" {
		return wire.Ticket{}, s4t.Errorf(s4t.Unauthenticated, op, "send a ticket as Authorization: Bearer TICKET", "there is no ticket")
	}
	t, err := wire.VerifyTicket(key, text, now)
	if err != nil {
		return wire.Ticket{}, err
	}
	if t.Agent != a.cfg.ID {
		return wire.Ticket{}, s4t.Errorf(s4t.Forbidden, op, "ask for a new one", "the ticket is for another tunnel agent")
	}
	if t.Incarnation != "" && t.Incarnation != a.incarnation {
		return wire.Ticket{}, s4t.Errorf(s4t.Forbidden, op, "ask for a new one", "the ticket is from before the tunnel agent was started")
	}
	if t.Purpose != purpose {
		return wire.Ticket{}, s4t.Errorf(s4t.Forbidden, op, "ask for another one", "the ticket is for the purpose %q, not %q", t.Purpose, purpose)
	}
	return t, nil
}

// maxAwaits is for how many tickets of one board at a time desired state is
// asked for.
const maxAwaits = 8

// maxPeerAwaits is the same of all other tunnel agents: there may be a peering of
// each network.
const maxPeerAwaits = 256

// awaits are the tickets of each board for which desired state is asked for.
type awaits struct {
	mu     sync.Mutex // guards boards
	boards map[s4t.BoardID]int
}

// enter counts one more, and reports whether there is room for it. Other tunnel
// agents, who are no board, share one place of maxPeerAwaits.
func (w *awaits) enter(board s4t.BoardID) bool {
	most := maxAwaits
	if board == "" {
		most = maxPeerAwaits
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.boards[board] >= most {
		return false
	}
	if w.boards == nil {
		w.boards = map[s4t.BoardID]int{}
	}
	w.boards[board]++
	return true
}

// leave counts one less.
func (w *awaits) leave(board s4t.BoardID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.boards[board]--; w.boards[board] == 0 {
		delete(w.boards, board)
	}
}

// await returns nil when desired state has what a ticket is for. A board may
// be faster than our wake-up, so what is not known is asked for once. A ticket
// for what is gone is used up: it is not asked for again.
func (a *Agent) await(ctx context.Context, t wire.Ticket, op, gone string, wanted func() bool) error {
	if wanted() {
		return nil
	}
	if !a.awaits.enter(t.Board) {
		return s4t.Errorf(s4t.TooMany, op, "try again in a moment", "the board has %d tickets for what is not here (yet)", maxAwaits).After(time.Second)
	}
	defer a.awaits.leave(t.Board)
	ctx, cancel := context.WithTimeout(ctx, portGrace)
	defer cancel()
	err := a.refetch(ctx)
	if wanted() {
		return nil
	}
	if err != nil {
		return s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "the conductor does not answer")
	}
	if err := a.used.Use(t, time.Now()); err != nil {
		return err
	}
	return s4t.Errorf(s4t.Forbidden, op, "", "%s", gone)
}

// hostOf returns the host of a URL.
func hostOf(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Hostname() == "" {
		return "", s4t.Errorf(s4t.Invalid, "make a tunnel agent", "use https://HOST:PORT", "%q is not a URL", rawURL)
	}
	return u.Hostname(), nil
}
