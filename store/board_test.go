package store

import (
	"errors"
	"fmt"
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
	w.agent = Agent{ID: "t1", Kind: wire.AgentTunnel, Incarnation: "i", URL: "https://t:1", Host: "t", PublicPorts: s4t.PortRange{First: 50000, Last: 50001}, Generation: 1, Online: true, SeenAt: at, Replaced: "h", Applied: 1, ReportSeq: 2, LeaseUntil: at.Add(time.Second)}
	board := func(name string) Board {
		return Board{
			Board: s4t.Board{
				ID: s4t.BoardID(s4t.NewID()), Name: name, Project: w.project.ID, Type: "gateway", Labels: map[string]string{"room": "attic"},
				Location: &s4t.Location{Latitude: 38.2, Longitude: 15.5}, Status: s4t.BoardOnline, Epoch: 3, Generation: 1, AppliedGeneration: 1,
				WAMPAgent: "w1", TunnelAgent: w.agent.ID, Info: s4t.BoardInfo{OS: "linux", HostKeys: []string{"ssh-ed25519 A"}}, Problems: []string{"none of note"},
				LastSeen: &at, CreatedAt: at,
			},
			CodeHash: "hash of " + name, CodeUsed: true, PublicKey: []byte{1, 2, 3}, Incarnation: "wi", Instance: "bi", ReportSeq: 7,
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
			TunnelAgent: w.agent.ID, Layer: 2, Encap: s4t.EncapGRE, BoardStatus: s4t.BoardOnline, CreatedAt: at,
		}
	}
	write(t, db, func(tx *Tx) error {
		for _, err := range []error{
			tx.InsertProject(w.project), tx.PutAgent(w.agent), putBoard(tx, w.one), putBoard(tx, w.two),
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

// putBoard adds a board with all that is known of it.
func putBoard(tx *Tx, b Board) error {
	return errors.Join(tx.InsertBoard(b), tx.SetBoardKey(b), tx.SetBoardSays(b), tx.SetBoardStreams(b), tx.SetBoardCloned(b), tx.SetPresence(b))
}

// held is what a holder says of an object.
func held(h string, kind wire.Kind, object string, up bool, problem string) Realization {
	return Realization{Holder: h, Kind: kind, Object: object, OnBoard: h != "t1", Generation: 2, Spec: `{}`, Up: up, WasUp: up, Problem: problem}
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
			for _, project := range []s4t.ProjectID{"", w.project.ID} {
				for _, status := range []s4t.BoardStatus{"", s4t.BoardOnline} {
					all, err := tx.Boards(project, status, nil, wire.Page{})
					same(t, "boards", all.Items, err, []Board{w.one, w.two})
				}
				all, err := tx.Boards(project, s4t.BoardOffline, nil, wire.Page{})
				same(t, "boards that are offline", all.Items, err, []Board{})
				named, err := tx.BoardsNamed(project, "two")
				same(t, "boards by name", named, err, []Board{w.two})
				counts, err := tx.CountBoards(project)
				same(t, "boards by status", counts, err, map[s4t.BoardStatus]int{s4t.BoardRegistered: 0, s4t.BoardOnline: 2, s4t.BoardOffline: 0})
			}
			ids := []s4t.BoardID{w.one.ID, w.two.ID}
			slices.Sort(ids)
			some, err := tx.ExpiringBoards(at.Add(time.Minute), at)
			same(t, "boards with something that ran out", some, err, ids)
			some, err = tx.ExpiringBoards(at, at)
			same(t, "boards with something that runs out later", len(some), err, 0)
			n, err := tx.Network(w.network.ID)
			same(t, "network", n, err, w.network)
			byID, err := tx.NetworksByID([]s4t.NetworkID{"none", w.network.ID})
			same(t, "networks by id", byID, err, map[s4t.NetworkID]s4t.Network{w.network.ID: w.network})
			networks, err := tx.NetworksOfBoard(w.two.ID)
			same(t, "networks of a board", networks, err, []s4t.Network{w.network})
			networks, err = tx.NetworksOfBoard("none")
			same(t, "networks of another board", networks, err, []s4t.Network{})
			for _, project := range []s4t.ProjectID{"", w.project.ID} {
				networks, err := tx.Networks(project, wire.Page{})
				same(t, "networks", networks.Items, err, []s4t.Network{w.network})
				named, err := tx.NetworksNamed(project, "net")
				same(t, "networks by name", named, err, []s4t.Network{w.network})
				subnets, err := tx.Subnets(project, wire.Page{})
				same(t, "subnets", subnets.Items, err, w.network.Subnets)
				bridges, err := tx.Bridges(project, wire.Page{})
				same(t, "bridges", bridges.Items, err, []Bridge{w.bridge})
				ofName, err := tx.BridgesNamed(project, "net")
				same(t, "bridges by name", ofName, err, []Bridge{w.bridge})
				ports, err := tx.Ports(project, wire.Page{})
				same(t, "ports", len(ports.Items), err, 2)
			}
			var each []s4t.Network
			err = tx.EachNetwork(w.project.ID, func(n s4t.Network) error { each = append(each, n); return nil })
			same(t, "each network", each, err, []s4t.Network{w.network})
			used, err := tx.UsedPrefixes(w.project.ID)
			same(t, "prefixes", len(used), err, 2)
			sn, err := tx.Subnet(w.network.Subnets[1].ID)
			same(t, "subnet", sn, err, w.network.Subnets[1])
			br, err := tx.Bridge(w.bridge.ID)
			same(t, "bridge", br, err, w.bridge)
			br, err = tx.BridgeOfNetwork(w.network.ID)
			same(t, "bridge of a network", br, err, w.bridge)
			ports, err := tx.PortsOfNetwork(w.network.ID)
			same(t, "ports", ports, err, w.ports[:])
			of, err := tx.PortsOfNetworks([]s4t.NetworkID{w.network.ID, "none"})
			same(t, "ports of networks", of, err, map[s4t.NetworkID][]Port{w.network.ID: w.ports[:]})
			ports, err = tx.PortsOfBoard(w.two.ID)
			same(t, "ports of a board", ports, err, w.ports[1:])
			p, err := tx.Port(w.ports[1].ID)
			same(t, "port", p, err, w.ports[1])
			states, err := tx.PortStatuses(w.network.ID)
			same(t, "states", len(states), err, 2)
			taken, err := tx.TakenAddresses(w.network.ID)
			same(t, "addresses", len(taken), err, 4)
			is, err := tx.GRELocalTaken(netip.MustParseAddr("100.64.0.2"))
			same(t, "outer address", is, err, true)
			loads, err := tx.AgentLoads()
			same(t, "loads", loads, err, map[s4t.AgentID]int{"t1": 3}) // two boards, a network
			agents, err := tx.Agents()
			same(t, "agents", agents, err, []Agent{w.agent})
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
			s := Service{Service: s4t.Service{ID: s4t.ServiceID(s4t.NewID()), Project: w.project.ID, BoardID: w.one.ID, TCPPort: 22, Target: "127.0.0.1", PublicPort: 50000, DNSName: "kitchen"}, Agent: "t1"}
			if err := tx.InsertService(s); err != nil {
				return err
			}
			s.ID, s.DNSName = s4t.ServiceID(s4t.NewID()), ""
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
			{"a DNS name", "services.dns_name", func(tx *Tx) error {
				return service(tx, func(s *Service) { s.TCPPort, s.PublicPort, s.DNSName = 23, 50001, "kitchen" })
			}},
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
			Agent: "t1", BoardStatus: s4t.BoardOnline,
		}
		write(t, db, func(tx *Tx) error {
			b, err := tx.LockBoard(w.one.ID)
			same(t, "board", b, err, w.one)
			woken, err := tx.GrowBoard(w.one.ID)
			same(t, "generation", woken, err, Woken{Board: w.one.ID, Generation: 2, WAMPAgent: "w1", Online: true})
			a, err := tx.GrowAgent("t1", 5, 3)
			w.agent.Generation, w.agent.DesiredSum, w.agent.SaidSum = 2, 5, 3
			same(t, "agent", a, err, w.agent)
			if a, err = tx.GrowAgent("t1", wire.Sum(0).Sub(5), wire.Sum(0).Sub(4)); err != nil {
				return err
			}
			w.agent.Generation, w.agent.DesiredSum, w.agent.SaidSum = 3, 0, wire.Sum(0).Sub(1)
			same(t, "agent whose sums went back", a, err, w.agent)
			if err := tx.AddSaidSum("t1", 8); err != nil {
				return err
			}
			w.agent.SaidSum, w.agent.Host, w.agent.Online, w.agent.Applied = 7, "u", false, 2
			if err := tx.PutAgent(w.agent); err != nil {
				return err
			}
			a, err = tx.LockAgent("t1")
			same(t, "agent that said hello again", a, err, w.agent)
			w.agent.Applied, w.agent.ReportSeq, w.agent.SaidSum = 3, 9, 11
			if err := tx.SetReported(w.agent); err != nil {
				return err
			}
			a, err = tx.Agent("t1")
			same(t, "agent that reported", a, err, w.agent)

			w.one.Name, w.one.Location, w.one.LastSeen, w.one.CodeHash, w.one.Problems, w.one.Generation = "uno", nil, nil, "", nil, 2
			if err := errors.Join(tx.DescribeBoard(w.one), tx.SetBoardKey(w.one), tx.SetBoardSays(w.one), tx.SetPresence(w.one)); err != nil {
				return err
			}
			b, err = tx.Board(w.one.ID)
			same(t, "board", b, err, w.one)
			lagging, err := tx.LaggingBoards("", 10)
			same(t, "boards that lag", lagging, err, []Woken{woken})
			lagging, err = tx.LaggingBoards("", 0)
			same(t, "at most no boards that lag", len(lagging), err, 0)

			p := w.ports[0]
			p.Board = "uno"
			object := string(p.ID)
			for _, stage := range []struct {
				board, agent Realization
				status       s4t.PortStatus
				problem      string
			}{
				{held(string(w.one.ID), wire.KindPort, object, true, ""), held("t1", wire.KindPort, object, false, "late"), s4t.PortPending, "late"},
				{held(string(w.one.ID), wire.KindPort, object, true, ""), held("t1", wire.KindPort, object, true, "slow"), s4t.PortUp, "slow"},
				{held(string(w.one.ID), wire.KindPort, object, false, "no device"), held("t1", wire.KindPort, object, true, "slow"), s4t.PortDown, "no device"},
			} {
				stage.board.WasUp = stage.agent.WasUp
				if err := tx.PutRealizations([]Realization{stage.board, stage.agent}); err != nil {
					return err
				}
				p.Status, p.Problem = stage.status, stage.problem
				got, err := tx.Port(p.ID)
				same(t, "port", got, err, p)
				states, err := tx.PortStatuses(w.network.ID)
				i := slices.IndexFunc(states, func(s s4t.Port) bool { return s.ID == p.ID })
				same(t, "status of a port", states[i].Status, err, p.Status)
			}
			if err := tx.SetBridgeStatus(w.bridge.ID, s4t.BridgeUp); err != nil {
				return err
			}
			br, err := tx.Bridge(w.bridge.ID)
			same(t, "status of a bridge", br.Status, err, s4t.BridgeUp)

			svc.Board, svc.Host = "uno", "u"
			if err := tx.InsertService(svc); err != nil {
				return err
			}
			if err := tx.PutRealizations([]Realization{
				held(string(w.one.ID), wire.KindService, string(svc.ID), true, "slow"), held("t1", wire.KindService, string(svc.ID), true, ""),
			}); err != nil {
				return err
			}
			svc.Status, svc.Problem, svc.TargetStatus = s4t.ServiceUp, "slow", s4t.TargetListening
			s, err := tx.Service(svc.ID)
			same(t, "service", s, err, svc)
			services, err := tx.ServicesOfBoard(w.one.ID)
			same(t, "services", services, err, []Service{svc})
			for _, project := range []s4t.ProjectID{"", w.project.ID} {
				for _, board := range []s4t.BoardID{"", w.one.ID} {
					list, err := tx.Services(project, board, wire.Page{})
					same(t, "services", list.Items, err, []Service{svc})
				}
			}
			list, err := tx.Services("", w.two.ID, wire.Page{})
			same(t, "services of the other board", list.Items, err, []Service{})
			taken, err := tx.TakenPublicPorts("t1")
			same(t, "public ports", taken, err, map[int]bool{50000: true})
			svc.PublicPort = 50001
			if err := tx.MoveService(svc); err != nil {
				return err
			}
			taken, err = tx.TakenPublicPorts("t1")
			same(t, "public ports after a move", taken, err, map[int]bool{50001: true})
			svc.DNSName = "kitchen"
			if err := tx.NameService(svc.ID, svc.DNSName); err != nil {
				return err
			}
			s, err = tx.Service(svc.ID)
			same(t, "service that was named", s, err, svc)
			place, err := tx.ServiceNamed("kitchen")
			same(t, "place of a name", place, err, wire.ServicePlace{Host: "u", PublicPort: 50001})
			if _, err := tx.ServiceNamed("cellar"); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("a name that nobody has: %v", err)
			}
			n, err := tx.LockNetwork(w.network.ID)
			same(t, "network", n.Name, err, "net")
			return nil
		})
		write(t, db, func(tx *Tx) error {
			other := svc
			other.ID, other.TCPPort, other.PublicPort, other.DNSName = s4t.ServiceID(s4t.NewID()), 80, 50000, ""
			return errors.Join(tx.InsertService(other), tx.DeleteService(other.ID))
		})
		view(t, db, func(tx *Tx) error {
			services, err := tx.ServicesOfBoard(w.one.ID)
			same(t, "services without one that was hidden", services, err, []Service{svc})
			return nil
		})
		if err := db.Tx(t.Context(), func(tx *Tx) error { return tx.DeleteProject(w.project.ID) }); !IsInUse(err) {
			t.Errorf("a project with boards was deleted: %v", err)
		}
		write(t, db, func(tx *Tx) error { return tx.DeleteBoard(w.one.ID) })
		view(t, db, func(tx *Tx) error {
			ports, err := tx.PortsOfNetwork(w.network.ID)
			same(t, "ports that are left", len(ports), err, 1)
			services, err := tx.Services("", "", wire.Page{})
			same(t, "services that are left", len(services.Items), err, 0)
			taken, err := tx.TakenAddresses(w.network.ID)
			same(t, "addresses that are left", len(taken), err, 2)
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.DeleteNetwork(w.network.ID) })
		view(t, db, func(tx *Tx) error {
			bridges, err := tx.Bridges("", wire.Page{})
			same(t, "bridges that are left", len(bridges.Items), err, 0)
			ports, err := tx.Ports("", wire.Page{})
			same(t, "ports that are left", len(ports.Items), err, 0)
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
					ID: s4t.NewOperationID(), Kind: "bridge.create", Project: p.ID, Object: "o", Status: s4t.OperationRunning,
					Steps: []s4t.Step{{Number: 1, Name: "ask", At: at, TookMS: 1.5}}, CreatedAt: at.Add(time.Duration(i) * time.Second),
				},
				Name: "lab", Retries: 2,
			})
		}
		write(t, db, func(tx *Tx) error {
			for _, o := range ops {
				if err := tx.InsertOperation(o, time.Hour); err != nil {
					return err
				}
			}
			for i := range 3 {
				ended := at.Add(time.Hour)
				ops[i].Status, ops[i].Error, ops[i].ErrorKind, ops[i].EndedAt = s4t.OperationFailed, "late", s4t.Timeout, &ended
				done, err := tx.EndOperation(ops[i])
				same(t, "ended", done, err, true)
			}
			if err := errors.Join(tx.UseRetry(ops[0].ID), tx.UseRetry(ops[3].ID)); err != nil { // the first has ended
				return err
			}
			ops[3].Retries, ops[3].Steps = 1, append(ops[3].Steps, s4t.Step{Number: 2, Name: "answer", At: at})
			if err := tx.SetSteps(ops[3].ID, ops[3].Steps); err != nil {
				return err
			}
			o, err := tx.LockOperation(ops[3].ID)
			same(t, "operation", o, err, ops[3])
			for _, kind := range []string{"a", "b", "c"} {
				tx.InsertEvents(s4t.Event{At: at, Kind: kind, Project: p.ID, Object: "o", Data: map[string]int{"x": 1}})
			}
			return nil
		})
		view(t, db, func(tx *Tx) error {
			all, err := tx.Operations(p.ID, wire.Page{})
			same(t, "operations", all.Items, err, ops)
			o, err := tx.Operation(ops[0].ID)
			same(t, "operation", o, err, ops[0])
			running, err := tx.OverdueOperations(true)
			same(t, "running", running, err, []s4t.OperationID{ops[3].ID})
			events, err := tx.Events(p.ID, "", 1, 10)
			same(t, "events", len(events), err, 2)
			if events[0].ID != 2 || events[1].Kind != "c" || events[0].Data == nil {
				t.Errorf("%+v", events)
			}
			last, err := tx.LastEvent()
			same(t, "last", last, err, int64(3))
			return nil
		})
		write(t, db, func(tx *Tx) error {
			if err := tx.TrimEvents(p.ID, 1); err != nil {
				return err
			}
			return tx.TrimOperations(p.ID, 1)
		})
		view(t, db, func(tx *Tx) error {
			events, err := tx.Events("", "", 0, 10)
			same(t, "events that are left", len(events), err, 1)
			all, err := tx.Operations("", wire.Page{})
			same(t, "operations that are left", len(all.Items), err, 2)
			if !slices.ContainsFunc(all.Items, func(o Operation) bool { return o.ID == ops[3].ID }) {
				t.Error("one that runs was forgotten")
			}
			return nil
		})
	})
}

