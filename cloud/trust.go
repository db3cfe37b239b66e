package cloud

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// A change of CA is a process. What is to come is announced to boards over their
// control channels ([TLS.NextCA]); they keep it, and tell that they trust it. Then
// it is shown. A certificate that would cut boards off is refused.

// What [TLS.NextCA] may be besides a file.
const (
	NextOwn    = "own"    // a CA of our own: the first, or another one
	NextSystem = "system" // one that the boards' systems know
)

// trusts reports whether a board trusts a name. A board that does not say whom it
// trusts is one of an older version, and trusts what was shown to it last.
func trusts(b store.BoardTrust, name, last string) bool {
	if len(b.Trusts) == 0 {
		return name == last || last == ""
	}
	return slices.Contains(b.Trusts, name)
}

// trustRecord is what the database knows of certificates.
type trustRecord struct {
	last   store.Certificate // what was shown last; empty before the first start
	boards []store.BoardTrust
}

func readTrust(ctx context.Context, db *store.DB) (r trustRecord, err error) {
	err = db.View(ctx, func(tx *store.Tx) (err error) {
		if r.last, err = tx.Certificate(); err == nil {
			r.boards, err = tx.BoardTrusts()
		}
		return err
	})
	return r, err
}

// strangers are the boards that do not trust all of names.
func (r trustRecord) strangers(names ...string) (list []string) {
	for _, b := range r.boards {
		if slices.ContainsFunc(names, func(n string) bool { return !trusts(b, n, r.last.Shown) }) {
			list = append(list, b.Name)
		}
	}
	return list
}

// allow refuses to show what more than most boards do not trust. What was shown
// last was allowed then.
func allow(ctx context.Context, db *store.DB, s shown, most int) error {
	name := nameOf(s.ca)
	if s.off {
		return nil
	}
	last, err := lastShown(ctx, db)
	if err != nil || last == name {
		return err
	}
	r, err := readTrust(ctx, db)
	if err != nil {
		return err
	}
	cut := r.strangers(name)
	if len(cut) <= most {
		return nil
	}
	some := cut[:min(len(cut), 5)]
	more := ""
	if len(some) < len(cut) {
		more = ", ..."
	}
	return s4t.Errorf(s4t.Conflict, "show the certificate of "+title(s),
		fmt.Sprintf("show the one of before, announce this one with tls.next_ca, and wait until `iotronic status` says that all know it; or --cut-off-boards %d: those have to be joined again", len(cut)),
		"%d of %d boards would be cut off, because they do not trust it: %s%s", len(cut), len(r.boards), strings.Join(some, ", "), more)
}

func lastShown(ctx context.Context, db *store.DB) (name string, err error) {
	err = db.View(ctx, func(tx *store.Tx) error {
		c, err := tx.Certificate()
		name = c.Shown
		return err
	})
	return name, err
}

// title is what people call it.
func title(s shown) string {
	switch s.ca {
	case nil:
		return "a public CA"
	case unmade:
		return "a new CA"
	}
	return fmt.Sprintf("the CA %q", s4t.Line(s.ca.Subject.CommonName, 80))
}

// Reload has the certificates read again, and takes another configuration of
// them. Sessions go on. An error says why all stays as it was.
func (c *Cloud) Reload(ctx context.Context, t TLS) error {
	if t.Off != c.cfg.TLS.Off {
		return s4t.Errorf(s4t.Invalid, "read the configuration again", "restart iotronic for that", "TLS is switched on or off at a start only")
	}
	return c.at.certs.reload(ctx, t)
}

// Check says what a start with cfg would refuse, and changes nothing: what is
// wrong with the certificate's files, and, where db is not nil, which boards it
// would cut off.
func Check(ctx context.Context, cfg Config, db *store.DB) error {
	if !slices.Contains(cfg.Roles, Conductor) && !cfg.TLS.Off && cfg.TLS.Cert == "" {
		return nil // a conductor has the CA
	}
	cas, err := authorityOf(ctx, cfg, db)
	if err != nil {
		return err
	}
	certs := &certs{dir: cfg.Data, cas: cas, plain: strings.HasPrefix(cfg.URL, "http:") || cfg.TLS.Off && cfg.URL == "", now: time.Now, log: slog.New(slog.DiscardHandler)}
	s, err := certs.shownBy(ctx, cfg.TLS)
	if err != nil {
		return err
	}
	switch cfg.TLS.NextCA {
	case "", NextOwn, NextSystem:
	default:
		if _, err := readCAs(cfg.TLS.NextCA, "tls.next_ca"); err != nil {
			return err
		}
	}
	if db == nil {
		return nil
	}
	return allow(ctx, db, s, cfg.TLS.CutOffBoards)
}

