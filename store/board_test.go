package store

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// world is a project with a tunnel agent, two boards, and a bridge with a port
// of each.
type world struct {
	project  s4t.Project
	agent    Agent
	one, two Board
	network  s4t.Network
	bridge   Bridge
	ports    [2]Port
}

func newWorld(t *testing.T, db *DB) world {
	t.Helper()
	var w world
	w.project = newProject("lab")
	w.agent = Agent{ID: "t1", Kind: wire.AgentTunnel, Incarnation: "i", URL: "https://t:1", Host: "t", PublicMin: 50000, PublicMax: 50001, Generation: 1, Online: true, SeenAt: at}
	board := func(name string) Board {
		return Board{
			Board: s4t.Board{
				ID: s4t.BoardID(s4t.NewID()), Name: name, Project: w.project.ID, Type: "gateway", Labels: map[string]string{"room": "attic"},
				Location: &s4t.Location{Latitude: 38.2, Longitude: 15.5}, Status: s4t.BoardOnline, Epoch: 3, Generation: 1, AppliedGeneration: 1,
				WAMPAgent: "w1", TunnelAgent: w.agent.ID, Info: s4t.BoardInfo{OS: "linux", HostKeys: []string{"ssh-ed25519 A"}}, Problems: []string{"none of note"},
				LastSeen: &at, CreatedAt: at,
			},
			CodeHash: "hash of " + name, CodeUsed: true, PublicKey: []byte{1, 2, 3}, Incarnation: "wi", Instance: "bi", StreamsUp: true,
			StreamsUntil: at.Add(time.Minute), ClonedAt: at.Add(time.Second),
		}
	}
	w.one, w.two = board("one"), board("two")
	id := s4t.NetworkID(s4t.NewID())
	w.network = s4t.Network{
		ID: id, Project: w.project.ID, Name: "net", Layer: 2, Encapsulation: s4t.EncapGRE, MTU: 1458, Key: 1<<32 - 1, TunnelAgent: w.agent.ID, CreatedAt: at,
		Subnets: []s4t.Subnet{
			{ID: s4t.SubnetID(s4t.NewID()), Network: id, Project: w.project.ID, CIDR: netip.MustParsePrefix("10.77.0.0/24")},
			{ID: s4t.SubnetID(s4t.NewID()), Network: id, Project: w.project.ID, CIDR: netip.MustParsePrefix("fd00:77::/64")},
		},
	}
	w.bridge = Bridge{ID: s4t.BridgeID(s4t.NewID()), Project: w.project.ID, Name: "net", Network: id, Status: s4t.BridgeDown, CreatedAt: at}
	for i, b := range []Board{w.one, w.two} {
		w.ports[i] = Port{
			Port: s4t.Port{
				ID: s4t.PortID(s4t.NewID()), Network: id, Project: w.project.ID, Board: b.Name, BoardID: b.ID, MAC: "02:00:00:00:00:0" + string(rune('1'+i)),
				Addresses: []string{"10.77.0." + string(rune('2'+i)) + "/24", "fd00:77::" + string(rune('2'+i)) + "/64"}, Interface: "s4t-" + b.Name, MTU: 1458,
				Status: s4t.PortPending, Guards: s4t.PortGuards{AllowDHCP: true}, GRE: &s4t.PortGRE{Local: "100.64.0." + string(rune('2'+i)), Key: w.network.Key},
			},
			TunnelAgent: w.agent.ID, Layer: 2, Encap: s4t.EncapGRE, BoardOnline: true, CreatedAt: at,
		}
	}
	write(t, db, func(tx *Tx) error {
		for _, err := range []error{
			tx.InsertProject(w.project), tx.PutAgent(w.agent), tx.InsertBoard(w.one), tx.InsertBoard(w.two),
			tx.InsertNetwork(w.network), tx.InsertBridge(w.bridge), tx.InsertPort(w.ports[0]), tx.InsertPort(w.ports[1]),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	return w
}

// same fails the test where what was read is not what was written.
func same[T any](t *testing.T, what string, got T, err error, want T) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		view(t, db, func(tx *Tx) error {
			a, err := tx.Agent("t1")
			same(t, "agent", a, err, w.agent)
			b, err := tx.Board(w.one.ID)
			same(t, "board", b, err, w.one)
			b, err = tx.BoardByCode("hash of two")
			same(t, "board by code", b, err, w.two)
			all, err := tx.Boards(w.project.ID)
			same(t, "boards", all, err, []Board{w.one, w.two})
			all, err = tx.FindBoards("two")
			same(t, "boards by name", all, err, []Board{w.two})
			all, err = tx.BoardsOfWAMPAgent("w1")
			same(t, "boards of an agent", len(all), err, 2)
			all, err = tx.BoardsOfTunnelAgent("t1")
			same(t, "boards of an agent", len(all), err, 2)
			all, err = tx.ExpiringBoards(at.Add(time.Minute), at)
			same(t, "boards with something that ran out", len(all), err, 2)
			n, err := tx.Network(w.network.ID)
			same(t, "network", n, err, w.network)
			networks, err := tx.Networks("")
			same(t, "networks", networks, err, []s4t.Network{w.network})
			networks, err = tx.NetworksOfBoard(w.two.ID)
			same(t, "networks of a board", networks, err, []s4t.Network{w.network})
			networks, err = tx.NetworksOfAgent("t2")
			same(t, "networks of another agent", networks, err, []s4t.Network{})
			subnets, err := tx.Subnets(w.project.ID)
			same(t, "subnets", subnets, err, w.network.Subnets)
			sn, err := tx.Subnet(w.network.Subnets[1].ID)
			same(t, "subnet", sn, err, w.network.Subnets[1])
			bridges, err := tx.FindBridges("net")
			same(t, "bridges", bridges, err, []Bridge{w.bridge})
			br, err := tx.BridgeOfNetwork(w.network.ID)
			same(t, "bridge of a network", br, err, w.bridge)
			ports, err := tx.PortsOfNetwork(w.network.ID)
			same(t, "ports", ports, err, w.ports[:])
			p, err := tx.Port(w.ports[1].ID)
			same(t, "port", p, err, w.ports[1])
			states, err := tx.PortStates(w.network.ID)
			same(t, "states", len(states), err, 2)
			taken, err := tx.TakenAddresses(w.network.ID)
			same(t, "addresses", len(taken), err, 4)
			is, err := tx.GRELocalTaken(netip.MustParseAddr("100.64.0.2"))
			same(t, "outer address", is, err, true)
			loads, err := tx.AgentLoads()
			same(t, "loads", loads, err, map[s4t.AgentID]int{"t1": 2})
			return nil
		})
	})
}

func TestNothingIsReservedTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		port := func(change func(*Port)) func(*Tx) error {
			return func(tx *Tx) error {
				n := w.network
				n.ID, n.Key, n.Subnets = s4t.NetworkID(s4t.NewID()), 5, nil
				if err := tx.InsertNetwork(n); err != nil {
					return err
				}
				p := w.ports[0]
				p.ID, p.Network, p.MAC, p.Interface, p.GRE, p.Addresses = s4t.PortID(s4t.NewID()), n.ID, "02:ff:00:00:00:01", "s4t-x", nil, []string{"10.77.0.9/24"}
				change(&p)
				return tx.InsertPort(p)
			}
		}
		service := func(tx *Tx, change func(*Service)) error {
			s := Service{Service: s4t.Service{ID: s4t.ServiceID(s4t.NewID()), Project: w.project.ID, BoardID: w.one.ID, TCPPort: 22, Target: "127.0.0.1", PublicPort: 50000}, Agent: "t1"}
			if err := tx.InsertService(s); err != nil {
				return err
			}
			s.ID = s4t.ServiceID(s4t.NewID())
			change(&s)
			return tx.InsertService(s)
		}
		for _, tt := range []struct {
			name, column string
			fn           func(*Tx) error
		}{
			{"a board's name", "boards.name", func(tx *Tx) error {
				b := w.one
				b.ID, b.CodeHash = "x", "x"
				return tx.InsertBoard(b)
			}},
			{"a bridge's name", "bridges.name", func(tx *Tx) error {
				n, b := w.network, w.bridge
				n.ID, n.Key, n.Subnets, b.ID = "x", 1, nil, "x"
				b.Network = "x"
				if err := tx.InsertNetwork(n); err != nil {
					return err
				}
				return tx.InsertBridge(b)
			}},
			{"a GRE key", "networks.gre_key", func(tx *Tx) error { n := w.network; n.ID = "x"; return tx.InsertNetwork(n) }},
			{"a MAC", "ports.mac", port(func(p *Port) { p.MAC = w.ports[1].MAC })},
			{"an interface of a board", "ports.interface", port(func(p *Port) { p.Interface = w.ports[0].Interface })},
			{"an outer address", "ports.gre_local", port(func(p *Port) { p.GRE = w.ports[1].GRE })},
			{"an address", "addresses.address", func(tx *Tx) error {
				if err := tx.DeletePort(w.ports[0].ID); err != nil {
					return err
				}
				p := w.ports[0]
				p.Addresses = w.ports[1].Addresses
				return tx.InsertPort(p)
			}},
			{"a board on a network", "ports.network", port(func(p *Port) { p.Network = w.network.ID })},
			{"a public port", "services.public_port", func(tx *Tx) error { return service(tx, func(s *Service) { s.TCPPort = 23 }) }},
			{"a target", "services.target", func(tx *Tx) error { return service(tx, func(s *Service) { s.PublicPort = 50001 }) }},
		} {
			t.Run(tt.name, func(t *testing.T) {
				if err := db.Tx(t.Context(), tt.fn); !IsUnique(err, tt.column) || s4t.KindOf(err) != s4t.Conflict {
					t.Errorf("%v, want a conflict on %s", err, tt.column)
				}
			})
		}
	})
}

