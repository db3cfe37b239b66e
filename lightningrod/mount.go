package lightningrod

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/pinfs"
	"github.com/stack4things/s4t/wire"
)

// MountConfig says what `lightning-rod mount` shows.
type MountConfig struct {
	Dir    string       // required: where
	State  string       // optional: of the lightning-rod that runs; default DefaultState
	Boards []string     // optional: names or ids; default all other boards of the project
	Ready  func()       // optional: called when the tree is there
	Log    *slog.Logger // optional: default discards
}

// Mount shows the pins of other boards as files, until ctx ends or it is unmounted. The
// lightning-rod that runs on this board has the way to them; it may come and go.
func Mount(ctx context.Context, cfg MountConfig) error {
	if cfg.State == "" {
		cfg.State = DefaultState
	}
	if cfg.Ready == nil {
		cfg.Ready = func() {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	dir := stateDir(cfg.State)
	id, err := dir.identity()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newRemoteSource(id.Board, cfg.Boards, dir, cfg.Log)
	first := make(chan error, 1)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		s.run(ctx, func(err error) {
			select {
			case first <- err:
			default:
			}
		})
	})
	for there := false; !there; {
		select {
		case <-ctx.Done():
			return nil
		case err := <-first:
			switch s4t.KindOf(err) {
			case "":
				there = true
			case s4t.NotFound, s4t.Invalid, s4t.Forbidden: // a user can cure it, waiting does not
				return err
			}
		}
	}
	err = showPins(ctx, cfg.Dir, s, func(*pinfs.Server) { cfg.Ready() }, cfg.Log)
	if ctx.Err() != nil || errors.Is(err, errUnmounted) {
		return nil
	}
	return err
}

// mountLink is a mount's connection to the lightning-rod that runs: it is made again
// whenever it is lost.
type mountLink struct {
	dir stateDir
	got func(mountFrame) // samples and news, in order
	log *slog.Logger

	mu      sync.Mutex // guards what follows
	conn    net.Conn   // nil: there is none
	next    uint64
	pending map[uint64]chan mountFrame
	writing sync.Mutex // taken after mu was let go
}

// run keeps the connection until ctx ends. tried is called after each try, with why it
// ended.
func (l *mountLink) run(ctx context.Context, tried func(error)) {
	told := slog.LevelWarn
	for ctx.Err() == nil {
		was, err := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		tried(err)
		if was {
			told = slog.LevelWarn
		}
		l.log.Log(ctx, told, "no connection to the lightning-rod of this board", "err", err, "retry_in", retryCall)
		told = slog.LevelDebug // the same is told once
		select {
		case <-ctx.Done():
		case <-time.After(retryCall):
		}
	}
}

// once connects, and reads until that ends. was: there was a connection.
func (l *mountLink) once(ctx context.Context) (was bool, err error) {
	conn, err := l.dir.reach(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, askMount+"\n"); err != nil {
		return false, err
	}
	l.mu.Lock()
	l.conn = conn
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conn = nil
		for id, answer := range l.pending {
			close(answer)
			delete(l.pending, id)
		}
	}()
	var refused error
	err = readMountFrames(conn, func(f mountFrame) {
		switch {
		case f.ID == 0 && f.Error != nil:
			refused = f.Error.Err()
		case f.ID == 0:
			l.got(f)
		default:
			l.mu.Lock()
			if answer := l.pending[f.ID]; answer != nil {
				answer <- f
				delete(l.pending, f.ID)
			}
			l.mu.Unlock()
		}
	})
	switch {
	case refused != nil:
		return false, refused
	case err == nil:
		err = errors.New("it ended")
	}
	return true, err
}

// ask asks the cloud, by way of the lightning-rod that runs.
func (l *mountLink) ask(ctx context.Context, f mountFrame) (wire.PinRemoteAnswer, error) {
	away := s4t.Errorf(s4t.Offline, "reach other boards' pins", "start it with `lightning-rod run`", "no lightning-rod runs on %s", l.dir)
	answer := make(chan mountFrame, 1)
	l.mu.Lock()
	conn := l.conn
	if conn == nil {
		l.mu.Unlock()
		return wire.PinRemoteAnswer{}, away
	}
	l.next++
	f.ID = l.next
	if l.pending == nil {
		l.pending = map[uint64]chan mountFrame{}
	}
	l.pending[f.ID] = answer
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.pending, f.ID)
	}()
	l.writing.Lock()
	conn.SetWriteDeadline(time.Now().Add(mountPatience))
	_, err := conn.Write(append(wire.Encode(f), '\n'))
	l.writing.Unlock()
	if err != nil {
		conn.Close() // half a frame may have been written
		return wire.PinRemoteAnswer{}, away
	}
	select {
	case a, ok := <-answer:
		if !ok {
			return wire.PinRemoteAnswer{}, away
		}
		if a.Error != nil {
			return wire.PinRemoteAnswer{}, a.Error.Err()
		}
		if a.Answer == nil {
			a.Answer = &wire.PinRemoteAnswer{}
		}
		return *a.Answer, nil
	case <-ctx.Done():
		return wire.PinRemoteAnswer{}, s4t.Errorf(s4t.Timeout, "reach other boards' pins", "", "no answer in the time given: %w", context.Cause(ctx))
	}
}

// boards asks for all boards with their pins. unchanged: nothing happened since the
// event known.
func (l *mountLink) boards(ctx context.Context, names []string, known int64) (list []wire.PinBoard, event int64, unchanged bool, err error) {
	after := ""
	for {
		a, err := l.ask(ctx, mountFrame{All: &wire.PinAll{Boards: names, Known: known, Page: wire.Page{After: after}}})
		if err != nil {
			return nil, 0, false, err
		}
		if a.All == nil {
			return nil, 0, false, s4t.Errorf(s4t.Internal, "list the pins of other boards", "", "the cloud's answer is empty")
		}
		if a.All.Unchanged {
			return nil, known, true, nil
		}
		if after == "" {
			event = a.All.EventID // of the first page: what changed meanwhile is asked for again
		}
		known = 0
		list = append(list, a.All.Items...)
		if after = a.All.Next; after == "" {
			return list, event, false, nil
		}
	}
}
