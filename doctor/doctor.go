// Package doctor says what stands between a board and its cloud: one or more
// findings a check, in the order in which a connection would fail. It looks, and
// changes nothing.
//
//	doctor.go   the examination and its order
//	board.go    the board itself: state, disk, devices, ports, clock
//	netpath.go  the path to the cloud, up to TCP
//	tls.go      TLS, captive portals, the size of packets
//	session.go  WebSockets, and whether the cloud knows the board
//
// docs/doctor.md lists what it may find.
package doctor

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wire"
)

// Config says what to examine.
type Config struct {
	Board   Board
	Target  string // optional: a join string or a URL of a cloud; default: the cloud of the board's identity
	Proxy   string // optional: HTTP proxy URL; default is the environment's, then the identity's
	ExtraCA []byte // optional: PEM, trusted in addition

	// NoPath: the board is connected, and the path to the cloud is not looked at.
	NoPath    bool
	CloudTime time.Time // optional: of now, as the cloud has told it
}

// Board is what is known of the board before anything is looked at.
type Board struct {
	State        string             // path of its state directory
	Identity     *Identity          // nil: there is none that can be read
	Unreadable   error              // why there is none: NotFound where the board has not joined
	Damage       string             // why the saved desired state is of no use; empty: it is, or there is none
	Running      *Running           // nil: no lightning-rod runs on the state
	Capabilities *link.Capabilities // nil: to be probed
}

// Identity is what a board has joined a cloud with.
type Identity struct {
	Board s4t.BoardID
	Name  string
	Key   ed25519.PrivateKey
	URLs  []string // of the cloud, from the join
	Cloud string   // the URL that the board uses, or would try first: the cloud may have moved since
	Proxy string   // HTTP proxy URL of the join

	// Whom the board believes, as dial.Config has it.
	CA, ExtraCA []byte
	Fingerprint string
	SystemRoots bool
}

// Running is what a lightning-rod tells of itself.
type Running struct {
	Connected bool
	URL       string   // of the cloud
	Problems  []string // what stands in its way
	Trouble   string   // the one of them that is why there is no session
	Cause     string   // of the trouble: the ID of a [wire.Diagnosis]; empty: not known
	Ports     []Port
	Services  []Service
	Plugins   []Plugin
}

// Service is an exposed service of a running lightning-rod that has a problem.
type Service struct {
	Target    string // host:port
	Problem   string
	ProblemID string // of the problem: the ID of a [wire.Diagnosis], where it has one
}

// Plugin is a plugin of a running lightning-rod that has a problem.
type Plugin struct {
	Name      string
	Problem   string
	ProblemID string // of the problem: the ID of a [wire.Diagnosis], where it has one
}

// Port is a port of a running lightning-rod.
type Port struct {
	Interface string
	Addresses []string // with the lengths of their subnets
	Problem   string   // why it is not up
	ProblemID string   // of the problem: the ID of a [wire.Diagnosis], where it has one
}

// trusted says whom the board believes.
func (i *Identity) trusted(to *dial.Config) {
	to.CA, to.SystemRoots, to.Fingerprint, to.ExtraCA = i.CA, i.SystemRoots, i.Fingerprint, i.ExtraCA
}

// check is one thing that may stand in the way. It appends what it found; a
// check that has nothing to look at finds nothing. A cause is Certain only
// where nothing else explains what was seen.
type check struct {
	name   string
	onPath bool // to the cloud: not looked at where nobody asks, and after the first error
	run    func(ctx context.Context, x *examination)
}

// checks are in the order in which a connection would fail. Those of the path
// to the cloud stop at the first error: what comes after would only repeat it.
func checks() []check {
	return []check{
		{"state", false, checkState},
		{"agent", false, checkAgent},
		{"port", false, checkPorts},
		{"service", false, checkServices},
		{"plugin", false, checkPlugins},
		{"disk", false, checkDisk},
		{"networks", false, checkNetworks},
		{"proxy", true, checkProxy},
		{"link", true, checkLink},
		{"dns", true, checkDNS},
		{"tcp", true, checkTCP},
		{"tls", true, checkTLS},
		{"mtu", true, checkMTU},
		{"upgrade", true, checkUpgrade},
		{"auth", true, checkAuth},
		{"clock", false, checkClock}, // last: the path to the cloud tells its time
	}
}

