package lightningrod

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// FuzzCodeAsk: whatever the cloud asks of code is answered with JSON, or with an error of
// a kind.
func FuzzCodeAsk(f *testing.F) {
	of := newHearingCloud()
	c := newBoardCommands(stateDir(f.TempDir()), boardA, time.Now, slog.New(slog.DiscardHandler))
	c.plugins = newFakePlugins()
	c.online = func() (cloud, int64, <-chan struct{}) { return nil, 0, nil }
	ctx, cancel := context.WithCancel(context.Background())
	c.ctx = ctx
	f.Cleanup(func() { cancel(); c.running.Wait(); c.close() })
	run := order(1, "echo")
	for _, do := range []string{wire.CodeRun, wire.CodeCancel, wire.CodeState, wire.CodePlugins, wire.CodeLogs, wire.CodeFollow} {
		f.Add(wire.Encode(wire.CodeAsk{Do: do, Run: &run, IDs: []s4t.OperationID{"run-1"}, Plugin: "weather", Feed: &wire.Feed{ID: "feed"}, Limit: 1}))
	}
	f.Fuzz(func(t *testing.T, question []byte) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody waits
		text, err := c.handler(of)(ctx, string(question))
		if err == nil && !json.Valid([]byte(text)) {
			t.Errorf("%q", text)
		}
		if err != nil && s4t.KindOf(err) == s4t.Internal {
			t.Error(err)
		}
	})
}
