package doctor

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// The checks of the control session: the WebSocket, then who the board is.

// sessionTimeout bounds opening a session.
const sessionTimeout = 12 * time.Second

func checkUpgrade(ctx context.Context, x *examination) {
	c, err := x.dialer.Dial(ctx, x.url, wamp.Path, wamp.Subprotocol, "")
	if err != nil {
		x.blame(err)
		return
	}
	c.Close()
	x.ok("WebSockets pass")
	if at, err := x.dialer.Date(ctx, x.url, "/"); err == nil && !at.IsZero() && strings.HasPrefix(x.url, "https:") {
		x.cloudNow = at.Add(-time.Since(x.now)) // at the time of x.now
	}
}

// checkAuth opens a session, or looks at the code of a join string.
func checkAuth(ctx context.Context, x *examination) {
	if x.code != "" {
		x.checkCode(ctx)
		return
	}
	if x.Identity == nil || x.Running != nil { // a second session would pass for a clone
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	c, err := x.dialer.Dial(ctx, x.url, wamp.Path, wamp.Subprotocol, "")
	if err != nil {
		x.blame(err)
		return
	}
	s, _, err := wamp.Join(ctx, wamp.Over(c), wamp.JoinConfig{Board: x.Identity.Board, Key: x.Identity.Key})
	if err != nil {
		x.blame(err)
		return
	}
	s.Close()
	x.ok("the cloud knows this board")
}

// checkCode asks whether the code is good, and uses nothing up.
func (x *examination) checkCode(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return
	}
	var c *rtunnel.Conn
	if c, err = x.dialer.Dial(ctx, x.url, wamp.Path, wamp.Subprotocol, ""); err == nil {
		err = wamp.CheckCode(ctx, wamp.Over(c), wamp.JoinConfig{Code: x.code, Key: key})
	}
	switch {
	case err == nil:
		x.ok("the code is good")
	case wamp.ReasonOf(err) == "":
		x.found(wire.CodeUnchecked, bare(err), "")
	case s4t.KindOf(err) == s4t.Conflict:
		x.found(wire.CodeUsed, "the join string's code was used", "")
	case s4t.KindOf(err) == s4t.Forbidden:
		x.found(wire.CodeExpired, bare(err), "")
	case wamp.ReasonOf(err) == wamp.ErrorURI(s4t.Unauthenticated):
		x.found(wire.CodeUnknown, "the cloud does not know the join string's code", "")
	default:
		x.found(wire.CodeUnchecked, bare(err), "")
	}
}

// DiagnosisOf returns the ID of the diagnosis of an error on the path to a
// session, "" for none.
func DiagnosisOf(err error) string {
	switch {
	case err == nil:
		return ""
	case wamp.ReasonOf(err) == wamp.ReasonCloned:
		return wire.BoardCloned
	case Refused(err):
		return wire.BoardUnknown
	case wamp.ReasonOf(err) == wamp.ReasonShutdown:
		return wire.CloudDown
	}
	return dial.DiagnosisOf(err)
}

// Refused reports whether the cloud turned the board away for a reason that
// does not pass by itself. That the path there does not let the board pass is
// none: it may from one second to the next.
func Refused(err error) bool {
	switch reason := wamp.ReasonOf(err); reason {
	case wamp.ReasonCloned, wamp.ReasonLeft:
		return true
	default:
		return reason != "" && s4t.KindOf(err) == s4t.Unauthenticated
	}
}

// blame makes a finding of an error on the path to a session.
func (x *examination) blame(err error) {
	id := DiagnosisOf(err)
	if id == "" {
		id = wire.BoardRefused
		if e, ok := errors.AsType[*s4t.Error](err); ok && wamp.ReasonOf(err) == "" && (e.Kind == s4t.Unavailable || e.Kind == s4t.Timeout) {
			id = wire.UpgradeCut // it was there a moment ago
		}
	}
	x.found(id, bare(err), "")
}
