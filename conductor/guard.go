package conductor

import (
	"fmt"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Guards protect who is on a network from its ports. Where an admin has joined
// machines of the data centre to it, those are protected too: lifting one is an
// admin's word.

// joined reports whether machines of the data centre are on a network.
func joined(n s4t.Network) bool { return n.Uplink != nil || len(n.AttachGRE) > 0 }

// lifted names the guards that are not as they are by default, as the flags
// that lift them; none where all are on.
func lifted(g s4t.PortGuards) []string {
	var flags []string
	switch { // the second implies the first
	case g.BridgeTo != "":
		flags = append(flags, "--bridge-to "+g.BridgeTo)
	case g.AllowAnySource:
		flags = append(flags, "--allow-any-source")
	}
	if g.AllowDHCP {
		flags = append(flags, "--allow-dhcp")
	}
	if g.AllowRA {
		flags = append(flags, "--allow-ra")
	}
	if g.StormLimit > s4t.DefaultStormLimit {
		flags = append(flags, fmt.Sprintf("--storm-limit %d", g.StormLimit))
	}
	return flags
}

// mayLift checks that the caller may have ports with these guards on a network,
// and tells who watches where machines of the data centre are concerned.
func (ch *change) mayLift(caller wire.Caller, op string, n s4t.Network, g s4t.PortGuards, boards []store.Board, rec *s4t.AuditRecord) error {
	flags := lifted(g)
	if len(flags) == 0 || !joined(n) {
		return nil
	}
	if !caller.Role.Covers(s4t.RoleAdmin) {
		return s4t.Errorf(s4t.Forbidden, op, "leave "+strings.Join(flags, ", ")+" out, or ask an admin of this cloud",
			"machines of the data centre are on network %q: lifting a guard there needs the role %s, this token has %q", n.Name, s4t.RoleAdmin, caller.Role)
	}
	for _, b := range boards {
		ch.liftedEvent(n, b.Name, flags)
	}
	rec.Detail = "guards lifted: " + strings.Join(flags, ", ")
	return nil
}

// noneLifted checks that every guard of a network is on before machines of the
// data centre are joined to it, unless the admin has seen that and allows it.
func (ch *change) noneLifted(op string, n s4t.Network, allowed bool) error {
	ports, err := ch.PortsOfNetwork(n.ID)
	if err != nil {
		return err
	}
	var open []string
	for _, p := range ports {
		flags := lifted(p.Guards)
		if len(flags) == 0 {
			continue
		}
		if allowed {
			ch.liftedEvent(n, p.Board, flags)
		}
		open = append(open, fmt.Sprintf("board %s (%s)", p.Board, strings.Join(flags, ", ")))
	}
	if allowed || len(open) == 0 {
		return nil
	}
	more := ""
	if len(open) > maxCandidates {
		more = fmt.Sprintf(" and %d more", len(open)-maxCandidates)
		open = open[:maxCandidates]
	}
	return s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("have them removed and added again without (`s4t bridge remove %s --board B`, `s4t bridge add`), or accept it with --allow-lifted", n.Name),
		"guards are lifted for %s%s: what they send would reach the machines of the data centre", strings.Join(open, ", "), more)
}

// liftedEvent tells that a port with lifted guards and machines of the data
// centre are on one network.
func (ch *change) liftedEvent(n s4t.Network, board string, flags []string) {
	ch.event(s4t.Event{Kind: "network.guards_lifted", Project: n.Project, Object: string(n.ID), Name: n.Name, Board: board, Detail: strings.Join(flags, ", ")})
}
