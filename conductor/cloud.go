package conductor

import (
	"context"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// cloudHosts returns the host names of public ports, those of tunnel agents that
// are away too, as their services come back there; and until when the certificates are
// good of processes that are there.
func (c *Conductor) cloudHosts(ctx context.Context, req wire.CloudHostsAsk) (wire.CloudHosts, error) {
	if err := allow(req.Caller, "ask for the hosts of public ports", s4t.RoleReader); err != nil {
		return wire.CloudHosts{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (found wire.CloudHosts, err error) {
		agents, err := tx.Agents()
		for _, a := range agents {
			if a.Kind == wire.AgentTunnel && a.Host != "" {
				found.Hosts = append(found.Hosts, a.Host)
			}
		}
		slices.Sort(found.Hosts)
		found.Hosts = slices.Compact(found.Hosts)
		if err == nil && req.Caller.Role.Covers(s4t.RoleAdmin) {
			found.Certificates, err = certificates(tx)
		}
		return found, err
	})
}

// certificates are those of processes that were heard of late, and said that they have one.
func certificates(tx *store.Tx) ([]s4t.ProcessCertificate, error) {
	processes, err := tx.Processes()
	var l []s4t.ProcessCertificate
	for _, p := range processes {
		if p.CertificateUntil.IsZero() || tx.Now().Sub(p.SeenAt) >= wire.ProcessSilent {
			continue
		}
		name := p.Name
		if p.Role == wire.ProcessAPI || p.Role == wire.ProcessConductor {
			name = p.Role + "-" + name
		}
		l = append(l, s4t.ProcessCertificate{Process: name, Role: p.Role, Host: p.Host, Until: p.CertificateUntil})
	}
	return l, err
}
