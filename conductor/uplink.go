package conductor

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

// Kinds of the operations on uplinks.
const (
	kindUplink       = "network.uplink"
	kindUplinkRemove = "network.uplink_remove"
)

// uplinkKind: the tunnel agent has the network in its Linux bridge.
var uplinkKind = kind{
	changed: func(ch *change, id string, halves []store.Realization, was, now s4t.PortStatus) error {
		u, err := ch.Uplink(s4t.NetworkID(id))
		if err == nil {
			ch.uplinkEvent("uplink."+string(now), u, problemOf(halves))
		}
		return err
	},
	late: func(a store.Await) string {
		var u wire.TunnelUplink
		_ = json.Unmarshal([]byte(a.Spec), &u) // it is ours; at worst the name is missing
		return "the tunnel agent has not put it into bridge " + u.Bridge
	},
	fails: func(a store.Await) (s4t.Kind, string) {
		return s4t.Conflict, a.Problem + " (it is tried again until the uplink is removed)"
	},
}

// uplinkSet puts a network into a Linux bridge of the cloud host. That joins
// it to networks that are the operator's: it takes an admin.
func (c *Conductor) uplinkSet(ctx context.Context, req wire.UplinkSet) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("put network %q into bridge %q of the cloud host", req.Ref, req.Bridge)
	return c.operate(ctx, req.Caller, kindUplink, req.Ref, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		n, err := ch.networkForOperator(req.Caller, op, req.Ref, rec)
		if err != nil {
			return nil, err
		}
		rec.Detail = "bridge " + s4t.Line(req.Bridge, s4t.MaxName)
		if err := vnet.ValidInterfaceName(req.Bridge); err != nil {
			return nil, err
		}
		if n.Layer != 2 {
			return nil, s4t.Errorf(s4t.Invalid, op, "use a network with --layer 2", "a Linux bridge carries Ethernet frames, which layer 3 has none of")
		}
		guards := s4t.PortGuards{
			AllowAnySource: true, AllowDHCP: req.Guards.AllowDHCP, AllowRA: req.Guards.AllowRA,
			StormLimit: req.Guards.StormLimit, RateLimit: req.Guards.RateLimit,
		}
		if err := checkGuards(op, n.Layer, guards); err != nil {
			return nil, err
		}
		guards.Outward = req.Guards.Outward
		u := store.Uplink{
			Uplink:  s4t.Uplink{Bridge: req.Bridge, Guards: guards, Status: s4t.PortPending},
			Network: n.ID, Agent: n.TunnelAgent, CreatedAt: ch.now,
		}
		if err := ch.PutUplink(u); err != nil {
			if store.IsUnique(err, "uplinks.bridge") {
				return nil, s4t.Errorf(s4t.Conflict, op, "use another bridge: in one, two networks would be one", "another network is in it")
			}
			return nil, err
		}
		n.Uplink = &u.Uplink
		if err := ch.wantNetwork(n); err != nil {
			return nil, err
		}
		return ch.begin(kindUplink, n.Project, string(n.ID), n.Name, received, wire.ResourceKey{Kind: wire.KindUplink, ID: string(n.ID)}), nil
	})
}

// uplinkRemove takes a network out of its Linux bridge.
func (c *Conductor) uplinkRemove(ctx context.Context, req wire.RefRequest) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("remove the uplink of network %q", req.Ref)
	return c.operate(ctx, req.Caller, kindUplinkRemove, req.Ref, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		n, err := ch.networkForOperator(req.Caller, op, req.Ref, rec)
		if err != nil {
			return nil, err
		}
		u, err := ch.Uplink(n.ID)
		if s4t.KindOf(err) == s4t.NotFound {
			return nil, s4t.Errorf(s4t.NotFound, op, "", "it has none")
		}
		if err != nil {
			return nil, err
		}
		rec.Detail = "bridge " + u.Bridge
		if err := ch.DeleteUplink(n.ID); err != nil {
			return nil, err
		}
		if u.Status == s4t.PortUp {
			ch.uplinkEvent("uplink.down", u, "removed")
		}
		ch.unwant(agentOf(n.TunnelAgent), wire.KindUplink, string(n.ID))
		return ch.begin(kindUplinkRemove, n.Project, string(n.ID), n.Name, received), nil
	})
}

// networkForOperator finds a network for a request that touches the cloud
// host.
func (ch *change) networkForOperator(caller wire.Caller, op, ref string, rec *s4t.AuditRecord) (s4t.Network, error) {
	n, err := findNetwork(ch.Tx, caller, op, ref)
	if err != nil {
		return n, err
	}
	rec.Object, rec.Name, rec.Project = string(n.ID), n.Name, n.Project
	return n, allow(caller, op, s4t.RoleAdmin)
}

func (ch *change) uplinkEvent(kind string, u store.Uplink, detail string) {
	if detail == "" {
		detail = "bridge " + u.Bridge
	} else {
		detail = "bridge " + u.Bridge + ": " + detail
	}
	ch.event(s4t.Event{Kind: kind, Project: u.Project, Object: string(u.Network), Name: u.Name, Detail: s4t.Line(detail, wire.MaxProblem)})
}
