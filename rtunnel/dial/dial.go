package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/sockopt"
	"github.com/stack4things/s4t/wire"
)

// Config configures a [Dialer]. The zero value dials directly and trusts
// the system's roots.
type Config struct {
	CA          []byte // PEM, one or more certificates: the only CAs that are trusted; the local clock is then not believed. See [Dialer.Trust]
	SystemRoots bool   // with CA or Fingerprint: what the system trusts, too
	Fingerprint string // SHA-256 of a CA certificate's DER, hex: trusts the CA of that fingerprint that the server sends, besides CA
	ExtraCA     []byte // PEM: trusted in addition, for the cloud and for an https:// proxy; of a proxy that re-signs TLS, which may then read all of it

	Proxy        string              // http://[user:password@]host:port or https://...; wins over the environment
	DefaultProxy string              // used where neither Proxy nor the environment names one
	Env          func(string) string // for HTTPS_PROXY, HTTP_PROXY, NO_PROXY; default os.Getenv

	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)                // default: the system's resolver
	Control func(ctx context.Context, network, address string, c syscall.RawConn) error // called on each socket before it connects, after our own options

	Timeout time.Duration // of one Dial from name to upgraded connection; default 15 s
	Stall   time.Duration // a TLS handshake without progress for this long (or 8 round trips) is taken for a path that drops big packets; default 1.5 s
	// OneTry has a stalled handshake end its dial, and the next dial try smaller
	// segments: for who dials again and again, so that a cloud which is busy has
	// not several handshakes of each of many boards.
	OneTry bool
	// Classical has WebSockets without a ticket agree on keys by X25519 alone, at
	// half the cost of the hybrid with ML-KEM for both ends, and a quarter of the
	// memory that the cloud keeps of a handshake: for a board's control sessions,
	// of which a cloud has many. Who records them now and has a quantum computer one
	// day reads them then.
	Classical bool
	// Protocol is what is offered (ALPN) before http/1.1, and Certificate what is
	// shown to a server that then asks for one: by processes of the cloud that dial
	// each other.
	Protocol    string
	Certificate func() *tls.Certificate
	Now         func() time.Time
	Log         *slog.Logger // default discards
}

// Dialer opens connections to the cloud: name to addresses, addresses to TCP
// (both families at once, RFC 8305), through an HTTP proxy where one is
// configured, TLS with the cloud's own CA, and the WebSocket upgrade. It is
// safe for concurrent use, and remembers per host which segment size got
// through and what the proxy wants.
type Dialer struct {
	cfg   Config
	extra *x509.CertPool // the system's and ExtraCA; nil: the system's

	mu      sync.Mutex // guards the fields below; nothing is locked, dialled or resolved under it
	trusted trust
	ca      *x509.Certificate
	tls     map[tlsKey]*tls.Config // a connection keeps its own otherwise
	paths   map[string]pathMemory
	auth    map[string]*proxyAuth // by proxy host:port
}