// TestSessionsEndWithTheirAgent: one row says for all of them that they are over.
func TestSessionsEndWithTheirAgent(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		agent := Agent{ID: "w1", Kind: wire.AgentWAMP, Incarnation: w.one.Incarnation, Online: true}
		ids := []s4t.BoardID{w.one.ID, w.two.ID}
		slices.Sort(ids)
		for _, is := range []struct {
			what        string
			incarnation string
			online      bool
			ended       Ended
			lost        int
		}{{"as it was", w.one.Incarnation, true, EndedNot, 0}, {"it is silent", w.one.Incarnation, false, EndedSilent, 2}, {"another took its place", "new", true, EndedReplaced, 2}} {
			agent.Incarnation, agent.Online = is.incarnation, is.online
			write(t, db, func(tx *Tx) error { return tx.PutAgent(agent) })
			view(t, db, func(tx *Tx) error {
				status := s4t.BoardOnline
				if is.ended != EndedNot {
					status = s4t.BoardOffline
				}
				boards, err := tx.LockedBoards(ids)
				if err != nil || len(boards) != 2 || boards[0].Status != status || boards[0].Ended != is.ended {
					t.Errorf("%s: %+v, %v", is.what, boards, err)
				}
				listed, err := tx.Boards("", status, nil, wire.Page{})
				if err != nil || len(listed.Items) != 2 {
					t.Errorf("%s: %d are listed as %s, %v", is.what, len(listed.Items), status, err)
				}
				lost, err := tx.LostSessions(agent, false, "", 10)
				same(t, is.what, len(lost), err, is.lost)
				if is.lost > 0 {
					lost, err = tx.LostSessions(agent, false, ids[0], 10)
					same(t, is.what+", after one", lost, err, ids[1:])
				}
				counts, err := tx.CountLost(agent)
				same(t, is.what+", by project", counts[w.project.ID], err, is.lost)
				return nil
			})
		}
	})
}

