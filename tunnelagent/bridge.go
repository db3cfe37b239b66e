package tunnelagent

import (
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// Step 8 of the paper's Fig. 3: a network is a switch, and the cloud half of a
// port is put on it for as long as the board's data rtunnel is there.

// networks are the switches.
type networks struct {
	agent *Agent

	mu  sync.Mutex // guards the map; only apply changes it
	all map[s4t.NetworkID]*network
}

// network is the switch of one network. Another layer or encapsulation makes
// another one of it.
type network struct {
	sw            *vswitch.Switch
	encapsulation s4t.Encapsulation

	want    wire.TunnelNetwork            // apply's alone, of any kind, like members
	members map[wire.ResourceKey]struct{} // what is on the switch
}

func newNetworks(a *Agent) *networks {
	return &networks{agent: a, all: map[s4t.NetworkID]*network{}}
}

// apply implements reconciler.
func (ns *networks) apply(rd *round, changed []wire.Resource) {
	each(rd, changed, func(id string) { ns.replace(rd, s4t.NetworkID(id), nil) }, func(text string, want wire.TunnelNetwork) error {
		id := s4t.NetworkID(text)
		n := ns.all[id]
		if n == nil || n.want.Layer != want.Layer || n.want.Encapsulation != want.Encapsulation {
			fresh, err := ns.agent.newNetwork(id, want)
			ns.replace(rd, id, fresh)
			if err != nil {
				return err
			}
			n = fresh
		} else if n.want.MTU != want.MTU {
			n.again(rd)
		}
		n.want = want
		n.sw.SetOutward(want.Outward)
		ns.agent.cpu.weigh(want.Project, want.Weight)
		return nil
	})
}

// replace puts n, which may be nil, in the place of a network. What was on its
// switch is applied again.
func (ns *networks) replace(rd *round, id s4t.NetworkID, n *network) {
	old := ns.all[id]
	ns.mu.Lock()
	delete(ns.all, id)
	if n != nil {
		ns.all[id] = n
	}
	ns.mu.Unlock()
	if old == nil {
		return
	}
	old.again(rd)
	for _, other := range ns.all {
		if other.want.Project == old.want.Project {
			return
		}
	}
	ns.agent.cpu.weigh(old.want.Project, 1)
}

// again has all that is on the switch applied again.
func (n *network) again(rd *round) {
	for key := range n.members {
		rd.again(key)
	}
}

// state implements reconciler.
func (ns *networks) state(id string) (up bool, problem error) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.all[s4t.NetworkID(id)] != nil, nil
}

// of returns the network that something is to be on the switch of. Only apply
// calls it, of any kind.
func (ns *networks) of(rd *round, id s4t.NetworkID, key wire.ResourceKey) (*network, error) {
	if n := ns.all[id]; n != nil {
		return n, nil
	}
	if err := rd.failed[wire.ResourceKey{Kind: wire.KindNetwork, ID: string(id)}]; err != nil {
		return nil, err
	}
	return nil, s4t.Errorf(s4t.Unavailable, "attach "+string(key.Kind)+" "+key.ID, "", "its network is not here")
}

// newNetwork makes the switch of a network.
func (a *Agent) newNetwork(id s4t.NetworkID, w wire.TunnelNetwork) (*network, error) {
	if w.Encapsulation != s4t.EncapEthernet && (w.Encapsulation != s4t.EncapGRE || w.Layer != 2) {
		return nil, s4t.Errorf(s4t.Unavailable, "make network "+string(id), "use the encapsulation ethernet", "this tunnel agent does not carry the encapsulation %s on layer %d", w.Encapsulation, w.Layer)
	}
	sw, err := vswitch.New(vswitch.Config{
		Layer: w.Layer, Validate: a.cfg.Validate, Header: rtunnel.PutHeader,
		OnEvent: a.switchEvent, Log: a.cfg.Log.With("network", id),
	})
	if err != nil {
		return nil, err
	}
	return &network{sw: sw, encapsulation: w.Encapsulation, want: w, members: map[wire.ResourceKey]struct{}{}}, nil
}
