package conductor

import (
	"context"
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

// checkOuter checks the address of one end of a GRE tunnel.
func checkOuter(op, flag, text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return a, s4t.Errorf(s4t.Invalid, op, "give the IPv4 address of one machine with "+flag, "%q cannot be an end of a GRE tunnel", clip(text))
	}
	return a, nil
}

// attachGRE attaches an endpoint. It lets the cloud host send packets of
// protocol 47 to an address of the caller's choice, so it is an operator's.
func (c *Conductor) attachGRE(ctx context.Context, req wire.NetworkGRE) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("attach GRE endpoint %s to network %q", clip(req.Remote), req.Ref)
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
		n, present, err := ch.networkWithEndpoints(req.Caller, op, req.Ref, rec)
		if err != nil {
			return nil, err
		}
		switch {
		case n.Layer != 2:
			return nil, s4t.Errorf(s4t.Invalid, op, "make a bridge with --layer 2", "gre carries Ethernet frames, which layer 3 has none of")
		case len(present) >= s4t.MaxGREEndpoints:
			return nil, s4t.Errorf(s4t.TooMany, op, "detach one", "the network has %d GRE endpoints, which is the most", len(present))
		}
		e := store.Endpoint{
			GREEndpoint: s4t.GREEndpoint{
				ID: s4t.EndpointID(s4t.NewID()), Remote: remote.String(), Local: req.Local, Key: keyOf(req, n),
				Guards: s4t.PortGuards{AllowAnySource: true, AllowDHCP: req.Guards.AllowDHCP, AllowRA: req.Guards.AllowRA},
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
		ch.touchAgent(n.TunnelAgent)
		return ch.begin(kindAttachGRE, n.Project, string(n.ID), n.Name, received, awaits{Network: n.ID, Endpoint: e.ID}), nil
	})
}

// detachGRE takes an endpoint off.
func (c *Conductor) detachGRE(ctx context.Context, req wire.NetworkGRE) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("detach GRE endpoint %s from network %q", clip(req.Remote), req.Ref)
	return c.operate(ctx, req.Caller, kindDetachGRE, req.Ref, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		n, present, err := ch.networkWithEndpoints(req.Caller, op, req.Ref, rec)
		if err != nil {
			return nil, err
		}
		var found []store.Endpoint
		for _, e := range present {
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
		ch.touchAgent(n.TunnelAgent)
		if err := ch.DeleteEndpoint(found[0].ID); err != nil {
			return nil, err
		}
		return ch.begin(kindDetachGRE, n.Project, string(n.ID), n.Name, received, awaits{}), nil
	})
}

// keyOf is the key of a request: the network's own by default.
func keyOf(req wire.NetworkGRE, n s4t.Network) uint32 {
	if req.Key != 0 {
		return req.Key
	}
	return n.Key
}

// networkWithEndpoints finds the network of a changing request.
func (ch *change) networkWithEndpoints(caller wire.Caller, op, ref string, rec *s4t.AuditRecord) (s4t.Network, []store.Endpoint, error) {
	n, err := ch.networkForOperator(caller, op, ref, rec)
	if err != nil {
		return n, nil, err
	}
	present, err := ch.EndpointsOfNetwork(n.ID)
	return n, present, err
}

// withEndpoints puts the endpoints of networks where a user sees them.
func withEndpoints(networks []s4t.Network, endpoints []store.Endpoint) []s4t.Network {
	at := make(map[s4t.NetworkID]int, len(networks))
	for i, n := range networks {
		at[n.ID] = i
	}
	for _, e := range endpoints {
		if i, ok := at[e.Network]; ok {
			networks[i].AttachGRE = append(networks[i].AttachGRE, e.GREEndpoint)
		}
	}
	return networks
}

// attachments are the endpoints that a tunnel agent should have, by network.
func attachments(endpoints []store.Endpoint) map[s4t.NetworkID][]wire.GREAttachment {
	m := map[s4t.NetworkID][]wire.GREAttachment{}
	for _, e := range endpoints {
		m[e.Network] = append(m[e.Network], wire.GREAttachment{ID: e.ID, Remote: e.Remote, Local: e.Local, Key: e.Key, Guards: e.Guards})
	}
	return m
}

// endpointsAre writes what differs from the endpoints that a tunnel agent has.
func (ch *change) endpointsAre(agent s4t.AgentID, has wire.TunnelReport) error {
	up := set(has.Endpoints)
	endpoints, err := ch.EndpointsOfAgent(agent)
	if err != nil {
		return err
	}
	for _, e := range endpoints {
		was := e.GREEndpoint
		e.Status, e.Problem = s4t.PortDown, clip(has.Problems[string(e.ID)])
		if up[e.ID] {
			e.Status = s4t.PortUp
		}
		if e.Status == was.Status && e.Problem == was.Problem {
			continue
		}
		ch.heardAgents[agent] = true
		if err := ch.UpdateEndpointState(e); err != nil {
			return err
		}
		if e.Status == was.Status {
			continue
		}
		n, err := ch.Network(e.Network)
		if err != nil {
			return err
		}
		detail := "GRE endpoint " + e.Remote
		if e.Problem != "" {
			detail += ": " + e.Problem
		}
		ch.event(s4t.Event{Kind: "gre." + string(e.Status), Project: n.Project, Object: string(n.ID), Name: n.Name, Detail: detail})
	}
	return nil
}

// lookEndpoint: the tunnel agent listens and sends.
func (ch *change) lookEndpoint(p *progress, v *verdict) error {
	endpoints, err := ch.EndpointsOfNetwork(p.awaits.Network)
	if err != nil {
		return err
	}
	for _, e := range endpoints {
		if e.ID != p.awaits.Endpoint || e.Status == s4t.PortUp {
			continue
		}
		v.agents = false
		v.missing = append(v.missing, missing("the tunnel agent has not attached "+e.Remote, e.Problem))
		if e.Problem != "" {
			v.failed = e.Problem + "; it is tried again until it is detached"
		}
	}
	return nil // an endpoint that is gone again is not waited for
}
