package lightningrod

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wire"
)

// bundleFetcher gets the bundles of plugins over rtunnels of their own. A cut costs what
// was on its way: it goes on behind what is on disk.
type bundleFetcher struct {
	dial   rtunnelDialer
	ticket func(ctx context.Context, plugin string) (string, error)
	online func() (online bool, changed <-chan struct{})
	pace   func(ctx context.Context, n int) error // of the owner's profile: called before n bytes are read on; an error ends the fetch
	log    *slog.Logger
}

// fetch appends the rest of the bundle of a plugin to part, which has what comes before.
// It tries for as long as it is worth it, and waits where there is no session. wanted is
// the plugin as it is wanted now. What has come may be wrong: the caller checks.
func (f *bundleFetcher) fetch(ctx context.Context, id string, wanted func() wire.DesiredPlugin, part *os.File, progress func(have int64)) error {
	retry := portBackoff()
	for {
		online, changed := f.online()
		if !online {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-changed:
			}
			continue
		}
		had, err := part.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		d := wanted()
		err = f.once(ctx, id, d, had, part, progress)
		if err == nil || ctx.Err() != nil || hopeless(err) {
			return err
		}
		if have, _ := part.Seek(0, io.SeekEnd); have > had {
			retry.reset()
		}
		wait := max(retry.wait(), retryAfter(err))
		f.log.Info("a bundle was cut", "plugin", d.Name, "err", err, "retry_in", wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// hopeless reports whether another try would fail the same way.
func hopeless(err error) bool {
	if _, ours := errors.AsType[*os.PathError](err); ours { // the disk
		return true
	}
	switch s4t.KindOf(err) {
	case s4t.NotFound, s4t.Invalid:
		return true
	}
	return false
}

// once opens an rtunnel and appends what comes, until all is there.
func (f *bundleFetcher) once(ctx context.Context, id string, d wire.DesiredPlugin, have int64, part *os.File, progress func(have int64)) error {
	const op = "fetch a bundle"
	if have >= d.Size {
		return nil
	}
	ticket, err := f.ticket(ctx, id)
	if err != nil {
		return err
	}
	conn, err := f.dial.Dial(ctx, d.URL, rtunnel.Path, rtunnel.SubprotocolBundle, ticket)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { conn.Keepalive(ctx, s4t.PresenceInterval, s4t.PresenceTimeout) })
	running.Go(func() { <-ctx.Done(); conn.Close() })
	defer running.Wait()
	defer cancel()
	if err := conn.WriteMessage(rtunnel.OpText, wire.Encode(wire.BundleFrom{Offset: have})); err != nil {
		return err
	}
	for have < d.Size {
		kind, p, err := conn.ReadMessage()
		switch {
		case errors.Is(err, io.EOF):
			return s4t.Errorf(s4t.Unavailable, op, "", "it ended after %d of %d bytes", have, d.Size)
		case err != nil:
			return err
		case kind == rtunnel.OpText:
			var head wire.BundleHead
			if err := json.Unmarshal(p, &head); err != nil {
				return s4t.Errorf(s4t.Internal, op, "", "the cloud's answer is not understood: %w", err)
			}
			if head.Error != nil {
				return head.Error.Err()
			}
			if head.Size != d.Size {
				return s4t.Errorf(s4t.Invalid, op, "", "the cloud's has %d bytes, not %d", head.Size, d.Size)
			}
			continue
		case have+int64(len(p)) > d.Size:
			return s4t.Errorf(s4t.Invalid, op, "", "more comes than its %d bytes", d.Size)
		}
		if err := f.pace(ctx, len(p)); err != nil {
			return err
		}
		if _, err := part.Write(p); err != nil {
			return err
		}
		have += int64(len(p))
		progress(have)
	}
	return nil
}

// fetch is the manager's way to a bundle.
func (g *guests) fetch(ctx context.Context, w plugin.Wanted, part *os.File, progress func(have int64)) error {
	return g.fetcher.fetch(ctx, w.ID, func() wire.DesiredPlugin { return g.plugins.wanted(w.ID) }, part, progress)
}
