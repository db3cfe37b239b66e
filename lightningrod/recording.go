package lightningrod

import (
	"context"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/terminal"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// recordings brings what shells of this board write to the cloud, where its project wants that.
type recordings struct {
	board  s4t.BoardID
	online func() (c cloud, epoch int64, changed <-chan struct{})

	mu  sync.Mutex // guards ctx
	ctx context.Context
}

func (e *Engine) newRecordings() *recordings {
	return &recordings{board: e.id.Board, online: e.online}
}

// begin lets recordings be kept until ctx ends.
func (r *recordings) begin(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx = ctx
}

// of keeps the recording with an id: through all sessions, until the cloud refuses it for good.
func (r *recordings) of(id s4t.RecordingID) terminal.Keep {
	return func(ctx context.Context, offset int64, lines string, ended bool) error {
		r.mu.Lock()
		run := r.ctx
		r.mu.Unlock()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if run != nil {
			defer context.AfterFunc(run, cancel)()
		}
		for {
			c, epoch, changed := r.online()
			if c == nil {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-changed:
				}
				continue
			}
			err := c.Call(ctx, wamp.Recording, wire.RecordingPart{Board: r.board, Epoch: epoch, ID: id, Offset: offset, Data: lines, Ended: ended}, nil)
			switch kind := s4t.KindOf(err); {
			case err == nil:
				return nil
			case kind == s4t.NotFound, kind == s4t.Forbidden, kind == s4t.Invalid, kind == s4t.Conflict, wamp.ReasonOf(err) == wamp.NoSuchProcedure:
				return err
			}
			pause(ctx, c, max(retryAfter(err), retryCall))
			if ctx.Err() != nil {
				return err
			}
		}
	}
}
