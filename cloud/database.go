package cloud

import (
	"context"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
)

// openDatabase opens the database. One on another machine that does not answer is
// waited for, as the broker is: after a power cut nobody starts processes in order. A
// refusal, of a password for example, is an error at once.
func (c *Cloud) openDatabase(ctx context.Context) (*store.DB, error) {
	began, said := time.Now(), time.Time{}
	for wait := minProbe; ; wait = min(2*wait, maxProbe) {
		db, err := store.Open(ctx, store.Config{URL: c.cfg.Database, Log: c.cfg.Log})
		if err == nil || s4t.KindOf(err) != s4t.Unavailable || strings.HasPrefix(c.cfg.Database, "sqlite:") {
			return db, err
		}
		if time.Since(said) > sayEvery {
			said = time.Now()
			c.cfg.Log.Warn("still starting", "waits_for", "the database", "since", time.Since(began).Round(time.Second), "err", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}