// SwitchCA makes the next CA of our own, of the cloud of cfg, the present one.
// It refuses what would cut off boards, as a start does. A process that runs shows
// it once it has reloaded.
func SwitchCA(ctx context.Context, cfg Config, db *store.DB) error {
	const op = "switch to the next CA"
	if cfg.TLS.Off || cfg.TLS.Cert != "" {
		return s4t.Errorf(s4t.Invalid, op, "take tls.cert and tls.key out of the configuration to show a CA of iotronic's own", "the certificate is not of a CA of iotronic's own")
	}
	cas, err := authorityOf(ctx, cfg, db)
	if err != nil {
		return err
	}
	next, err := cas.load(ctx, nextCA)
	if errors.Is(err, fs.ErrNotExist) {
		return s4t.Errorf(s4t.NotFound, op, "announce one first with tls.next_ca = \"own\"", "there is no next CA")
	}
	if err == nil {
		err = allow(ctx, db, shown{ca: next.cert}, cfg.TLS.CutOffBoards)
	}
	if err != nil {
		return err
	}
	return cas.promote(ctx)
}

// Status of a cloud, as its database tells it.
type Status struct {
	Processes   []ProcessStatus   `json:"processes"`
	Boards      BoardCount        `json:"boards"`
	Certificate CertificateStatus `json:"certificate"`
}

// ProcessStatus is a role of a process. Agents leave a trace in the database, and
// conductors and APIs of processes with names.
type ProcessStatus struct {
	Name   string    `json:"name"` // ROLE-NAME
	Role   Role      `json:"role"`
	URL    string    `json:"url"`
	Online bool      `json:"online"`
	SeenAt time.Time `json:"seen_at"`
	Lag    int64     `json:"lag"` // generations of its desired state that it has not applied

	Status   s4t.AgentStatus `json:"status"`
	Place    string          `json:"place,omitempty"`
	Version  string          `json:"version,omitempty"`
	Boards   int             `json:"boards"` // with a session there, or whose streams go through it
	Networks int             `json:"networks"`
	Services int             `json:"services"` // public ports

	Since time.Time `json:"since,omitzero"` // when it was started, as the cloud heard it

	CertificateUntil time.Time `json:"certificate_until,omitzero"` // when the TLS certificate ends that the process shows; absent: it shows none, is away or alone, or did not say

	// Of conductors and APIs.
	Host   string   `json:"host,omitempty"`   // name of its machine
	Load   *float64 `json:"load,omitempty"`   // processors that the process took of late: 0.02 is 2 % of one
	Upkeep bool     `json:"upkeep,omitempty"` // of all conductors this one looks at deadlines
}

// BoardCount is how many boards are enrolled, and how many of them are online.
type BoardCount struct {
	Enrolled int `json:"enrolled"`
	Online   int `json:"online"`
}

// CertificateStatus says who trusts what the cloud shows, and what it announced.
// Names are SHA-256 of a CA certificate's DER, hex; or [s4t.SystemRoots].
type CertificateStatus struct {
	Shown       string   `json:"shown"`
	Untrusting  []string `json:"untrusting"`   // names of boards that do not trust it
	Next        []string `json:"next"`         // announced; none: nothing is
	NextUnknown []string `json:"next_unknown"` // names of boards that do not trust all of Next yet
}

// ReadStatus reads it.
func ReadStatus(ctx context.Context, db *store.DB) (Status, error) {
	s := Status{Processes: []ProcessStatus{}}
	r, err := readTrust(ctx, db)
	if err != nil {
		return s, err
	}
	var agents []store.Agent
	var carried map[s4t.AgentID]store.Carried
	var others []ProcessStatus
	var ends map[s4t.AgentID]time.Time
	err = db.View(ctx, func(tx *store.Tx) (err error) {
		if agents, err = tx.Agents(); err != nil {
			return err
		}
		if carried, err = tx.Carried(); err != nil {
			return err
		}
		others, ends, err = beating(tx)
		return err
	})
	if err != nil {
		return s, err
	}
	for _, a := range agents {
		role := WAMPAgent
		if a.Kind == wire.AgentTunnel {
			role = TunnelAgent
		}
		s.Processes = append(s.Processes, ProcessStatus{Name: string(a.ID), Role: role, URL: a.URL, Online: a.Online, SeenAt: a.SeenAt, Lag: max(a.Generation-a.Applied, 0),
			Status: a.Status(), Place: a.Place, Version: a.Version, Boards: carried[a.ID].Boards, Networks: carried[a.ID].Networks, Services: carried[a.ID].Services, Since: a.Since, CertificateUntil: ends[a.ID]})
	}
	s.Processes = append(s.Processes, others...)
	s.Boards.Enrolled = len(r.boards)
	for _, b := range r.boards {
		if b.Online {
			s.Boards.Online++
		}
	}
	list := func(names []string) []string { return append([]string{}, names...) }
	s.Certificate = CertificateStatus{Shown: r.last.Shown, Next: list(r.last.Next), NextUnknown: list(r.strangers(r.last.Next...)), Untrusting: []string{}}
	if r.last.Shown != "" {
		s.Certificate.Untrusting = list(r.strangers(r.last.Shown))
	}
	return s, nil
}