// examination is what the checks know so far.
type examination struct {
	Board // what was known before; without Identity where the question is about another cloud

	code     string    // of a join string; "": none was given
	now      time.Time // of this board
	cloudNow time.Time // zero: not known
	survey   func() (link.Survey, error)
	drops    func(context.Context) []link.ForwardDrop
	resolv   string // path of resolv.conf

	url     string // of the cloud; "": not known
	host    string
	tcpPort string
	dialer  *dial.Dialer // nil: the path to the cloud is not looked at
	bare    bool         // a URL was given that says nothing of its CA
	proxy   string       // host:port; "": none
	blocked bool         // an error on the path was found
	addrs   []netip.Addr // of the next hop, as far as it was a name

	mu      sync.Mutex // guards segment
	segment int        // the TCP segment size of the last connection; 0: what the kernel thinks

	check    string
	findings []wire.Finding
}

// Examine says what stands between a board and a cloud. It uses up no code.
func Examine(ctx context.Context, cfg Config) ([]wire.Finding, error) {
	x := &examination{Board: cfg.Board, cloudNow: cfg.CloudTime, now: time.Now(), survey: link.TakeSurvey, drops: link.ForwardDrops, resolv: "/etc/resolv.conf"}
	if !cfg.NoPath {
		if err := x.aim(cfg); err != nil {
			return nil, err
		}
	}
	return x.examine(ctx, checks()), nil
}

// aim settles where the cloud is and whom to trust.
func (x *examination) aim(cfg Config) error {
	to := dial.Config{Proxy: cfg.Proxy, ExtraCA: cfg.ExtraCA, Timeout: 8 * time.Second, Control: x.watchSegments}
	switch {
	case strings.Contains(cfg.Target, "://"):
		x.url, x.bare = cfg.Target, true
		if x.Identity != nil && slices.Contains(x.Identity.URLs, strings.TrimSuffix(cfg.Target, "/")) {
			x.bare = false
			x.Identity.trusted(&to)
		}
		x.Identity = nil // another cloud's business
	case cfg.Target != "":
		join, err := s4t.ParseJoin(cfg.Target)
		if err != nil {
			return err
		}
		x.url, to.Fingerprint, x.code = join.URLs[0], join.Fingerprint, join.Code
		x.Identity = nil
	case x.Identity != nil:
		x.url, to.DefaultProxy = x.Identity.Cloud, x.Identity.Proxy
		x.Identity.trusted(&to)
	default:
		return nil
	}
	u, err := url.Parse(x.url)
	if err != nil || u.Hostname() == "" {
		return s4t.Errorf(s4t.Invalid, "examine the path to "+x.url, "use https://HOST:PORT", "it is not a URL")
	}
	x.host, x.tcpPort = u.Hostname(), cmp.Or(u.Port(), map[bool]string{true: "443", false: "80"}[u.Scheme == "https"])
	if x.dialer, err = dial.New(to); err != nil {
		return err
	}
	x.proxy, err = x.dialer.ProxyFor(x.url)
	return err
}

// examine runs checks.
func (x *examination) examine(ctx context.Context, all []check) []wire.Finding {
	for _, c := range all {
		if ctx.Err() != nil {
			break
		}
		if c.onPath && (x.dialer == nil || x.blocked) {
			continue
		}
		x.check = c.name
		before := len(x.findings)
		c.run(ctx, x)
		if c.onPath {
			x.obstacles(x.findings[before:])
		}
	}
	return x.findings
}

// obstacles notes what a check of the path to the cloud has found.
func (x *examination) obstacles(found []wire.Finding) {
	for i := range found {
		f := &found[i]
		x.blocked = x.blocked || f.Level == wire.LevelError || f.ID == wire.CAUnknown
		if f.Level == wire.LevelError && x.Running != nil && x.Running.Connected {
			f.Level, f.Certain, f.Cure = wire.LevelWarning, false, otherPath
		}
	}
}

// otherPath is what to do about an obstacle that lightning-rod does not meet.
const otherPath = "nothing, for now: lightning-rod itself is connected, perhaps through a proxy of its own environment; give the doctor the same HTTPS_PROXY"

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
