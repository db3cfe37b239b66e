package tunnelagent

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// A network that is at several tunnel agents has a switch at each, and an rtunnel
// between each two of them: a peering. Its two ends know of it from their desired
// states; the one whose id is lower dials. An rtunnel carries one network, so that
// what another end may say is decided once, when it is opened, and networks do not
// wait for each other. A message is a byte of [vswitch.Origin], the offload header
// and a frame.

// PeerProtocol is what an agent offers (ALPN, RFC 7301), before http/1.1, that dials
// another one. The listener then asks for its certificate, and agrees on http/1.1.
const PeerProtocol = "s4t-peer"

const (
	firstRedial = 50 * time.Millisecond // after a peering has ended, doubled each time up to lastRedial
	lastRedial  = 5 * time.Second
)

// peers are the ends of peerings.
type peers struct {
	agent *Agent

	mu  sync.Mutex // guards the fields below and those of each peer; Switch.mu may be taken with it held
	all map[string]*peer
}

// peer is this end of a peering. Another network or other end makes another one of
// it.
type peer struct {
	want     wire.TunnelPeer
	network  *network
	stop     context.CancelFunc // of dialling; nil: the other end dials
	attached *attachment        // nil: there is no rtunnel
	problem  error              // why there is none, as far as it is known here

	attachMu sync.Mutex // held while one rtunnel takes the place of another; taken before peers.mu
}

func newPeers(a *Agent) *peers { return &peers{agent: a, all: map[string]*peer{}} }

func peerKey(id string) wire.ResourceKey { return wire.ResourceKey{Kind: wire.KindPeer, ID: id} }

// apply implements reconciler.
func (ps *peers) apply(rd *round, changed []wire.Resource) {
	each(rd, changed, func(id string) { ps.replace(rd, id, nil) }, func(id string, want wire.TunnelPeer) error {
		n, err := ps.agent.networks.of(rd, want.Network, peerKey(id))
		if err != nil {
			ps.replace(rd, id, nil)
			return err
		}
		if p := ps.all[id]; p != nil && p.network == n && p.want == want {
			return nil
		}
		p := &peer{want: want, network: n}
		ps.replace(rd, id, p)
		n.members[peerKey(id)] = struct{}{}
		if !want.Dial {
			return nil
		}
		ctx, cancel := context.WithCancel(rd.lease)
		ps.mu.Lock()
		p.stop = cancel
		ps.mu.Unlock()
		ps.agent.handlers.Go(func() { ps.keepDialling(ctx, id, p) })
		return nil
	})
}

// replace puts p, which may be nil, in the place of a peer, whose rtunnel is cut.
func (ps *peers) replace(rd *round, id string, p *peer) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	old := ps.all[id]
	delete(ps.all, id)
	if p != nil {
		ps.all[id] = p
	}
	if old == nil {
		return
	}
	delete(old.network.members, peerKey(id))
	if old.stop != nil {
		old.stop()
	}
	if at := old.attached; at != nil {
		old.attached = nil
		at.port.Close() // its place on the switch is free for another at once
		rd.end(func() { at.cut("the network is not at both tunnel agents any more") })
	}
}

// state implements reconciler: up while there is an rtunnel.
func (ps *peers) state(id string) (up bool, problem error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.all[id]
	if p == nil {
		return false, nil
	}
	return p.attached != nil, p.problem
}

// wanted reports whether desired state has the peering, and the other end dials.
func (ps *peers) wanted(id string) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.all[id]
	return p != nil && !p.want.Dial
}

// vouch checks the certificate of who dials as the other end of a peering: TLS has
// found that it is the cloud's, here it has to be the other end's. Where a proxy
// ends TLS in front of the agent, the ticket alone says who it is.
func (ps *peers) vouch(r *http.Request, id string) error {
	if r.TLS == nil {
		return nil
	}
	refuse := func(format string, args ...any) error {
		return s4t.Errorf(s4t.Forbidden, "open peering "+id, "give every tunnel agent a certificate for the host of its URL", format, args...)
	}
	if len(r.TLS.PeerCertificates) == 0 {
		return refuse("it came without a certificate")
	}
	ps.mu.Lock()
	p := ps.all[id]
	ps.mu.Unlock()
	if p == nil {
		return refuse("it is not wanted here (any more)")
	}
	u, err := url.Parse(p.want.URL)
	if err == nil {
		err = r.TLS.PeerCertificates[0].VerifyHostname(u.Hostname())
	}
	if err != nil {
		return refuse("its certificate is not that of %s: %w", p.want.Agent, err)
	}
	return nil
}