// TestPresencesAreWrittenTogether: what SetPresence writes of one board, of as many as
// a statement takes and more, and nothing of others.
func TestPresencesAreWrittenTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		at := time.UnixMicro(1_000_000).UTC()
		boards := []Board{w.one, w.two}
		for i := range boards {
			b := &boards[i]
			b.Status, b.Epoch, b.AppliedGeneration, b.ReportSeq, b.WAMPAgent, b.Incarnation, b.Instance, b.LastSeen = s4t.BoardOnline, int64(7+i), 3, 2, "w1", "x", "y", &at
		}
		write(t, db, func(tx *Tx) error {
			ids := []s4t.BoardID{w.one.ID, w.two.ID}
			slices.Sort(ids)
			if _, err := tx.LockedBoards(ids); err != nil {
				return err
			}
			return errors.Join(tx.SetPresences(nil), tx.SetPresences(boards))
		})
		view(t, db, func(tx *Tx) error {
			for _, want := range boards {
				got, err := tx.Board(want.ID)
				same(t, "epoch", got.Epoch, err, want.Epoch)
				same(t, "generation", got.Generation, err, int64(1))
				same(t, "seen", *got.LastSeen, err, at)
				same(t, "instance", got.Instance, err, "y")
			}
			return nil
		})
	})
}

