package conductor

import (
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// What a board that has never been there has costs its tunnel agents nothing:
// their parts of it (the far end of a port, a public port, the network when it
// has no other port) are wanted of them from its first session on. Numbers and
// addresses are reserved before.

// attached reports whether tunnel agents are to have their parts of what a board
// has: it has begun a session, with the key that it has now.
func attached(status s4t.BoardStatus) bool { return status != s4t.BoardRegistered }

// attach wants them, when a board begins its first session; its idle data
// rtunnels are [change.wantStreams].
func (ch *change) attach(b store.Board) error {
	ports, err := ch.PortsOfBoard(b.ID)
	if err != nil {
		return err
	}
	for _, p := range ports {
		p.BoardStatus = b.Status
		n, err := ch.Network(p.Network)
		if err != nil {
			return err
		}
		if err := ch.wantNetwork(n); err != nil {
			return err
		}
		if err := ch.wantPort(p); err != nil {
			return err
		}
	}
	services, err := ch.ServicesOfBoard(b.ID)
	if err != nil {
		return err
	}
	for _, s := range services {
		s.BoardStatus = b.Status
		ch.wantService(s)
	}
	return nil
}

// detach takes them back. Networks stay.
func (ch *change) detach(b store.Board) error {
	ports, err := ch.PortsOfBoard(b.ID)
	if err != nil {
		return err
	}
	for _, p := range ports {
		ch.unwant(agentOf(p.TunnelAgent), wire.KindPort, string(p.ID))
	}
	services, err := ch.ServicesOfBoard(b.ID)
	if err != nil {
		return err
	}
	for _, s := range services {
		ch.unwant(agentOf(s.Agent), wire.KindService, string(s.ID))
	}
	if b.TunnelAgent != "" {
		ch.unwant(agentOf(b.TunnelAgent), wire.KindStreams, string(b.ID))
	}
	return nil
}

// replaceBoard ends the session of a board whose place another takes: its key
// is worth nothing from now on. What it has stays wanted; tunnel agents give up
// their parts until the new one connects (see [change.attach]), so that nothing
// which the old one opened serves it any more.
func (ch *change) replaceBoard(b *store.Board) error {
	if _, err := ch.silent(boardOf(b.ID), wire.MaxResources); err != nil {
		return err
	}
	if b.Status == s4t.BoardOnline {
		ch.kick(*b, wire.KickLeft, "another device has taken this board's place, with a new code")
		ch.boardEvent("board.offline", *b, "another device takes its place")
	}
	if err := ch.endOutage(b.ID); err != nil {
		return err
	}
	b.Epoch++
	b.Status, b.WAMPAgent, b.Incarnation, b.Instance, b.ReportSeq, b.AppliedGeneration = s4t.BoardRegistered, "", "", "", 0, 0
	b.ClonedAt, b.Problems = time.Time{}, nil
	ch.heard[string(b.ID)] = true
	ch.boardEvent("board.replaced", *b, "a new key, with the code that was made for it; the earlier one has ended")
	for _, write := range []func(store.Board) error{ch.SetPresence, ch.SetBoardCloned, ch.SetBoardSays} {
		if err := write(*b); err != nil {
			return err
		}
	}
	return ch.detach(*b)
}
