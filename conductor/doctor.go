package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// doctorTimeout is how long a board may look at itself.
const doctorTimeout = 8 * time.Second

// Levels of a finding, worst first.
var levels = []string{wire.LevelError, wire.LevelWarning, wire.LevelOK}

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
		var by right
		if b, by, err = findBoard(tx, req.Caller, op, wire.MethodBoardDoctor, req.Ref); err != nil {
			return nil, err
		}
		return c.examine(tx, b, by)
	})
	if err != nil {
		return report, err
	}
	report.Board, report.Status, report.Findings = b.Name, b.Status, found
	if b.Status == s4t.BoardOnline {
		said, err := c.askBoard(ctx, req.Caller.Project, b)
		if err != nil {
			return report, err
		}
		report.Findings = merge(report.Findings, said)
	}
	slices.SortStableFunc(report.Findings, func(x, y wire.Finding) int {
		return slices.Index(levels, x.Level) - slices.Index(levels, y.Level)
	})
	return report, nil
}

// merge puts what a board finds itself beside what the cloud knows of it. The
// board knows better why it cannot carry networks, and what it told once is not
// said twice.
func merge(cloud, board []wire.Finding) []wire.Finding {
	sees := func(f wire.Finding) bool {
		return slices.ContainsFunc(board, func(b wire.Finding) bool {
			return b.Check == "networks" && f.Check == b.Check || b.ID == f.ID && b.Cause == f.Cause
		})
	}
	return append(slices.DeleteFunc(cloud, sees), board...)
}

// examine is what the cloud knows of a board.
func (c *Conductor) examine(tx *store.Tx, b store.Board, by right) ([]wire.Finding, error) {
	now := c.now()
	var found []wire.Finding
	add := func(id, cause, cure string) { found = append(found, wire.NewFinding(id, cause, cure)) }
	switch {
	case b.Status == s4t.BoardOnline:
		found = append(found, wire.Finding{Check: "session", Level: wire.LevelOK, Cause: "the board is connected", Certain: true})
	case len(b.PublicKey) == 0 && b.CodeUsed:
		add(wire.BoardLeft, "the board has left: it is not enrolled any more", fmt.Sprintf("`s4t board update %s --new-code`, then join with the new join string", b.Name))
	case len(b.PublicKey) == 0 && b.CodeExpiresAt != nil && now.After(*b.CodeExpiresAt):
		add(wire.CodeExpired, fmt.Sprintf("no board has joined with this board's code, which was good until %s", b.CodeExpiresAt.UTC().Format(time.RFC3339)),
			fmt.Sprintf("`s4t board update %s --new-code`, then join with the new join string", b.Name))
	case len(b.PublicKey) == 0:
		add(wire.NeverJoined, "no board has joined with this board's code yet", "")
	case b.LastSeen == nil:
		add(wire.NeverConnected, "the board has joined and never connected", "")
	default:
		add(wire.BoardOffline, fmt.Sprintf("the board is offline since %s", b.LastSeen.UTC().Format(time.RFC3339)), "")
	}
	if b.Status == s4t.BoardOnline && b.AppliedGeneration < b.Generation {
		add(wire.BoardBehind, fmt.Sprintf("the board has applied generation %d of %d", b.AppliedGeneration, b.Generation), "")
	}
	for _, p := range b.Problems {
		add(wire.AgentProblem, p, "")
	}
	if !b.ClonedAt.IsZero() && now.Sub(b.ClonedAt) < cloneNotice {
		add(wire.BoardCloned, "another board connects with this board's key and is refused", "")
	}
	if older(b.Info.Version, c.cfg.Version) {
		add(wire.OldVersion, fmt.Sprintf("the board runs lightning-rod %s, the cloud is %s", b.Info.Version, c.cfg.Version), "")
	}
	if b.Status == s4t.BoardOnline && !b.Info.Networks {
		add(wire.NoNetworks, "the board cannot carry virtual networks: it may not create devices", "run lightning-rod as root (or with CAP_NET_ADMIN) and see that /dev/net/tun is there")
	}
	ports, err := tx.PortsOfBoard(b.ID)
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		if by.lent() && p.Project != by.Project { // others' are not its affair
			continue
		}
		if p.Status != s4t.PortUp && b.Status == s4t.BoardOnline {
			add(wire.PortDown, missing(fmt.Sprintf("port %s (%s) is %s", p.ID, p.Interface, p.Status), p.Problem), "")
		}
	}
	services, err := tx.ServicesOfBoard(b.ID)
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		if by.lent() && s.Project != by.Project {
			continue
		}
		if s.TargetStatus == s4t.TargetRefused {
			add(wire.TargetRefused, fmt.Sprintf("service %s: nothing listens at %s on the board", s.Name, net.JoinHostPort(s.Target, strconv.Itoa(s.TCPPort))), "")
		} else if s.Problem != "" {
			add(wire.ServiceDown, fmt.Sprintf("service %s: %s", s.Name, s.Problem), fmt.Sprintf("`s4t service hide %s %s`, then expose it with another public port", b.Name, s.Name))
		}
	}
	if b.TunnelAgent != "" {
		a, err := tx.Agent(b.TunnelAgent)
		if err != nil {
			return nil, err
		}
		if !a.Online {
			add(wire.TunnelAgentAway, fmt.Sprintf("tunnel agent %s is away since %s", a.ID, a.SeenAt.UTC().Format(time.RFC3339)), "")
		}
	}
	return found, nil
}

// askBoard is what a board finds itself. It is an error only where the caller's
// project asks too many.
func (c *Conductor) askBoard(ctx context.Context, project s4t.ProjectID, b store.Board) ([]wire.Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	raw, err := c.ask(ctx, project, b, "doctor", nil)
	if s4t.KindOf(err) == s4t.TooMany {
		return nil, err
	}
	var report wire.DoctorReport
	if err == nil {
		err = json.Unmarshal(raw, &report)
	}
	if err != nil {
		return []wire.Finding{wire.NewFinding(wire.BoardSilent, "the board did not say what it finds itself", "")}, nil
	}
	return report.Findings, nil
}
