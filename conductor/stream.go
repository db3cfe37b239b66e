package conductor

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

const (
	// warmBusy idle data rtunnels are kept for a board with an exposed service:
	// two connections that come together cost no handshake.
	warmBusy = 2
	// warmRecent is kept for a while after a user opened a stream.
	warmRecent = 1

	// streamsFor is how long a board keeps idle data rtunnels after a user
	// opened a stream; it is renewed when less than streamsRenew is left.
	streamsFor   = 10 * time.Minute
	streamsRenew = 5 * time.Minute
)

// wantStreams wants of a board that is placed the idle data rtunnels that it
// should keep now, and of its tunnel agent that it takes them. A board that is
// not enrolled, or has never been there, has none.
func (ch *change) wantStreams(b store.Board) error {
	if b.TunnelAgent == "" {
		return nil
	}
	id := string(b.ID)
	if len(b.PublicKey) == 0 || !attached(b.Status) {
		ch.unwant(agentOf(b.TunnelAgent), wire.KindStreams, id)
		ch.unwant(boardOf(b.ID), wire.KindStreams, id)
		return nil
	}
	agent, err := ch.Agent(b.TunnelAgent)
	if err != nil {
		return err
	}
	services, err := ch.ServicesOfBoard(b.ID)
	if err != nil {
		return err
	}
	limit, err := ch.QuotaLimit(b.Project, s4t.QuotaStreams)
	if err != nil {
		return err
	}
	leases, err := ch.LeasesOf(b.ID)
	if err != nil {
		return err
	}
	ch.wantStreamsAt(b, agent, services, leases, limit)
	return nil
}

// wantStreamsAt has the streams of a board that may have some carried by its tunnel agent.
func (ch *change) wantStreamsAt(b store.Board, agent store.Agent, services []store.Service, leases map[s4t.LeaseID]time.Time, limit int64) {
	id := string(b.ID)
	spec := wire.TunnelStreams{Project: b.Project, Limit: limit}
	for lease, until := range leases {
		if spec.Leases == nil {
			spec.Leases = map[s4t.LeaseID]int64{}
		}
		spec.Leases[lease] = until.UnixMicro()
	}
	ch.want(agentOf(agent.ID), wire.KindStreams, id, spec)
	switch {
	case len(services) > 0:
		ch.want(boardOf(b.ID), wire.KindStreams, id, wire.DesiredStreams{URL: agent.URL, Warm: warmBusy})
	case b.StreamsUntil.After(ch.now):
		ch.want(boardOf(b.ID), wire.KindStreams, id, wire.DesiredStreams{URL: agent.URL, Warm: warmRecent})
	default:
		ch.unwant(boardOf(b.ID), wire.KindStreams, id)
	}
}

// hostKeysTimeout bounds asking a board for its SSH host keys: the board's own
// bound, and the way there.
const hostKeysTimeout = 4 * time.Second

