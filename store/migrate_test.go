package store

import (
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/wire"
)

// onBothFromVersion runs a test on a database of each engine that had a version
// of the schema, was filled by queries, and then was opened.
func onBothFromVersion(t *testing.T, version int64, queries []string, test func(t *testing.T, db *DB)) {
	fill := func(t *testing.T, url string) {
		db := &DB{}
		if err := db.open(url); err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		p, err := db.migrations()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.UpTo(t.Context(), version); err != nil {
			t.Fatal(err)
		}
		for _, query := range queries {
			if _, err := db.write.ExecContext(t.Context(), query); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
	}
	run := func(t *testing.T, url string) {
		fill(t, url)
		test(t, openUnwatched(t, url))
	}
	t.Run("sqlite", func(t *testing.T) { run(t, "sqlite:"+t.TempDir()+"/s4t.db") })
	t.Run("postgres", func(t *testing.T) { run(t, pgtest.URL(t)) })
}

// TestIdsGoOnAfterTheirMigration: rows that were there keep their ids, and the
// next one continues.
func TestIdsGoOnAfterTheirMigration(t *testing.T) {
	onBothFromVersion(t, 5, []string{
		`INSERT INTO events VALUES (8, 1, 'a', '', '', '', '', '', ''), (9, 2, 'b', '', '', '', '', '', '')`,
		`INSERT INTO audit VALUES (5, 1, '', '', 'x', '', '', '', '', '')`,
	}, func(t *testing.T, db *DB) {
		write(t, db, func(tx *Tx) error {
			trimmed, err := tx.TrimmedEvents("")
			same(t, "trimmed before", trimmed, err, int64(7))
			if err := tx.InsertAudit(s4t.AuditRecord{At: at, Action: "y"}); err != nil {
				return err
			}
			tx.InsertEvents(s4t.Event{Kind: "c"})
			return nil
		})
		view(t, db, func(tx *Tx) error {
			events, err := tx.Events("", "", 8, 10)
			same(t, "events", len(events), err, 2)
			same(t, "next event", events[1].ID, err, 10)
			records, err := tx.AuditRecords(AuditFilter{}, wire.Page{})
			same(t, "audit records", len(records.Items), err, 2)
			same(t, "next audit record", records.Items[1].ID, err, 6)
			return err
		})
	})
}

// TestTheMigrationToRealizations: what was known of boards is their presence
// now, what is wanted is to be found anew, and what ran has ended.
func TestTheMigrationToRealizations(t *testing.T) {
	const second = 1_000_000
	onBothFromVersion(t, 5, []string{
		`INSERT INTO projects (id, name, created_at, weight) VALUES ('p', 'lab', 1, 3)`,
		`INSERT INTO agents VALUES ('t1', 'tunnel-agent', 'i', 'https://t:1', 't', 50000, 50001, 7, 6, 1, 2000000)`,
		`INSERT INTO boards VALUES
			('b1', 'p', 'one', 'gateway', '{"room":"attic"}', '', NULL, 1, 'AQID', 'online', 3, 5, 4, 'w1', 'wi', 'bi', 't1', 1, 9000000, 0, '{"os":"linux"}', '["slow"]', 8000000, 1),
			('b2', 'p', 'two', '', '', '', 'hash', 0, '', 'registered', 0, 1, 0, '', '', '', '', 0, 0, 0, '', '', NULL, 2),
			('b3', 'p', 'three', '', '', '', NULL, 1, 'AQID', 'offline', 2, 1, 1, 'w1', 'wi', 'bi', '', 0, 0, 6000000, '', '', 7000000, 3)`,
		`INSERT INTO networks VALUES ('n', 'p', 'net', 2, 'gre', 1458, 4294967295, 't1', 1)`,
		`INSERT INTO bridges VALUES ('br', 'p', 'net', 'n', 'up', 1)`,
		`INSERT INTO ports VALUES ('po', 'n', 'p', 'b1', '02:00:00:00:00:01', 's4t-one', '{"allow_dhcp":true}', '100.64.0.2', 1, 1, '', 'slow', 'up', 1)`,
		`INSERT INTO addresses VALUES ('n', '10.77.0.2', 24, 'po', 0)`,
		`INSERT INTO services VALUES ('s', 'p', 'b1', 'ssh', 22, '127.0.0.1', 't1', 50000, 1, 'slow', 'up', 1)`,
		`INSERT INTO gre_endpoints VALUES ('e', 'n', 't1', '192.0.2.7', '', 5, '', 1, 'slow', 1)`,
		`INSERT INTO uplinks VALUES ('n', 't1', 'br0', '', 'up', 'slow', 1)`,
		`INSERT INTO operations VALUES
			('o1', 'bridge.create', 'p', 'br', 'net', 'running', '[{"number":1,"name":"ask"}]', '{"boards":{}}', '', '', 4000000, NULL),
			('o2', 'bridge.create', 'p', 'br', 'net', 'succeeded', '', '', '', '', 5000000, 6000000),
			('o3', 'bridge.add', 'p', 'br', 'net', 'failed', '', '', 'late', 'timeout', 6000000, 7000000)`,
	}, func(t *testing.T, db *DB) {
		one := Board{
			Board: s4t.Board{
				ID: "b1", Name: "one", Project: "p", Type: "gateway", Labels: map[string]string{"room": "attic"}, Status: s4t.BoardOnline, Epoch: 3, Generation: 5, AppliedGeneration: 4,
				WAMPAgent: "w1", TunnelAgent: "t1", Info: s4t.BoardInfo{OS: "linux"}, Problems: []string{"slow"}, CreatedAt: fromMicros(1),
			},
			CodeUsed: true, PublicKey: []byte{1, 2, 3}, Incarnation: "wi", Instance: "bi", StreamsUntil: fromMicros(9 * second),
		}
		two := Board{Board: s4t.Board{ID: "b2", Name: "two", Project: "p", Status: s4t.BoardRegistered, Generation: 1, CreatedAt: fromMicros(2)}, CodeHash: "hash", PublicKey: []byte{}}
		three := Board{
			Board:    s4t.Board{ID: "b3", Name: "three", Project: "p", Status: s4t.BoardOffline, Epoch: 2, Generation: 1, AppliedGeneration: 1, WAMPAgent: "w1", CreatedAt: fromMicros(3)},
			CodeUsed: true, PublicKey: []byte{1, 2, 3}, Incarnation: "wi", Instance: "bi", ClonedAt: fromMicros(6 * second),
		}
		seen, earlier := fromMicros(8*second), fromMicros(7*second)
		one.LastSeen, three.LastSeen = &seen, &earlier
		expires := fromMicros(2 + 7*24*3600*second) // a code of before: a week after it was made
		two.CodeExpiresAt = &expires
		agent := Agent{
			ID: "t1", Kind: wire.AgentTunnel, Incarnation: "i", URL: "https://t:1", Host: "t", PublicPorts: s4t.PortRange{First: 50000, Last: 50001},
			Generation: 7, Applied: 6, Online: true, SeenAt: fromMicros(2 * second),
		}
		view(t, db, func(tx *Tx) error {
			boards, err := tx.Boards("", "", nil, wire.Page{})
			same(t, "boards", boards.Items, err, []Board{one, three, two})
			lagging, err := tx.LaggingBoards("", 10)
			same(t, "boards that lag", lagging, err, []Woken{{Board: "b1", Generation: 5, WAMPAgent: "w1", Online: true}})
			a, err := tx.Agent("t1")
			same(t, "agent", a, err, agent)

			filled, err := tx.RealizationsFilled()
			same(t, "realizations", filled, err, false)
			p, err := tx.Port("po")
			same(t, "status of a port", p.Status, err, s4t.PortPending)
			same(t, "addresses of a port", p.Addresses, err, []string{"10.77.0.2/24"})
			same(t, "interface of a port", p.Interface, err, "s4t-one")
			s, err := tx.Service("s")
			same(t, "status of a service", s.Status, err, s4t.ServicePending)
			same(t, "public port of a service", s.PublicPort, err, 50000)
			n, err := tx.Network("n")
			same(t, "endpoints", n.AttachGRE, err, []s4t.GREEndpoint{{ID: "e", Remote: "192.0.2.7", Key: 5, Status: s4t.PortDown}})
			same(t, "bridge of the uplink", n.Uplink.Bridge, err, "br0")
			same(t, "status of the uplink", n.Uplink.Status, err, s4t.PortPending)
			b, err := tx.Bridge("br") // as it was told last: that it is down now is told once the conductor knows
			same(t, "status of a bridge", b.Status, err, s4t.BridgeUp)

			ops, err := tx.Operations("", wire.Page{})
			same(t, "operations", len(ops.Items), err, 3)
			began, ended := fromMicros(4*second), fromMicros(6*second)
			same(t, "what ran", ops.Items[0], err, Operation{
				Operation: s4t.Operation{
					ID: "o1", Kind: "bridge.create", Project: "p", Object: "br", Status: s4t.OperationFailed, Steps: []s4t.Step{{Number: 1, Name: "ask"}},
					Error: "the cloud was updated meanwhile; ask again if it is not as wanted", ErrorKind: s4t.Unavailable, CreatedAt: began, EndedAt: &began,
				},
				Name: "net",
			})
			same(t, "what had ended", ops.Items[1], err, Operation{
				Operation: s4t.Operation{ID: "o2", Kind: "bridge.create", Project: "p", Object: "br", Status: s4t.OperationSucceeded, CreatedAt: fromMicros(5 * second), EndedAt: &ended}, Name: "net",
			})
			same(t, "what had failed", ops.Items[2].Error, err, "late")
			running, err := tx.OverdueOperations(true)
			same(t, "what still runs", running, err, []s4t.OperationID{})
			return nil
		})
		write(t, db, func(tx *Tx) error { // the presence goes with its board
			if err := tx.DeleteBoard("b1"); err != nil {
				return err
			}
			counts, err := tx.CountBoards("")
			same(t, "boards that are left", counts, err, map[s4t.BoardStatus]int{s4t.BoardRegistered: 1, s4t.BoardOnline: 0, s4t.BoardOffline: 1})
			return nil
		})
	})
}