func TestChangesOfBoardsAndTheirThings(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		svc := Service{
			Service: s4t.Service{
				ID: s4t.ServiceID(s4t.NewID()), Project: w.project.ID, Board: "one", BoardID: w.one.ID, Name: "ssh", TCPPort: 22, Target: "127.0.0.1",
				Host: "t", PublicPort: 50000, Status: s4t.ServicePending, CreatedAt: at,
			},
			Agent: "t1", StreamsUp: true,
		}
		write(t, db, func(tx *Tx) error {
			b, err := tx.GrowBoard(w.one.ID)
			same(t, "generation", b.Generation, err, int64(2))
			g, err := tx.GrowAgent("t1")
			same(t, "generation", g, err, int64(2))
			w.one.Name, w.one.Location, w.one.LastSeen, w.one.CodeHash, w.one.Problems, w.one.Generation = "uno", nil, nil, "", nil, 2
			w.one.Board.Generation = 2
			if err := tx.UpdateBoard(w.one); err != nil {
				return err
			}
			b, err = tx.Board(w.one.ID)
			same(t, "board", b, err, w.one)
			lagging, err := tx.LaggingBoards()
			same(t, "boards that lag", len(lagging), err, 1)
			state, err := tx.BoardState(w.one.ID)
			same(t, "state", state, err, BoardState{Name: "uno", Online: true, Applied: 1, StreamsUp: true})

			p := w.ports[0]
			p.Board, p.BoardUp, p.AgentUp, p.AgentProblem, p.Status, p.Problem = "uno", true, true, "slow", s4t.PortUp, "slow"
			if err := tx.UpdatePortState(p); err != nil {
				return err
			}
			got, err := tx.Port(p.ID)
			same(t, "port", got, err, p)
			if err := tx.SetBridgeStatus(w.bridge.ID, s4t.BridgeUp); err != nil {
				return err
			}

			svc.Board = "uno"
			if err := tx.InsertService(svc); err != nil {
				return err
			}
			svc.AgentUp, svc.Status = true, s4t.ServiceUp
			if err := tx.UpdateServiceState(svc); err != nil {
				return err
			}
			s, err := tx.Service(svc.ID)
			same(t, "service", s, err, svc)
			services, err := tx.ServicesOfAgent("t1")
			same(t, "services", services, err, []Service{svc})
			taken, err := tx.TakenPublicPorts("t1")
			same(t, "public ports", taken, err, map[int]bool{50000: true})
			return nil
		})
		if err := db.Tx(t.Context(), func(tx *Tx) error { return tx.DeleteProject(w.project.ID) }); !IsInUse(err) {
			t.Errorf("a project with boards was deleted: %v", err)
		}
		write(t, db, func(tx *Tx) error { return tx.DeleteBoard(w.one.ID) })
		view(t, db, func(tx *Tx) error {
			ports, err := tx.PortsOfNetwork(w.network.ID)
			same(t, "ports that are left", len(ports), err, 1)
			services, err := tx.Services("")
			same(t, "services that are left", len(services), err, 0)
			taken, err := tx.TakenAddresses(w.network.ID)
			same(t, "addresses that are left", len(taken), err, 2)
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.DeleteNetwork(w.network.ID) })
		view(t, db, func(tx *Tx) error {
			bridges, err := tx.Bridges("")
			same(t, "bridges that are left", len(bridges), err, 0)
			ports, err := tx.Ports("")
			same(t, "ports that are left", len(ports), err, 0)
			return nil
		})
	})
}

func TestOperationsAndEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		p := newProject("lab")
		write(t, db, func(tx *Tx) error { return tx.InsertProject(p) })
		var ops []Operation
		for i := range 4 {
			ops = append(ops, Operation{
				Operation: s4t.Operation{
					ID: s4t.OperationID(s4t.NewID()), Kind: "bridge.create", Project: p.ID, Object: "o", Status: s4t.OperationRunning,
					Steps: []s4t.Step{{Number: 1, Name: "ask", At: at, TookMS: 1.5}}, CreatedAt: at.Add(time.Duration(i) * time.Second),
				},
				Name: "lab", Awaits: `{"x":1}`,
			})
		}
		write(t, db, func(tx *Tx) error {
			for _, o := range ops {
				if err := tx.InsertOperation(o); err != nil {
					return err
				}
			}
			for i := range 3 {
				ended := at.Add(time.Hour)
				ops[i].Status, ops[i].Error, ops[i].ErrorKind, ops[i].EndedAt = s4t.OperationFailed, "late", s4t.Timeout, &ended
				if err := tx.UpdateOperation(ops[i]); err != nil {
					return err
				}
			}
			for _, kind := range []string{"a", "b", "c"} {
				tx.InsertEvents(s4t.Event{At: at, Kind: kind, Project: p.ID, Object: "o", Data: map[string]int{"x": 1}})
			}
			return nil
		})
		view(t, db, func(tx *Tx) error {
			all, err := tx.Operations(p.ID)
			same(t, "operations", all, err, ops)
			o, err := tx.Operation(ops[0].ID)
			same(t, "operation", o, err, ops[0])
			running, err := tx.RunningOperations()
			same(t, "running", running, err, ops[3:])
			events, err := tx.Events(p.ID, 1, 10)
			same(t, "events", len(events), err, 2)
			if events[0].ID != 2 || events[1].Kind != "c" || events[0].Data == nil {
				t.Errorf("%+v", events)
			}
			last, err := tx.LastEvent()
			same(t, "last", last, err, int64(3))
			return nil
		})
		write(t, db, func(tx *Tx) error {
			if err := tx.TrimEvents(1); err != nil {
				return err
			}
			return tx.TrimOperations(1)
		})
		view(t, db, func(tx *Tx) error {
			events, err := tx.Events("", 0, 10)
			same(t, "events that are left", len(events), err, 1)
			all, err := tx.Operations("")
			same(t, "operations that are left", len(all), err, 2)
			if !slices.ContainsFunc(all, func(o Operation) bool { return o.ID == ops[3].ID }) {
				t.Error("one that runs was forgotten")
			}
			return nil
		})
	})
}
