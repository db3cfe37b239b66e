package tunnelagent

import (
	"context"
	"net/http"
	"net/url"
	"strings"
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
	proto, err := accept.Subprotocol(r, []string{rtunnel.SubprotocolPort, rtunnel.SubprotocolStreams, rtunnel.SubprotocolStream})
	if err != nil {
		a.doors.Done()
		accept.Refuse(w, err)
		return
	}
	text := strings.Clone(accept.Bearer(r))
	t, err := a.admit(ctx, text, purposeOf[proto])
	if err != nil {
		a.doors.Done()
		a.cfg.Log.Info("an rtunnel was refused", "peer", r.RemoteAddr, "board", t.Board, "err", err)
		accept.Refuse(w, err)
		return
	}
	conn, _, err := accept.Accept(w, r, []string{proto})
	if err != nil {
		a.doors.Done()
		a.cfg.Log.Info("an rtunnel did not come about", "peer", r.RemoteAddr, "board", t.Board, "err", err)
		return
	}
	go a.serve(ctx, t, text, conn)
}

// serve serves an rtunnel until it ends. enter has counted it.
func (a *Agent) serve(ctx context.Context, t wire.Ticket, text string, conn *rtunnel.Conn) {
	if t.Purpose == wire.PurposeStreams {
		a.opener.Keep(ctx, t.Board, conn, func(error) { a.doors.Done() })
		return
	}
	defer a.doors.Done()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	switch t.Purpose {
	case wire.PurposePort:
		a.servePort(ctx, t.Port, conn)
	case wire.PurposeStream:
		a.serveStream(ctx, t, text, conn)
	}
}

// admit decides whether a ticket opens an rtunnel now, and spends it. The
// ticket is returned with an error too, as far as it is known to be ours.
func (a *Agent) admit(ctx context.Context, text, purpose string) (wire.Ticket, error) {
	now := time.Now()
	t, err := a.ticket(text, purpose, now)
	if err != nil {
		return t, err
	}
	if purpose == wire.PurposePort {
		if err := a.awaitPort(ctx, t); err != nil {
			return t, err
		}
	}
	return t, a.spent.use(t, now)
}

// awaitPort returns nil when the ticket's port is in desired state. A board
// may be faster than our wake-up, so a port that is not known is asked for
// once.
func (a *Agent) awaitPort(ctx context.Context, t wire.Ticket) error {
	if a.hasPort(t) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, comeFirst)
	defer cancel()
	err := a.refetch(ctx)
	if a.hasPort(t) {
		return nil
	}
	if err != nil {
		return s4t.Errorf(s4t.Unavailable, "attach port "+string(t.Port), "try again in a moment", "the conductor does not answer")
	}
	return s4t.Errorf(s4t.Forbidden, "attach port "+string(t.Port), "", "the board has no such port here (any more)")
}

// hasPort reports whether desired state has the port of t for the board of t.
func (a *Agent) hasPort(t wire.Ticket) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.ports[t.Port]
	return p != nil && p.want.Board == t.Board
}

// hostOf returns the host of a URL.
func hostOf(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Hostname() == "" {
		return "", s4t.Errorf(s4t.Invalid, "make a tunnel agent", "use https://HOST:PORT", "%q is not a URL", rawURL)
	}
	return u.Hostname(), nil
}
