package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// doctorTimeout is how long a board may look at itself.
const doctorTimeout = 8 * time.Second

// Levels of a finding, worst first.
var levels = []string{"error", "warning", "ok"}

// boardDoctor says what stands between a board and its work: what the cloud
// knows, and, where the board is online, what it finds itself.
func (c *Conductor) boardDoctor(ctx context.Context, req wire.RefRequest) (wire.DoctorReport, error) {
	op := fmt.Sprintf("examine board %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return wire.DoctorReport{}, err
	}
	var b store.Board
	report := wire.DoctorReport{}
	found, err := view(ctx, c, func(tx *store.Tx) ([]wire.Finding, error) {
		var err error
		if b, err = findBoard(tx, req.Caller, op, req.Ref); err != nil {
			return nil, err
		}
		return c.examine(tx, b)
	})
	if err != nil {
		return report, err
	}
	report.Board, report.Status, report.Findings = b.Name, b.Status, found
	if b.Status == s4t.BoardOnline {
		report.Findings = append(report.Findings, c.askBoard(ctx, b)...)
	}
	slices.SortStableFunc(report.Findings, func(x, y wire.Finding) int {
		return slices.Index(levels, x.Level) - slices.Index(levels, y.Level)
	})
	return report, nil
}

// examine is what the cloud knows of a board.
func (c *Conductor) examine(tx *store.Tx, b store.Board) ([]wire.Finding, error) {
	now := c.now()
	var found []wire.Finding
	add := func(check, level, cause, cure string, certain bool) {
		found = append(found, wire.Finding{Check: check, Level: level, Cause: cause, Cure: cure, Certain: certain})
	}
	switch {
	case b.Status == s4t.BoardOnline:
		add("session", "ok", "the board is connected", "", true)
	case len(b.PublicKey) == 0 && b.CodeUsed:
		add("session", "error", "the board has left: it is not enrolled any more", fmt.Sprintf("`s4t board update %s --new-code`, then join with the new join string", b.Name), true)
	case len(b.PublicKey) == 0:
		add("session", "error", "no board has joined with this board's code yet", "run `lightning-rod join` on the board with its join string", true)
	case b.LastSeen == nil:
		add("session", "error", "the board has joined and never connected", "run `lightning-rod doctor` on the board", true)
	default:
		add("session", "error", fmt.Sprintf("the board is offline since %s", b.LastSeen.UTC().Format(time.RFC3339)), "check its power and its link; `lightning-rod doctor` on the board names the cause", true)
	}
	if b.Status == s4t.BoardOnline && b.AppliedGeneration < b.Generation {
		add("generation", "warning", fmt.Sprintf("the board has applied generation %d of %d", b.AppliedGeneration, b.Generation), "wait a moment; if it stays so, see the problems that the board tells", true)
	}
	for _, p := range b.Problems {
		add("problem", "error", p, "", true)
	}
	if !b.ClonedAt.IsZero() && now.Sub(b.ClonedAt) < cloneNotice {
		add("clone", "error", "another board connects with this board's key and is refused", "on the copy: `lightning-rod leave`, then join with a code of its own", true)
	}
	if b.Status == s4t.BoardOnline && !b.Info.Networks {
		add("networks", "warning", "the board cannot carry virtual networks: it may not create devices", "run lightning-rod as root (or with CAP_NET_ADMIN) and see that /dev/net/tun is there", true)
	}
	ports, err := tx.PortsOfBoard(b.ID)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		if p.Status != s4t.PortUp && b.Status == s4t.BoardOnline {
			add("port", "error", missing(fmt.Sprintf("port %s (%s) is %s", p.ID, p.Interface, p.Status), p.Problem), "", true)
		}
	}
	services, err := tx.ServicesOfBoard(b.ID)
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		if s.Problem != "" {
			add("service", "error", fmt.Sprintf("service %s: %s", s.Name, s.Problem), fmt.Sprintf("`s4t service hide %s %s`, then expose it with another public port", b.Name, s.Name), true)
		}
	}
	if b.TunnelAgent != "" {
		a, err := tx.Agent(b.TunnelAgent)
		if err != nil {
			return nil, err
		}
		if !a.Online {
			add("tunnel agent", "error", fmt.Sprintf("tunnel agent %s is away since %s", a.ID, a.SeenAt.UTC().Format(time.RFC3339)), "the operator has to look at it", true)
		}
	}
	return found, nil
}

// askBoard is what a board finds itself.
func (c *Conductor) askBoard(ctx context.Context, b store.Board) []wire.Finding {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	var raw json.RawMessage
	err := c.cfg.Queue.Call(ctx, wire.TopicWAMPAgent+"."+string(b.WAMPAgent), wire.MethodBoardCall, wire.BoardCall{Board: b.ID, Procedure: "doctor"}, &raw)
	var report wire.DoctorReport
	if err == nil {
		err = json.Unmarshal(raw, &report)
	}
	if err != nil {
		return []wire.Finding{{Check: "board", Level: "warning", Cause: "the board did not say what it finds itself", Cure: "run `lightning-rod doctor` on the board", Certain: false}}
	}
	return report.Findings
}