// streamOpen grants one stream to a TCP service of a board, and sees to it
// that the board keeps an idle data rtunnel for it.
func (c *Conductor) streamOpen(ctx context.Context, req wire.StreamOpen) (wire.StreamGrant, error) {
	op, action := fmt.Sprintf("open a stream to port %d of board %q", req.TCPPort, req.Board), "stream.open"
	if req.Terminal {
		op, action = fmt.Sprintf("open a terminal of board %q", req.Board), "terminal.open"
	}
	if err := validResumable(op, req); err != nil {
		return wire.StreamGrant{}, err
	}
	target, err := targetOf(op, req)
	if err != nil {
		return wire.StreamGrant{}, err
	}
	var b store.Board
	var by right
	var agent store.Agent
	var recording s4t.RecordingID
	err = c.request(ctx, req.Caller, action, req.Board, func(ch *change, rec *s4t.AuditRecord) (err error) {
		if b, by, err = ch.findBoard(req.Caller, op, streamUse(req, target), req.Board); err != nil {
			return err
		}
		rec.Object, rec.Name, rec.Board, rec.Project = string(b.ID), b.Name, b.ID, by.Project
		rec.Detail = target + " from " + s4t.LoopbackFor(req.Caller.User).String()
		if b.Status != s4t.BoardOnline {
			return s4t.Errorf(s4t.Offline, op, fmt.Sprintf("`s4t doctor %s` says what is known", b.Name), "the board is not online")
		}
		if err := ch.ownerAllows(op, b.ID); err != nil {
			return err
		}
		if req.Terminal {
			if b.Info.Terminal == "" {
				return s4t.Errorf(s4t.Forbidden, op, "its owner can: `lightning-rod run --allow-terminal USER`; where the board has SSH, `s4t ssh "+b.Name+"`", "the owner of the board allows no terminals")
			}
			rec.Detail = "shell of " + b.Info.Terminal + " from " + cmp.Or(req.Origin, "s4t")
			if req.Again {
				rec.Detail += ", again"
			}
		}
		if req.Terminal && !req.Again { // one that is resumed goes on as it began
			if recording, err = ch.record(op, b, req, rec); err != nil {
				return err
			}
		}
		renew := by.lent() || b.StreamsUntil.Sub(ch.now) < streamsRenew // the tunnel agent knows of the lease
		if renew {
			if b, err = ch.LockBoard(b.ID); err != nil {
				return err
			}
		}
		if agent, err = ch.placeBoard(op, &b); err != nil {
			return err
		}
		if !agent.Online {
			return s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "tunnel agent %s is away", agent.ID)
		}
		if !renew {
			return nil
		}
		b.StreamsUntil = ch.now.Add(streamsFor)
		if err := ch.SetBoardStreams(b); err != nil {
			return err
		}
		return ch.wantStreams(b)
	})
	if err != nil {
		return wire.StreamGrant{}, err
	}
	t := wire.Ticket{Purpose: wire.PurposeStream, Agent: agent.ID, Incarnation: agent.Incarnation, Board: b.ID, Target: target, User: req.Caller.User, Origin: req.Origin, Recording: recording, Lease: by.Lease}
	if !by.lent() {
		t.Project = b.Project
	}
	grant := wire.StreamGrant{URL: agent.URL, BoardID: string(b.ID), Recorded: recording != "", Resumable: req.Resumable != "" && b.Info.Resumes}
	if grant.Resumable {
		t.Resumable, t.Again = req.Resumable, req.Again
	}
	grant.Ticket = c.sign(t)
	if req.HostKeys && !req.Terminal {
		grant.HostKeys = c.askHostKeys(ctx, req.Caller.Project, b, req.TCPPort)
	}
	return grant, nil
}

// streamUse is the use that a stream makes of a board.
func streamUse(req wire.StreamOpen, target string) use {
	if req.Terminal || target == net.JoinHostPort(defaultTarget, strconv.Itoa(s4t.KnownServices["ssh"])) {
		return streamSSH
	}
	return wire.MethodStreamOpen
}

// targetOf is what the ticket for a stream is for.
func targetOf(op string, req wire.StreamOpen) (string, error) {
	if req.Terminal {
		switch {
		case req.TCPPort != 0 || req.Target != "":
			return "", s4t.Errorf(s4t.Invalid, op, "leave port and target away", "a terminal has no port")
		case req.Resumable == "":
			return "", s4t.Errorf(s4t.Invalid, op, "name it in resumable", "a terminal is a stream that can be resumed")
		}
		return wire.TargetTerminal, nil
	}
	if req.TCPPort < 1 || req.TCPPort > 65535 {
		return "", s4t.Errorf(s4t.Invalid, op, "use 1 to 65535", "there is no TCP port %d", req.TCPPort)
	}
	host, err := parseTarget(op, req.Target)
	return net.JoinHostPort(host, strconv.Itoa(req.TCPPort)), err
}

// validResumable checks the name of a stream that can be resumed: 128 random bits as 32
// hexadecimal digits. The board keeps those of one user apart from another's.
func validResumable(op string, req wire.StreamOpen) error {
	if req.Resumable == "" && !req.Again {
		return nil
	}
	if b, err := hex.DecodeString(req.Resumable); err != nil || len(b) != 16 {
		return s4t.Errorf(s4t.Invalid, op, "use 32 random hexadecimal digits", "%q is no name of a stream", req.Resumable)
	}
	return nil
}

// askHostKeys returns the keys of a board's SSH service: of the usual one as the
// board told them by itself, else it is asked. None where it does not answer in
// time, and the user's ssh decides.
func (c *Conductor) askHostKeys(ctx context.Context, project s4t.ProjectID, b store.Board, tcpPort int) []string {
	if tcpPort == s4t.KnownServices["ssh"] && len(b.Info.HostKeys) > 0 {
		return b.Info.HostKeys
	}
	ctx, cancel := context.WithTimeout(ctx, hostKeysTimeout)
	defer cancel()
	var found wire.HostKeys
	raw, err := c.ask(ctx, project, b, "hostkeys", wire.Encode(wire.HostKeysAsk{TCPPort: tcpPort}))
	if err != nil || json.Unmarshal(raw, &found) != nil {
		return nil
	}
	return s4t.BoardInfo{HostKeys: found.Keys}.Clamp().HostKeys
}
