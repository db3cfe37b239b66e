package conductor

import (
	"errors"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"v0.1.0", "v0.2.0", true},
		{"v0.2.0", "v0.1.9", false},
		{"v0.2.0", "v0.2.0", false},
		{"v0.2.0-3-gabcdef0", "v0.2.0-14-g0123456", true},
		{"v0.2.0", "v0.2.0-1-g0123456", true},
		{"v1.0.0", "v0.9.9-100-gabcdef0-dirty", false},
		{"dev", "v0.2.0", false},
		{"v0.2.0", "1a2b3c4", false},
		{"", "", false},
	} {
		if got := older(tt.a, tt.b); got != tt.want {
			t.Errorf("older(%q, %q) = %v", tt.a, tt.b, got)
		}
	}
}

// TestDoctorOfTheCloud changes one board's row at a time and asks what the
// doctor sees in it.
func TestDoctorOfTheCloud(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(l *lab)
		want    string // ID
	}{
		{"no board has joined yet", func(l *lab) { row(l, func(b *store.Board) { b.CodeUsed, b.PublicKey = false, nil }) }, wire.NeverJoined},
		{"the code has expired", func(l *lab) {
			row(l, func(b *store.Board) {
				past := time.Now().Add(-time.Minute)
				b.CodeUsed, b.PublicKey, b.CodeExpiresAt = false, nil, &past
			})
		}, wire.CodeExpired},
		{"nothing listens where a service goes", func(l *lab) {
			f := l.only()
			l.connect(f, "i1")
			op := l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "ssh"}))
			l.mu.Lock()
			f.fails = map[string]wire.ResourceState{op.Object: {Up: true, ProblemID: wire.TargetRefused, Problem: "nothing listens there"}}
			l.mu.Unlock()
			l.report(f)
		}, wire.TargetRefused},
		{"the board has left", func(l *lab) {
			row(l, func(b *store.Board) { b.CodeUsed, b.PublicKey = true, nil })
		}, wire.BoardLeft},
		{"the board has joined and never connected", func(l *lab) {
			row(l, func(b *store.Board) { b.CodeUsed, b.PublicKey = true, make([]byte, 32) })
		}, wire.NeverConnected},
		{"the board is offline", func(l *lab) {
			seen := time.Now().Add(-time.Hour)
			row(l, func(b *store.Board) { b.CodeUsed, b.PublicKey, b.LastSeen = true, make([]byte, 32), &seen })
		}, wire.BoardOffline},
		{"the board is behind", func(l *lab) {
			row(l, func(b *store.Board) {
				b.Status, b.WAMPAgent, b.Incarnation, b.AppliedGeneration = s4t.BoardOnline, wampID, "w1", -1
			})
		}, wire.BoardBehind},
		{"the board tells a problem", func(l *lab) {
			row(l, func(b *store.Board) {
				b.Status, b.WAMPAgent, b.Incarnation, b.Problems = s4t.BoardOnline, wampID, "w1", []string{"the disk is slow"}
			})
		}, wire.AgentProblem},
		{"a clone knocks", func(l *lab) {
			row(l, func(b *store.Board) { b.ClonedAt = time.Now() })
		}, wire.BoardCloned},
		{"the board cannot make devices", func(l *lab) {
			row(l, func(b *store.Board) {
				b.Status, b.WAMPAgent, b.Incarnation, b.Info.Networks = s4t.BoardOnline, wampID, "w1", false
			})
		}, wire.NoNetworks},
		{"an old lightning-rod", func(l *lab) {
			row(l, func(b *store.Board) { b.Info.Version = "v0.1.0" })
			l.c.cfg.Version = "v0.2.0"
		}, wire.OldVersion},
		{"a public port cannot be had", func(l *lab) {
			// The tunnel agent has said what it has before the row is changed.
			l.connect(l.only(), "i1")
			l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "ssh"}))
			err := l.db.Tx(l.t.Context(), func(tx *store.Tx) error {
				held, err := tx.RealizationsOfHolder(string(tunnelID))
				for i := range held {
					if held[i].Kind == wire.KindService {
						held[i].Problem = "the port is in use"
					}
				}
				if err != nil {
					return err
				}
				return tx.PutRealizations(held)
			})
			if err != nil {
				l.t.Fatal(err)
			}
		}, wire.ServiceDown},
		{"the board's tunnel agent is away", func(l *lab) {
			err := l.db.Tx(l.t.Context(), func(tx *store.Tx) error {
				a, err := tx.Agent(tunnelID)
				if err != nil {
					return err
				}
				a.Online = false
				return tx.PutAgent(a)
			})
			if err != nil {
				l.t.Fatal(err)
			}
			row(l, func(b *store.Board) { b.TunnelAgent = tunnelID })
		}, wire.TunnelAgentAway},
		{"a port of the board is down", func(l *lab) {
			call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}})
			row(l, func(b *store.Board) { b.Status, b.WAMPAgent, b.Incarnation = s4t.BoardOnline, wampID, "w1" })
		}, wire.PortDown},
		{"the board says nothing", func(l *lab) {
			row(l, func(b *store.Board) { b.Status, b.WAMPAgent = s4t.BoardOnline, "nobody" })
		}, wire.BoardSilent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.board("one")
			tt.prepare(l)
			d := call[wire.DoctorReport](l, wire.MethodBoardDoctor, wire.RefRequest{Caller: l.reader, Ref: "one"})
			for _, f := range d.Findings {
				if f.ID == tt.want {
					if known, ok := wire.Diagnose(f.ID); !ok || f.Level != known.Level || f.Certain && !known.Certain || f.Cause == "" || f.Cure == "" {
						t.Errorf("%+v", f)
					}
					return
				}
			}
			t.Errorf("no %s in %+v", tt.want, d.Findings)
		})
	}
}

// only is the one board that there is.
func (l *lab) only() (only *fakeBoard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.boards {
		only = f
	}
	return only
}

// row changes the row of board "one".
func row(l *lab, change func(*store.Board)) {
	l.t.Helper()
	one := l.boardNow("one").ID
	err := l.db.Tx(l.t.Context(), func(tx *store.Tx) error {
		b, err := tx.Board(one)
		if err != nil {
			return err
		}
		change(&b)
		return errors.Join(tx.DescribeBoard(b), tx.SetBoardKey(b), tx.SetBoardSays(b), tx.SetBoardStreams(b), tx.SetBoardCloned(b), tx.SetPresence(b))
	})
	if err != nil {
		l.t.Fatal(err)
	}
}
