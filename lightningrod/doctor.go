package lightningrod

import (
	"cmp"
	"context"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wire"
)

// DoctorConfig says what to examine.
type DoctorConfig struct {
	State  string // optional: default DefaultState
	Target string // optional: a join string or a URL of a cloud; default: the cloud of the identity
	Proxy  string // optional: HTTP proxy URL; default is the environment's, then the identity's

	ExtraCA []byte // optional: PEM, trusted in addition, as JoinConfig.ExtraCA is
}

// check is one thing that may stand in the way. It appends what it found; a
// check that has nothing to look at finds nothing. A cause is Certain only
// where nothing else explains what was seen.
type check struct {
	name string
	run  func(ctx context.Context, x *examination)
}

// checks are in the order in which a connection would fail. Those of the way
// to the cloud stop at the first error: what comes after would only repeat it.
func checks() []check {
	return []check{
		{"state", checkState},
		{"agent", checkAgent},
		{"port", checkPorts},
		{"disk", checkDisk},
		{"networks", checkNetworks},
		{"proxy", onTheWay(checkProxy)},
		{"link", onTheWay(checkLink)},
		{"dns", onTheWay(checkDNS)},
		{"tcp", onTheWay(checkTCP)},
		{"tls", onTheWay(checkTLS)},
		{"mtu", onTheWay(checkMTU)},
		{"upgrade", onTheWay(checkUpgrade)},
		{"auth", onTheWay(checkAuth)},
		{"clock", checkClock}, // last: the way to the cloud tells its time
	}
}

// examination is what the checks know so far.
type examination struct {
	dir      stateDir
	id       *Identity          // nil: not joined, not readable, or the question is about another cloud
	code     string             // of a join string; "": none was given
	running  *Status            // nil: no lightning-rod runs on the state
	caps     *link.Capabilities // nil: to be probed
	now      time.Time          // of this board
	cloudNow time.Time          // zero: not known
	look     func() (link.Survey, error)
	resolv   string // path of resolv.conf

	url     string // of the cloud; "": not known
	host    string
	tcpPort string
	dialer  *dial.Dialer // nil: not on the way to a cloud
	bare    bool         // a URL was given that says nothing of its CA
	proxy   string       // host:port; "": none
	blocked bool         // an error on the way was found
	addrs   []netip.Addr // of the next hop, as far as it was a name

	mu      sync.Mutex // guards segment
	segment int        // the TCP segment size of the last connection; 0: what the kernel thinks

	check    string
	findings []wire.Finding
}

func (x *examination) ok(cause string) {
	x.findings = append(x.findings, wire.Finding{Check: x.check, Level: wire.LevelOK, Cause: cause, Certain: true})
}

// found is a diagnosis with what was seen in this case. cure may be empty: the
// diagnosis has one.
func (x *examination) found(id, cause, cure string) {
	x.findings = append(x.findings, wire.NewFinding(id, cause, cure))
}

// likely is found where something else may explain what was seen.
func (x *examination) likely(id, cause, cure string) {
	x.found(id, cause, cure)
	x.findings[len(x.findings)-1].Certain = false
}

// onTheWay makes a check of the way to the cloud.
func onTheWay(run func(context.Context, *examination)) func(context.Context, *examination) {
	return func(ctx context.Context, x *examination) {
		if x.dialer == nil || x.blocked {
			return
		}
		before := len(x.findings)
		run(ctx, x)
		for i := before; i < len(x.findings); i++ {
			f := &x.findings[i]
			x.blocked = x.blocked || f.Level == wire.LevelError || f.ID == wire.CAUnknown
			if f.Level == wire.LevelError && x.running != nil && x.running.Connected {
				f.Level, f.Certain, f.Cure = wire.LevelWarning, false, otherWay
			}
		}
	}
}

// otherWay is what to do about an obstacle that lightning-rod does not meet.
const otherWay = "nothing, for now: lightning-rod itself is connected, perhaps through a proxy of its own environment; give the doctor the same HTTPS_PROXY"

