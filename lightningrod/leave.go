package lightningrod

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// leaveTimeout bounds telling the cloud: leaving works without it.
const leaveTimeout = 5 * time.Second

// LeaveConfig says which board leaves.
type LeaveConfig struct {
	State string       // optional: default DefaultState
	Log   *slog.Logger // optional: default discards
}

// LeaveResult says how far the news got.
type LeaveResult struct {
	Board  string // the board's name
	Told   bool   // the cloud has un-enrolled the board
	Reason string // why it was not told
}

// Leave un-enrols the board: the cloud forgets its key where it can be
// reached within a few seconds, a running lightning-rod stops and takes its
// devices down, and the state is deleted in any case.
func Leave(ctx context.Context, cfg LeaveConfig) (LeaveResult, error) {
	if cfg.State == "" {
		cfg.State = DefaultState
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	dir := stateDir(cfg.State)
	if !dir.joined() {
		_, err := dir.identity() // says that the board has not joined
		return LeaveResult{}, err
	}
	var res LeaveResult
	id, err := dir.identity()
	if err != nil {
		res.Reason = err.Error() // damaged: nothing to un-enrol with
	}
	res.Board = id.Name

	var answer leaveAnswer
	asked := dir.ask(ctx, askLeave, &answer) == nil
	lock, err := dir.lockWithin(ctx, leaveTimeout)
	if err != nil {
		return res, err
	}
	defer lock.Close()
	switch {
	case asked:
		res.Told, res.Reason = answer.Told, answer.Reason
	case res.Reason == "":
		announced, _ := dir.announcedTrust()
		if err := tellLeave(ctx, id, announced, cfg.Log); err != nil {
			res.Reason = err.Error()
		} else {
			res.Told = true
		}
	}
	// Nobody runs any more; what a kill -9 left behind goes too.
	if id.Board != "" {
		endGuests(id.Board, dir, cfg.Log)
	}
	dir.clearTree(cfg.Log)
	return res, errors.Join(sweepHost(link.Sweep), dir.remove())
}

// lockWithin waits for another process to let go of the state.
func (d stateDir) lockWithin(ctx context.Context, wait time.Duration) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		f, err := d.lock()
		if err == nil || s4t.KindOf(err) != s4t.Conflict {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tellLeave opens a session for the one call.
func tellLeave(ctx context.Context, id Identity, announced wire.Trust, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	c, err := newConnector(connectorConfig{Identity: id, Trust: announced, Log: log})
	if err != nil {
		return err
	}
	s, err := c.connect(ctx, id.URLs)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Call(ctx, wamp.Leave, wire.Empty{}, nil)
}
