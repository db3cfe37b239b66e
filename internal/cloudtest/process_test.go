package cloudtest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/internal/pgtest"
)

// TestOneOfEachIsEnough kills and starts each process of a cloud that has two of
// each; what is asked meanwhile is answered.
func TestOneOfEachIsEnough(t *testing.T) {
	c, err := New(Config{Dir: t.TempDir(), Conductors: 2, APIs: 2, WAMPAgents: 2, TunnelAgents: 2})
	if err != nil {
		t.Fatal(err)
	}
	if c.Running() {
		t.Error("it runs before its start")
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
	for i, p := range c.Processes() {
		p.Kill()
		if p.Running() || !c.Running() {
			t.Errorf("%s was killed: it runs %v, the cloud runs %v", p.Name, p.Running(), c.Running())
		}
		// A connection that was killed is none to ask over again.
		client.Close()
		if _, err := client.CreateBoard(t.Context(), apiclient.BoardCreate{Name: "board" + string(rune('a'+i))}); err != nil {
			t.Errorf("without %s: %v", p.Name, err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	boards, err := client.Boards(t.Context(), nil, "")
	if err != nil || len(boards) != len(c.Processes()) || len(boards) != 8 {
		t.Errorf("%d boards, %v", len(boards), err)
	}
	for _, name := range []string{"conductor-1", "conductor-2"} {
		c.Process(name).Stop()
	}
	if c.Running() || c.Process("nobody") != nil {
		t.Error("it runs without a conductor")
	}
}

// TestEveryWatcherHearsEverythingOnce: several write at two conductors and
// others watch at two APIs, while of each one is killed and started.
func TestEveryWatcherHearsEverythingOnce(t *testing.T) {
	for engine, database := range map[string]func(testing.TB) string{"sqlite": nil, "postgres": pgtest.URL} {
		t.Run(engine, func(t *testing.T) {
			cfg := Config{Dir: t.TempDir(), Conductors: 2, APIs: 2, WAMPAgents: 1, TunnelAgents: 1}
			if database != nil {
				cfg.Database = database(t)
			}
			c, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer c.Stop()
			watchAll(t, c)
		})
	}
}

func watchAll(t *testing.T, c *Cloud) {
	newClient := func() *apiclient.Client {
		client, err := c.Client()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		return client
	}
	const last = "the-last"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	heard := make([][]s4t.Event, 4)
	var watching sync.WaitGroup
	for i := range heard {
		s, err := newClient().Events(ctx, apiclient.EventsOptions{})
		if err != nil {
			t.Fatal(err)
		}
		watching.Go(func() {
			defer s.Close()
			for e := range s.All() {
				heard[i] = append(heard[i], e)
				if e.Name == last {
					return
				}
			}
			t.Errorf("watcher %d ends after %d events: %v", i, len(heard[i]), s.Err())
		})
	}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	for w := range 3 {
		client := newClient()
		writing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default: // what is refused since somebody was killed may have been done
					client.CreateBoard(ctx, apiclient.BoardCreate{Name: fmt.Sprintf("board%d-%d", w, i)})
				}
			}
		})
	}
	for _, name := range []string{"conductor-1", "api-1", "conductor-2", "api-2"} {
		c.Process(name).Kill()
		if err := c.Process(name).Start(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	writing.Wait()
	client := newClient()
	if _, err := client.CreateBoard(ctx, apiclient.BoardCreate{Name: last}); err != nil {
		t.Fatal(err)
	}
	watching.Wait()
	boards, err := client.Boards(t.Context(), nil, "")
	if err != nil || len(boards) < 10 {
		t.Fatalf("%d boards, %v", len(boards), err)
	}
	for i, events := range heard {
		times := map[string]int{}
		for n, e := range events {
			times[e.Name]++
			if n > 0 && e.ID <= events[n-1].ID || e.Kind != "board.created" {
				t.Errorf("watcher %d hears %s %d after %d", i, e.Kind, e.ID, events[n-1].ID)
			}
		}
		for _, b := range boards {
			if times[b.Name] != 1 {
				t.Errorf("watcher %d heard %d times of %s", i, times[b.Name], b.Name)
			}
		}
	}
}