// Doctor says what stands between this board and the cloud: one or more
// findings a check, in the order in which a connection would fail. It changes
// nothing and uses up no code.
func Doctor(ctx context.Context, cfg DoctorConfig) ([]wire.Finding, error) {
	if cfg.State == "" {
		cfg.State = DefaultState
	}
	x := &examination{dir: stateDir(cfg.State), now: time.Now(), look: link.Look, resolv: "/etc/resolv.conf"}
	if id, err := x.dir.identity(); err == nil {
		x.id = &id
		var s Status
		if x.dir.ask(ctx, askStatus, &s) == nil {
			x.running = &s
		}
	}
	if err := x.aim(cfg); err != nil {
		return nil, err
	}
	return x.examine(ctx, checks()), nil
}

// aim settles where the cloud is and whom to trust.
func (x *examination) aim(cfg DoctorConfig) error {
	to := dial.Config{Proxy: cfg.Proxy, ExtraCA: cfg.ExtraCA, Timeout: 8 * time.Second, Control: x.watchSegments}
	switch {
	case strings.Contains(cfg.Target, "://"):
		x.url, x.bare = cfg.Target, true
		if x.id != nil && slices.Contains(x.id.URLs, strings.TrimSuffix(cfg.Target, "/")) {
			x.bare = false
			x.id.trust(&to)
		}
		x.id = nil // another cloud's business
	case cfg.Target != "":
		join, err := s4t.ParseJoin(cfg.Target)
		if err != nil {
			return err
		}
		x.url, to.Fingerprint, x.code = join.URLs[0], join.Fingerprint, join.Code
		x.id = nil
	case x.id != nil:
		x.url, to.DefaultProxy = x.ownCloud(), x.id.Proxy
		x.id.trust(&to)
	default:
		return nil
	}
	u, err := url.Parse(x.url)
	if err != nil || u.Hostname() == "" {
		return s4t.Errorf(s4t.Invalid, "examine the way to "+x.url, "use https://HOST:PORT", "it is not a URL")
	}
	x.host, x.tcpPort = u.Hostname(), cmp.Or(u.Port(), map[bool]string{true: "443", false: "80"}[u.Scheme == "https"])
	if x.dialer, err = dial.New(to); err != nil {
		return err
	}
	x.proxy, err = x.dialer.ProxyFor(x.url)
	return err
}

// ownCloud returns the URL that the board uses, or would try first: the cloud
// may have moved since the join.
func (x *examination) ownCloud() string {
	if x.running != nil && x.running.Connected {
		return x.running.URL
	}
	if d, found, _ := x.dir.desired(x.id.Board); found && len(d.URLs) > 0 {
		return d.URLs[0]
	}
	return x.id.URLs[0]
}

// watchSegments notes when the dialler takes to smaller TCP segments: before a
// connection is made TCP_MAXSEG reads as what was asked for (tcp(7)).
func (x *examination) watchSegments(_ context.Context, _, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		mss, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG)
		if err != nil || mss == defaultMSS {
			return
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.segment = mss
	})
}

// defaultMSS is what the kernel says where nothing was asked for
// (TCP_MSS_DEFAULT, include/net/tcp.h).
const defaultMSS = 536

// examine runs the checks.
func (x *examination) examine(ctx context.Context, all []check) []wire.Finding {
	for _, c := range all {
		if ctx.Err() != nil {
			break
		}
		x.check = c.name
		c.run(ctx, x)
	}
	return x.findings
}

// doctor answers the cloud's question what stands in the way, worst first. The
// way to the cloud is evidently there.
func (e *Engine) doctor(ctx context.Context) wire.DoctorReport {
	s := e.Status()
	x := &examination{dir: e.dir, id: &e.id, running: &s, now: time.Now(), caps: &e.caps, look: link.Look}
	if e.clock.known() {
		x.cloudNow = e.clock.now()
	}
	findings := x.examine(ctx, checks())
	level := map[string]int{wire.LevelError: 0, wire.LevelWarning: 1, wire.LevelOK: 2}
	slices.SortStableFunc(findings, func(a, b wire.Finding) int { return cmp.Compare(level[a.Level], level[b.Level]) })
	return wire.DoctorReport{Board: e.name(), Findings: findings, Status: s4t.BoardOnline}
}