// New checks cfg and returns a Dialer.
func New(cfg Config) (*Dialer, error) {
	if cfg.Env == nil {
		cfg.Env = os.Getenv
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 15 * time.Second
	}
	if cfg.Stall == 0 {
		cfg.Stall = 1500 * time.Millisecond
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &Dialer{cfg: cfg, tls: map[tlsKey]*tls.Config{}, paths: map[string]pathMemory{}, auth: map[string]*proxyAuth{}}
	if err := d.Trust(cfg.CA, cfg.SystemRoots); err != nil {
		return nil, err
	}
	d.loadExtra()
	for _, p := range []string{cfg.Proxy, cfg.DefaultProxy} {
		if _, err := parseProxy(p); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// CA returns the certificate that matched [Config.Fingerprint] in the
// last handshake, or nil. A join keeps it, so that later dials are pinned to it.
func (d *Dialer) CA() *x509.Certificate {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ca
}

// target is a parsed URL of the cloud.
type target struct {
	url    string // as given, for errors
	host   string // without brackets
	tcp    string // TCP number as text
	below  string // path that a reverse proxy has put the cloud at: "" or "/s4t"
	secure bool
}

func (t target) addr() string { return net.JoinHostPort(t.host, t.tcp) }

// parseTarget accepts http, https, ws and wss URLs.
func parseTarget(rawURL string) (target, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Hostname() == "" {
		return target{}, s4t.Errorf(s4t.Invalid, "dial the cloud", "use https://HOST:PORT", "%q is not a URL", rawURL)
	}
	t := target{url: u.Scheme + "://" + u.Host, host: u.Hostname(), tcp: u.Port(), below: strings.TrimRight(u.EscapedPath(), "/")}
	switch u.Scheme {
	case "https", "wss":
		t.secure = true
	case "http", "ws":
	default:
		return target{}, s4t.Errorf(s4t.Invalid, "dial the cloud", "use https://HOST:PORT", "%q is not an http(s) URL", rawURL)
	}
	if t.tcp == "" {
		t.tcp = "80"
		if t.secure {
			t.tcp = "443"
		}
	}
	return t, nil
}

// route is how a target is reached, as far as it is known before it is tried.
type route struct {
	target
	proxy    *proxy        // nil: none
	hop      string        // HOST:PORT that our own TCP connection goes to
	sizes    []int         // of TCP segments, to be tried one after the other
	patience time.Duration // for a TLS handshake
	use      use           // what the connection is for
}

func (d *Dialer) route(rawURL string) (r route, err error) {
	if r.target, err = parseTarget(rawURL); err != nil {
		return r, err
	}
	if r.proxy, err = d.proxyFor(r.target); err != nil {
		return r, err
	}
	r.hop = r.addr()
	if r.proxy != nil {
		r.hop = r.proxy.addr()
	}
	r.sizes, r.patience = d.pathTo(r.hop)
	return r, nil
}

// Direct reports whether rawURL is dialled without an HTTP proxy: what the kernel
// finds out of the path is then true for all of it.
func (d *Dialer) Direct(rawURL string) bool {
	r, err := d.route(rawURL)
	return err == nil && r.proxy == nil
}

// DialTLS opens a connection to rawURL below HTTP: TCP, the proxy if there is
// one, and TLS (none for http://). Where the path drops big packets silently
// the handshake stalls, and it is tried again with smaller TCP segments.
func (d *Dialer) DialTLS(ctx context.Context, rawURL string) (net.Conn, error) {
	return d.dialTLS(ctx, rawURL, other)
}

func (d *Dialer) dialTLS(ctx context.Context, rawURL string, u use) (net.Conn, error) {
	r, err := d.route(rawURL)
	if err != nil {
		return nil, err
	}
	r.use = u
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	for i, mss := range r.sizes {
		c, err := d.dialOnce(ctx, r, mss)
		if err == nil {
			d.remember(r.hop, mss)
			return c, nil
		}
		if !errors.Is(err, errStalled) {
			return nil, err
		}
		if i+1 < len(r.sizes) {
			if d.cfg.OneTry {
				d.next(r.hop, r.sizes[i+1])
				return nil, diagnose(wire.TLSSilent, s4t.Errorf(s4t.Timeout, "dial "+r.url, "it is tried again with smaller segments",
					"TCP connects but the TLS handshake gets no answer"))
			}
			d.cfg.Log.Info("TLS handshake stalls; trying smaller segments", "peer", r.hop, "mss", r.sizes[i+1])
		}
	}
	d.stalled(r.hop)
	return nil, diagnose(wire.TLSSilent, s4t.Errorf(s4t.Timeout, "dial "+r.url, "the path drops packets, or the server is overloaded",
		"TCP connects but the TLS handshake gets no answer, with segments of any size"))
}

// dialOnce makes one attempt with one segment size.
func (d *Dialer) dialOnce(ctx context.Context, r route, mss int) (net.Conn, error) {
	op := "dial " + r.url
	var c net.Conn
	var err error
	if r.proxy != nil {
		c, err = d.dialProxy(ctx, op, r.proxy, r.addr(), mss, r.patience)
	} else {
		c, err = d.dialTCP(ctx, op, r.host, r.tcp, mss)
	}
	if err != nil || !r.secure {
		return c, err
	}
	tc, err := d.handshakeTLS(ctx, op, c, r.host, d.tlsFor(op, r.target, r.use), r.patience)
	if err != nil {
		c.Close()
		return nil, err
	}
	return tc, nil
}

// A handshake is looked at for bytes of ours that do not get through: it is known
// sooner than that nothing comes, but not before the kernel sent them again twice,
// after 200 and 400 ms at the soonest.
const (
	pollAfter    = 550 * time.Millisecond
	pollInterval = 100 * time.Millisecond
)

// ErrTurn marks the refusal of a cloud that takes no more boards at this moment and
// has told this one its turn (RetryAfter), which no other board has.
var ErrTurn = errors.New("the cloud takes no more boards at this moment")

// errStalled marks a handshake that made no progress after TCP connected.
var errStalled = errors.New("no progress")

// handshakeTLS runs the client handshake over c, and fails with errStalled
// when nothing at all arrives for patience or 8 round trips.
func (d *Dialer) handshakeTLS(ctx context.Context, op string, c net.Conn, host string, cfg *tls.Config, patience time.Duration) (*tls.Conn, error) {
	watched := &progressConn{Conn: rtunnel.BatchRecords(c), progress: make(chan struct{}, 1)}
	tc := tls.Client(watched, cfg)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience = max(patience, 8*sockopt.RoundTrip(c))
	var watch sync.WaitGroup
	done := make(chan struct{})
	watch.Go(func() {
		t := time.NewTimer(patience)
		defer t.Stop()
		poll := time.NewTimer(pollAfter)
		defer poll.Stop()
		for {
			select {
			case <-done:
				return
			case <-watched.progress:
				t.Reset(patience)
				continue
			case <-poll.C:
				if !sockopt.Unheard(c) {
					poll.Reset(pollInterval)
					continue
				}
			case <-t.C:
			}
			cancel(errStalled)
			return
		}
	})
	err := tc.HandshakeContext(ctx)
	close(done)
	watch.Wait()
	if err == nil {
		watched.quiet.Store(true)
		return tc, nil
	}
	if after, ok := turnedAway(err, watched); ok && !errors.Is(context.Cause(ctx), errStalled) {
		e := s4t.Errorf(s4t.Unavailable, op, "it is tried again then", "%w", ErrTurn).After(after)
		return nil, diagnose(wire.CloudDown, e)
	}
	forget(cfg)
	if errors.Is(context.Cause(ctx), errStalled) {
		return nil, errStalled
	}
	return nil, tlsError(op, host, err)
}

// dialTCP connects to host:tcpPort, trying the addresses of both families in
// turn, a new one every 250 ms (RFC 8305 section 5), and keeps the first that
// answers.
func (d *Dialer) dialTCP(ctx context.Context, op, host, tcpPort string, mss int) (net.Conn, error) {
	addrs, err := d.resolve(ctx, op, host)
	if err != nil {
		return nil, err
	}
	nd := net.Dialer{KeepAliveConfig: keepAlive, ControlContext: func(ctx context.Context, network, address string, c syscall.RawConn) error {
		if err := sockopt.SetSegmentSize(c, mss); err != nil {
			return err
		}
		if d.cfg.Control != nil {
			return d.cfg.Control(ctx, network, address, c)
		}
		return nil
	}}
	more, stop := d.renew(ctx, op, host, addrs)
	defer stop()
	c, err := race(ctx, addrs, more, func(ctx context.Context, a netip.Addr) (net.Conn, error) {
		return nd.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), tcpPort))
	})
	if err != nil {
		return nil, dialError(ctx, op, net.JoinHostPort(host, tcpPort), err)
	}
	return c, nil
}

