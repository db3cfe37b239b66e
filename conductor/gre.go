package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// GRE endpoints of the data centre: an operator attaches a VM's gretap or a
// router to a network, at the network's tunnel agent.

// Kinds of the operations on GRE endpoints.
const (
	kindAttachGRE = "network.attach_gre"
	kindDetachGRE = "network.detach_gre"
)

// greKind: the tunnel agent listens and sends.
var greKind = kind{
	changed: func(ch *change, id string, halves []store.Realization, was, now s4t.PortStatus) error {
		e, err := ch.Endpoint(s4t.EndpointID(id))
		if err != nil {
			return err
		}
		n, err := ch.Network(e.Network)
		if err != nil {
			return err
		}
		detail := "GRE endpoint " + e.Remote
		if problem := problemOf(halves); problem != "" {
			detail += ": " + problem
		}
		ch.event(s4t.Event{Kind: "gre." + string(now), Project: n.Project, Object: string(n.ID), Name: n.Name, Detail: s4t.Line(detail, wire.MaxProblem)})
		return nil
	},
	late: func(a store.Await) string {
		var g wire.GREAttachment
		_ = json.Unmarshal([]byte(a.Spec), &g) // it is ours; at worst the address is missing
		return "the tunnel agent has not attached " + g.Remote
	},
	fails: func(a store.Await) (s4t.Kind, string) {
		return s4t.Conflict, a.Problem + "; it is tried again until it is detached"
	},
}

// checkOuter checks the address of one end of a GRE tunnel.
func checkOuter(op, flag, text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return a, s4t.Errorf(s4t.Invalid, op, "give the IPv4 address of one machine with "+flag, "%q cannot be an end of a GRE tunnel", s4t.Line(text, s4t.MaxName))
	}
	return a, nil
}

// attachGRE attaches an endpoint. It lets the cloud host send packets of
// protocol 47 to an address of the caller's choice, so it is an operator's.
func (c *Conductor) attachGRE(ctx context.Context, req wire.NetworkGRE) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("attach GRE endpoint %s to network %q", s4t.Line(req.Remote, s4t.MaxName), req.Ref)
	remote, err := checkOuter(op, "--remote", req.Remote)
	if err != nil {
		return s4t.Operation{}, err
	}
	if req.Local != "" {
		local, err := checkOuter(op, "--local", req.Local)
		if err != nil {
			return s4t.Operation{}, err
		}
		if local == remote {
			return s4t.Operation{}, s4t.Errorf(s4t.Invalid, op, "--local is an address of the cloud host, --remote one of another machine", "both ends are %v", local)
		}
	}
	return c.operate(ctx, req.Caller, kindAttachGRE, req.Ref, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		n, err := ch.networkForOperator(req.Caller, op, req.Ref, rec)
		if err != nil {
			return nil, err
		}
		switch {
		case n.Layer != 2:
			return nil, s4t.Errorf(s4t.Invalid, op, "make a bridge with --layer 2", "gre carries Ethernet frames, which layer 3 has none of")
		case len(n.AttachGRE) >= s4t.MaxGREEndpoints:
			return nil, s4t.Errorf(s4t.TooMany, op, "detach one", "the network has %d GRE endpoints, which is the most", len(n.AttachGRE))
		}
		e := store.Endpoint{
			GREEndpoint: s4t.GREEndpoint{
				ID: s4t.EndpointID(s4t.NewID()), Remote: remote.String(), Local: req.Local, Key: keyOf(req, n),
				Guards: s4t.PortGuards{AllowAnySource: true, AllowDHCP: req.Guards.AllowDHCP, AllowRA: req.Guards.AllowRA, Outward: req.Guards.Outward},
			},
			Network: n.ID, Agent: n.TunnelAgent, CreatedAt: ch.now,
		}
		if err := ch.InsertEndpoint(e); err != nil {
			if store.IsUnique(err, "gre_endpoints.gre_key") {
				return nil, s4t.Errorf(s4t.Conflict, op, "give another --key, here and at the endpoint, or detach it where it is", "%s is attached with key %d already", e.Remote, e.Key)
			}
			return nil, err
		}
		rec.Detail = fmt.Sprintf("%s, key %d", e.Remote, e.Key)
		n.AttachGRE = append(n.AttachGRE, e.GREEndpoint)
		if err := ch.wantNetwork(n); err != nil {
			return nil, err
		}
		return ch.begin(kindAttachGRE, n.Project, string(n.ID), n.Name, received, wire.ResourceKey{Kind: wire.KindGRE, ID: string(e.ID)}), nil
	})
}

// detachGRE takes an endpoint off.
func (c *Conductor) detachGRE(ctx context.Context, req wire.NetworkGRE) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("detach GRE endpoint %s from network %q", s4t.Line(req.Remote, s4t.MaxName), req.Ref)
	return c.operate(ctx, req.Caller, kindDetachGRE, req.Ref, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		n, err := ch.networkForOperator(req.Caller, op, req.Ref, rec)
		if err != nil {
			return nil, err
		}
		var found []s4t.GREEndpoint
		for _, e := range n.AttachGRE {
			if e.Remote == req.Remote && (req.Key == 0 || e.Key == req.Key) {
				found = append(found, e)
			}
		}
		switch {
		case len(found) == 0:
			return nil, s4t.Errorf(s4t.NotFound, op, fmt.Sprintf("`s4t network show %s` lists its endpoints", n.Name), "it is not attached")
		case len(found) > 1:
			return nil, s4t.Errorf(s4t.Conflict, op, "say which with --key", "it is attached with %d keys", len(found))
		}
		rec.Detail = fmt.Sprintf("%s, key %d", found[0].Remote, found[0].Key)
		ch.unwant(agentOf(n.TunnelAgent), wire.KindGRE, string(found[0].ID))
		if err := ch.DeleteEndpoint(found[0].ID); err != nil {
			return nil, err
		}
		return ch.begin(kindDetachGRE, n.Project, string(n.ID), n.Name, received), nil
	})
}

// keyOf is the key of a request: the network's own by default.
func keyOf(req wire.NetworkGRE, n s4t.Network) uint32 {
	if req.Key != 0 {
		return req.Key
	}
	return n.Key
}
