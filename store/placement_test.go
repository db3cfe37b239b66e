package store

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestWhatIsWhere(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		at := w.one.CreatedAt.Add(time.Hour)
		write(t, db, func(tx *Tx) error {
			if err := tx.PutAgent(Agent{ID: "t2", Kind: wire.AgentTunnel, Incarnation: "i", Online: true, Place: "messina", Version: "1.2"}); err != nil {
				return err
			}
			a, err := tx.Agent("t2")
			same(t, "place and version", []string{a.Place, a.Version, string(a.Status())}, err, []string{"messina", "1.2", "online"})
			return tx.InsertService(Service{Service: s4t.Service{ID: "s", Project: w.project.ID, BoardID: w.one.ID, TCPPort: 22, Target: "127.0.0.1", PublicPort: 50000}, Agent: "t1"})
		})
		write(t, db, func(tx *Tx) error {
			carried, err := tx.Carried()
			same(t, "carried", carried, err, map[s4t.AgentID]Carried{"t1": {Boards: 2, Networks: 1, Services: 1}, "t2": {}})
			networks, err := tx.NetworksToMove("t1", "", 10)
			same(t, "networks to move", networks, err, []s4t.NetworkID{w.network.ID})
			networks, err = tx.NetworksToMove("t1", w.network.ID, 10)
			same(t, "networks to move after it", networks, err, []s4t.NetworkID{})
			if err := tx.InsertPeering(w.network.ID, Peering{"t1", "t2"}); err != nil {
				return err
			}
			peerings, err := tx.Peerings(w.network.ID)
			same(t, "peerings", peerings, err, []Peering{{"t1", "t2"}})
			if err := tx.DeletePeering(w.network.ID, peerings[0]); err != nil {
				return err
			}
			ports, err := tx.PortsOfNetwork(w.network.ID)
			if err != nil {
				return err
			}
			if err := tx.MovePorts(map[s4t.PortID]s4t.AgentID{ports[0].ID: "t2"}, "t1", at); err != nil {
				return err
			}
			p, err := tx.Port(ports[0].ID)
			same(t, "the port's agents", []s4t.AgentID{p.TunnelAgent, p.OwnAgent, p.Leaving}, err, []s4t.AgentID{"t2", "t2", "t1"})
			away, err := tx.PortsLeaving("t1")
			same(t, "ports that leave", away, err, []PortLeaving{{p.ID, w.network.ID, at}})
			left, err := tx.AgentsLeft()
			same(t, "agents that ports leave", left, err, map[s4t.AgentID]time.Time{"t1": at})
			carried, err = tx.Carried()
			same(t, "carried beside", carried["t2"], err, Carried{Networks: 1})
			networks, err = tx.NetworksToMove("t2", "", 10)
			same(t, "networks of others to move", networks, err, []s4t.NetworkID{w.network.ID})
			if err := tx.MovePorts(map[s4t.PortID]s4t.AgentID{p.ID: ""}, "t2", time.Time{}); err != nil {
				return err
			}
			boards, err := tx.BoardsToMove("t1", true, "", 10)
			same(t, "boards with services to move", boards, err, []s4t.BoardID{w.one.ID})
			boards, err = tx.BoardsToMove("t1", false, "", 10)
			same(t, "boards to move", len(boards), err, 2)
			return err
		})
		write(t, db, func(tx *Tx) error {
			if err := tx.MoveNetwork(w.network.ID, "t1", "t2", at); err != nil {
				return err
			}
			n, err := tx.Network(w.network.ID)
			same(t, "its agent", n.TunnelAgent, err, s4t.AgentID("t2"))
			leaving, err := tx.NetworksLeaving("t1")
			same(t, "networks that leave", leaving, err, map[s4t.NetworkID]time.Time{w.network.ID: at})
			left, err := tx.AgentsLeft()
			same(t, "agents that networks leave", left, err, map[s4t.AgentID]time.Time{"t1": at})
			leaving, err = tx.NetworksLeaving("")
			same(t, "networks that leave nobody", len(leaving), err, 0)
			if err := tx.NetworksLeft("t1", at.Add(-time.Second)); err != nil {
				return err
			}
			leaving, err = tx.NetworksLeaving("t1")
			same(t, "networks that leave still", len(leaving), err, 1)
			if err := tx.NetworksLeft("t1", at); err != nil {
				return err
			}
			leaving, err = tx.NetworksLeaving("t1")
			same(t, "networks that have left", len(leaving), err, 0)
			if err := tx.PutUplink(Uplink{Uplink: s4t.Uplink{Bridge: "br0"}, Network: w.network.ID, Agent: "t2"}); err != nil {
				return err
			}
			networks, err := tx.NetworksToMove("t2", "", 10)
			same(t, "networks with an uplink to move", networks, err, []s4t.NetworkID{})
			carried, err := tx.Carried()
			same(t, "carried with an uplink", carried["t2"], err, Carried{Networks: 1, Fixed: 1})
			s, err := tx.Service("s")
			if err != nil {
				return err
			}
			s.Agent, s.PublicPort = "t2", 50001
			if err := tx.MoveService(s); err != nil {
				return err
			}
			s, err = tx.Service("s")
			same(t, "where the service is", []any{s.Agent, s.PublicPort}, err, []any{s4t.AgentID("t2"), 50001})
			for _, step := range []struct {
				drain Drain
				wrote bool
				want  s4t.AgentStatus
			}{{DrainBegun, true, s4t.AgentDraining}, {DrainBegun, false, s4t.AgentDraining}, {DrainDone, true, s4t.AgentDrained}, {DrainNot, true, s4t.AgentOnline}} {
				wrote, err := tx.SetAgentDrain("t2", step.drain)
				same(t, "wrote", wrote, err, step.wrote)
				a, err := tx.Agent("t2")
				same(t, "status", a.Status(), err, step.want)
				same(t, "takes", a.Takes(wire.AgentTunnel), err, step.drain == DrainNot)
			}
			return nil
		})
	})
}