// keepAlive finds a dead peer of an idle connection within 35 s; Go's own
// default takes 150 s.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 20 * time.Second, Interval: 5 * time.Second, Count: 3}

// renewInterval is how long after it was asked DNS is asked again, while
// nobody answers at what it said.
const renewInterval = 1500 * time.Millisecond

// renew asks DNS again for as long as a race takes, and gives what it says
// now: a cloud that moved must not be waited for where it was. The caller
// stops it.
func (d *Dialer) renew(ctx context.Context, op, host string, known []netip.Addr) (more <-chan netip.Addr, stop func()) {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	found, done := make(chan netip.Addr), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(renewInterval)
		defer tick.Stop()
		seen := slices.Clone(known)
		for len(seen) < 2*maxAddrs {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			addrs, _ := d.resolve(ctx, op, host) // what it said before stays
			for _, a := range addrs {
				if slices.Contains(seen, a) {
					continue
				}
				seen = append(seen, a)
				select {
				case found <- a:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return found, func() { cancel(); <-done }
}

// maxAddrs is how many addresses of a name are tried.
const maxAddrs = 16

// resolve returns the addresses of host, IPv6 and IPv4 alternating, each
// family shuffled so that boards spread over several addresses.
func (d *Dialer) resolve(ctx context.Context, op, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := d.cfg.Resolve(ctx, host)
	if err != nil || len(addrs) == 0 {
		if err == nil {
			err = errors.New("no address")
		}
		return nil, diagnose(wire.DNSFailing, s4t.Errorf(s4t.Unavailable, op, "check the name and this machine's DNS server", "the name %q cannot be resolved: %w", host, err))
	}
	var six, four []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	for _, f := range [][]netip.Addr{six, four} {
		rand.Shuffle(len(f), func(i, j int) { f[i], f[j] = f[j], f[i] })
	}
	var all []netip.Addr
	for len(six)+len(four) > 0 && len(all) < maxAddrs {
		if len(six) > 0 {
			all, six = append(all, six[0]), six[1:]
		}
		if len(four) > 0 {
			all, four = append(all, four[0]), four[1:]
		}
	}
	return all, nil
}