// TestWhatBoardsSayIsWrittenTogether, and where they are placed; and who of them has
// something that has to be there, too, is known.
func TestWhatBoardsSayIsWrittenTogether(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		boards := []Board{w.one, w.two} // each with a port
		ids := []s4t.BoardID{w.one.ID, w.two.ID}
		slices.Sort(ids)
		bare := w.one
		bare.ID, bare.Name, bare.CodeHash = s4t.BoardID(s4t.NewID()), "bare", ""
		write(t, db, func(tx *Tx) error { return tx.InsertBoard(bare) })
		for i := range boards {
			boards[i].Info.Hostname = fmt.Sprint("host", i)
		}
		write(t, db, func(tx *Tx) error {
			if _, err := tx.LockedBoards(ids); err != nil {
				return err
			}
			return errors.Join(tx.SetBoardsSay(nil), tx.SetBoardsSay(boards), tx.SetBoardsAgent(ids, "t9"))
		})
		view(t, db, func(tx *Tx) error {
			for _, want := range boards {
				got, err := tx.Board(want.ID)
				same(t, "what it says", got.Info, err, want.Info)
				same(t, "its agent", got.TunnelAgent, err, "t9")
				same(t, "its labels", got.Labels, err, want.Labels)
			}
			got, err := tx.BoardsWithParts(append(ids, bare.ID))
			same(t, "boards with parts", got, err, ids)
			return nil
		})
	})
}
