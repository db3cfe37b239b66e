package cloud

import (
	"context"
	"crypto/tls"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/tunnelagent"
)

const (
	// handshakeRate is how many TLS handshakes a second one source may begin,
	// and handshakeRush how many at once; more wait. A handshake
	// costs half a millisecond of a core: one source cannot take the time that
	// everybody's frames need. A site with 500 boards behind one address is
	// served at once after a restart of the cloud.
	handshakeRate = 500
	handshakeRush = 500
	// maxRemembered is how many sources are remembered.
	maxRemembered = 4096
)

// handshakes has the TLS handshakes of a source wait where they are too many.
type handshakes struct {
	now  func() time.Time
	gate *gate              // for boards that want a session
	peer func() *tls.Config // for other tunnel agents; optional

	mu      sync.Mutex // guards sources
	sources map[netip.Prefix]*rate.Limiter
}

func newHandshakes(g *gate) *handshakes {
	return &handshakes{now: time.Now, gate: g, sources: map[netip.Prefix]*rate.Limiter{}}
}

// admit is [tls.Config.GetConfigForClient]: it is called when the client's
// first message is there, before anything is computed for it. What the client
// offers (ALPN, RFC 7301) says what it is: who offers h2 is a user, who offers
// nothing opens an rtunnel, another tunnel agent offers its own, and who offers http/1.1 alone is a board that wants a
// session. Who says something else than he is comes under the bounds of his
// source, as before.
func (h *handshakes) admit(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	h.gate.unread.read(hello.Conn)
	source := sourceOf(hello.Conn.RemoteAddr())
	if err := h.wait(hello.Context(), source); err != nil {
		return nil, err
	}
	if h.peer != nil && slices.Contains(hello.SupportedProtos, tunnelagent.PeerProtocol) {
		return h.peer(), nil
	}
	if wantsSession(hello.SupportedProtos) {
		return nil, h.gate.enter(hello.Context(), hello.Conn, source)
	}
	return nil, nil
}

// wait returns when a source may begin one more.
func (h *handshakes) wait(ctx context.Context, source netip.Prefix) error {
	reserved := h.of(source).ReserveN(h.now(), 1)
	delay := reserved.DelayFrom(h.now())
	switch {
	case delay == 0:
		return nil
	case delay > silenceTimeout:
		reserved.CancelAt(h.now())
		return s4t.Errorf(s4t.TooMany, "begin TLS", "", "too many handshakes of one source")
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// of returns the limiter of a source. Who is forgotten begins afresh: that is
// for the benefit of an attacker with thousands of addresses only.
func (h *handshakes) of(source netip.Prefix) *rate.Limiter {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.sources[source]
	if l != nil {
		return l
	}
	if len(h.sources) >= maxRemembered {
		now := h.now()
		for s, l := range h.sources {
			if l.TokensAt(now) >= handshakeRush {
				delete(h.sources, s)
			}
		}
		for s := range h.sources { // in random order
			if len(h.sources) < maxRemembered {
				break
			}
			delete(h.sources, s)
		}
	}
	l = rate.NewLimiter(handshakeRate, handshakeRush)
	h.sources[source] = l
	return l
}
