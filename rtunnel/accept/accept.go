// Package accept is the server's side of an rtunnel's opening handshake. It is
// a room of its own so that a board, which never accepts, does not link
// net/http.
package accept

import (
	"encoding/base64"
	"iter"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wire"
)

// Bearer returns the ticket or token of a request: of its Authorization header, or, as browsers
// say it, of a subprotocol that begins with [rtunnel.TicketPrefix]; "" if there is none.
func Bearer(r *http.Request) string {
	if scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(value)
	}
	for offered := range offers(r) {
		if text, ok := strings.CutPrefix(offered, rtunnel.TicketPrefix); ok {
			ticket, err := base64.RawURLEncoding.DecodeString(text)
			if err != nil {
				return ""
			}
			return string(ticket)
		}
	}
	return ""
}

// offers are the subprotocols that a request offers.
func offers(r *http.Request) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
			for offered := range strings.SplitSeq(line, ",") {
				if !yield(strings.TrimSpace(offered)) {
					return
				}
			}
		}
	}
}

// Subprotocol checks that r asks for a WebSocket upgrade (RFC 6455 section
// 4.2.1) and returns the first of the subprotocols it offers that is in ours.
func Subprotocol(r *http.Request, ours []string) (string, error) {
	const op = "accept a WebSocket"
	bad := func(format string, args ...any) (string, error) {
		return "", s4t.Errorf(s4t.Invalid, op, "use a WebSocket client, over HTTP/1.1", format, args...)
	}
	switch {
	case r.ProtoMajor != 1 || r.Method != http.MethodGet:
		return bad("it is %s over %s, not GET over HTTP/1.1", r.Method, r.Proto)
	case !hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", "websocket"):
		return bad("no upgrade to websocket is asked for")
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return bad("the WebSocket version is not 13")
	case len(r.Header.Get("Sec-WebSocket-Key")) != 24:
		return bad("the Sec-WebSocket-Key is not 16 bytes in base64")
	}
	for offered := range offers(r) {
		if slices.Contains(ours, offered) {
			return offered, nil
		}
	}
	return bad("none of the subprotocols %s is offered", strings.Join(ours, ", "))
}

// Accept answers r with the upgrade to the subprotocol that [Subprotocol]
// chooses of ours, and returns the connection, which is then the caller's.
// After an error the request has been answered.
func Accept(w http.ResponseWriter, r *http.Request, ours []string) (*rtunnel.Conn, string, error) {
	proto, err := Subprotocol(r, ours)
	if err != nil {
		Refuse(w, err)
		return nil, "", err
	}
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		err := s4t.Errorf(s4t.Internal, "accept a WebSocket", "", "the HTTP server cannot hand over its connection")
		Refuse(w, err)
		return nil, "", err
	}
	c, rw, err := hijacker.Hijack()
	if err != nil {
		return nil, "", s4t.Errorf(s4t.Internal, "accept a WebSocket", "", "%w", err)
	}
	c.SetDeadline(time.Now().Add(s4t.HandshakeTimeout))
	_, err = c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + rtunnel.AcceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n" +
		"Sec-WebSocket-Protocol: " + proto + "\r\n\r\n"))
	if err != nil {
		c.Close()
		return nil, "", s4t.Errorf(s4t.Unavailable, "accept a WebSocket", "", "%w", err)
	}
	c.SetDeadline(time.Time{})
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	return rtunnel.NewConn(c, early, false), proto, nil
}

// Refuse answers a request that is not upgraded: the status of err's kind, and
// err's text as one line, without what only the log may know.
func Refuse(w http.ResponseWriter, err error) {
	e := wire.FromError(err)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Connection", "close")
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	w.WriteHeader(wire.HTTPStatus(e.Kind)) // dial.Dialer maps it back
	w.Write([]byte(e.Err().Error() + "\n"))
}

// hasToken reports whether a comma-separated field holds token, in any case.
func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
