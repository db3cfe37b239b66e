package conductor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// processKept is how long a process is known that was killed, or is cut off.
const processKept = 24 * time.Hour

// processBeat hears of a process. It is for people who watch the cloud: nothing depends
// on it.
func (c *Conductor) processBeat(ctx context.Context, req wire.ProcessBeat) (wire.Empty, error) {
	op := fmt.Sprintf("hear process %q", s4t.Line(req.Name, s4t.MaxName))
	p := store.Process{
		Name: s4t.Line(req.Name, s4t.MaxName), Incarnation: s4t.Line(req.Incarnation, s4t.MaxName), Host: s4t.Line(req.Host, 255),
		URL: s4t.Line(req.URL, 255), Version: s4t.Line(req.Version, s4t.MaxName), Load: req.Load, CertificateUntil: req.CertificateUntil,
	}
	if p.Name == "" || p.Incarnation == "" || len(req.Roles) == 0 {
		return wire.Empty{}, s4t.Errorf(s4t.Invalid, op, "", "name, incarnation and roles are required")
	}
	roles := slices.Compact(slices.Sorted(slices.Values(req.Roles))) // rows are locked in one order
	for _, role := range roles {
		if !slices.Contains([]string{wire.ProcessAPI, wire.ProcessConductor, wire.AgentWAMP, wire.AgentTunnel}, role) {
			return wire.Empty{}, s4t.Errorf(s4t.Invalid, op, "", "%q is no role of a process", s4t.Line(role, s4t.MaxName))
		}
	}
	return wire.Empty{}, c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		for _, p.Role = range roles {
			var err error
			if req.Ends {
				err = tx.EndProcess(p.Name, p.Role, p.Incarnation)
			} else {
				err = tx.HearProcess(p)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// forgetProcesses forgets those that were not heard for long.
func (c *Conductor) forgetProcesses(ctx context.Context) error {
	return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.ForgetProcesses(processKept) })
}

// newHolder makes what a conductor holds leases as: its name, where it has one, and
// what tells it from those before it.
func newHolder(name string) string {
	if name == "" {
		return s4t.NewID()
	}
	return name + "/" + s4t.NewID()
}

// Leader returns the name of the conductor that does the upkeep; empty where none
// does, or it has no name.
func Leader(tx *store.Tx) (string, error) {
	holder, until, err := tx.LeaseHolder(upkeepLease)
	name, _, named := strings.Cut(holder, "/")
	if err != nil || !named || until.Before(tx.Now()) {
		return "", err
	}
	return name, nil
}
