package conductor

import (
	"context"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// cloudHosts returns the host names of public ports: those of tunnel agents that
// are away too, as their services come back there.
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
		return found, err
	})
}
