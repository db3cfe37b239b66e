package cloudtest

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// TestABoardTellsHowItIs: at the begin of its session; when it was away its outage has
// begun, ended, and a reason.
func TestABoardTellsHowItIs(t *testing.T) {
	c, err := New(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	made, err := client.CreateBoard(t.Context(), apiclient.BoardCreate{Name: "kitchen"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Enrol(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	until := func(what string, ok func(s4t.BoardHealth) bool) {
		t.Helper()
		var h s4t.BoardHealth
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if h, err = client.BoardStatus(t.Context(), "kitchen"); err == nil && ok(h) {
				return
			}
		}
		t.Fatalf("%s: %+v, %v", what, h, err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	until("it tells how it is", func(h s4t.BoardHealth) bool {
		return h.Status == s4t.BoardOnline && h.Health != nil && h.Health.MemoryTotal > 0 && h.Health.DiskTotal > 0 && h.Health.Uptime > 0 && h.At != nil
	})
	b.Stop()
	until("it is away", func(h s4t.BoardHealth) bool {
		return h.Status == s4t.BoardOffline && len(h.Outages) == 1 && h.Outages[0].Ended == nil
	})
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	until("it is back", func(h s4t.BoardHealth) bool {
		return h.Status == s4t.BoardOnline && len(h.Outages) == 1 && h.Outages[0].Ended != nil && h.Outages[0].Reason == s4t.OutageAgent
	})
}