// keepDialling keeps the rtunnel of a peering until ctx ends.
func (ps *peers) keepDialling(ctx context.Context, id string, p *peer) {
	wait := firstRedial
	for ctx.Err() == nil {
		began := time.Now()
		err := ps.dial(ctx, id, p)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > lastRedial {
			wait = firstRedial
		}
		ps.fail(id, p, err)
		select {
		case <-ctx.Done():
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
		wait = min(2*wait, lastRedial)
	}
}

// fail notes why a peering has no rtunnel.
func (ps *peers) fail(id string, p *peer, err error) {
	if err == nil {
		return // it was there; the next try will say
	}
	ps.mu.Lock()
	p.problem = s4t.Errorf(s4t.KindOf(err), "reach "+string(p.want.Agent), "", "%w", err)
	ps.mu.Unlock()
	ps.agent.changed(peerKey(id))
	ps.agent.strangers.apart.Warn(ps.agent.cfg.Log, "another tunnel agent of a network is not reached; it is tried again", "peer", p.want.Agent, "network", p.want.Network, "err", err)
}

// dial opens an rtunnel to the other end, and serves it until it ends.
func (ps *peers) dial(ctx context.Context, id string, p *peer) error {
	a := ps.agent
	if a.cfg.DialPeer == nil {
		return s4t.Errorf(s4t.Unavailable, "open peering "+id, "", "this tunnel agent dials nobody")
	}
	release, ok := a.cfg.Descriptors.Acquire(1)
	if !ok {
		return fullUp("open peering " + id)
	}
	defer release()
	var ticket wire.TunnelTicket
	if err := a.call(ctx, wire.MethodTunnelTicket, wire.TunnelTicketAsk{Agent: a.cfg.ID, Incarnation: a.incarnation, Peering: id}, &ticket); err != nil {
		return err
	}
	conn, err := a.cfg.DialPeer(ctx, p.want.URL, ticket.Ticket)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	ps.serve(ctx, id, conn)
	return nil
}

// serve keeps conn as the rtunnel of a peering until it ends. It takes the place of
// an older one.
func (ps *peers) serve(ctx context.Context, id string, conn *rtunnel.Conn) {
	a := ps.agent
	p, at, err := ps.attach(id, conn)
	if err != nil {
		a.cfg.Log.Warn("a peering cannot be attached", "peering", id, "err", err)
		conn.CloseWithStatus(rtunnel.StatusPolicy, err.Error())
		return
	}
	a.changed(peerKey(id))
	a.cfg.Log.Info("the switch of another tunnel agent is reached", "peer", p.want.Agent, "network", p.want.Network)
	err = a.carry(ctx, at, 1, func(pkt []byte) {
		if len(pkt) > 0 { // else it is counted as an invalid frame
			at.port.InputFrom(vswitch.Origin(pkt[0]), pkt[1:])
			return
		}
		at.port.Input(pkt)
	})
	ps.mu.Lock()
	if p.attached == at {
		p.attached = nil
	}
	ps.mu.Unlock()
	close(at.done)
	a.changed(peerKey(id))
	a.cfg.Log.Info("the switch of another tunnel agent is not reached any more", "peer", p.want.Agent, "network", p.want.Network, "err", err)
}

// attach puts conn on the switch of a peering.
func (ps *peers) attach(id string, conn *rtunnel.Conn) (*peer, *attachment, error) {
	gone := s4t.Errorf(s4t.Forbidden, "open peering "+id, "", "it is not wanted here (any more)")
	ps.mu.Lock()
	p := ps.all[id]
	ps.mu.Unlock()
	if p == nil {
		return nil, nil, gone
	}
	p.attachMu.Lock()
	defer p.attachMu.Unlock()
	ps.mu.Lock()
	older := p.attached
	ps.mu.Unlock()
	if older != nil {
		older.cut("a newer rtunnel took its place")
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.all[id] != p {
		return nil, nil, gone
	}
	layout := conn.NewLayout()
	port, err := p.network.sw.Add(vswitch.PortConfig{ID: string(p.want.Agent), Out: conn, Peer: &vswitch.PeerConfig{
		CutsLoops: p.want.Dial,
		Layout: func(dst []byte, from vswitch.Origin, pkt []byte) int {
			b := layout.Begin(dst, 1+len(pkt))
			b[0] = byte(from)
			copy(b[1:], pkt)
			return layout.End()
		},
	}})
	if err != nil {
		p.problem = err
		ps.agent.changed(peerKey(id))
		return nil, nil, err
	}
	p.attached, p.problem = &attachment{project: p.network.want.Project, conn: conn, port: port, done: make(chan struct{})}, nil
	return p, p.attached, nil
}
