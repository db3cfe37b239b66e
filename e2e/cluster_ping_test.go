package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/internal/cloudlab"
)

// bridgings is how often each cloud is asked for a bridge: one of 2 boards, so often that the
// median says something.
const bridgings = 9

// firstPings measures how long it takes from the request for a bridge of two boards to the first
// ping across it: in this cluster, of boards of one place and of two, and in a cloud of one process
// on the same machine, by turns.
func (c *cluster) firstPings() {
	c.t.Helper()
	fmt.Println("\nFrom a request to the first ping, beside a cloud of one process")
	alone := newCloud(c.t, 2)
	rows := []struct {
		what  string
		cloud *cloudlab.Cloud
		other int // board
		took  []time.Duration
	}{
		{what: "one process and SQLite", cloud: alone, other: 1},
		{what: "six processes, RabbitMQ and PostgreSQL", cloud: c.Cloud, other: len(places)}, // of the same place
		{what: "the same, across two tunnel agents", cloud: c.Cloud, other: 1},
	}
	for round := range bridgings {
		for i := range rows {
			r := &rows[i]
			r.took = append(r.took, firstPing(c.t, r.cloud, fmt.Sprintf("ping%d-%d", round, i), r.cloud.Boards[0], r.cloud.Boards[r.other]))
		}
	}
	for i := range rows {
		slices.Sort(rows[i].took)
		middle := func(i int) time.Duration { return rows[i].took[bridgings/2] }
		c.row(middle(i), 0, fmt.Sprintf("first ping, median of %d: %s (%.1f times)", bridgings, rows[i].what, float64(middle(i))/float64(middle(0))))
	}
}

// firstPing makes a bridge of two boards, and returns after how long a ping has crossed it.
func firstPing(t *testing.T, cloud *cloudlab.Cloud, name string, from, other *cloudlab.Board) time.Duration {
	t.Helper()
	cfg, err := readContext(cloud.ContextFile())
	must(t, err)
	cfg.Dial = cloud.Lab.User.DialContext
	api, err := apiclient.New(cfg)
	must(t, err)
	defer api.Close()
	ctx, cancel := context.WithTimeout(t.Context(), brokerPatience)
	defer cancel()
	done := func(op s4t.Operation, err error) {
		t.Helper()
		must(t, err)
		op, err = api.WaitOperation(ctx, op.ID, nil)
		must(t, err)
		must(t, apiclient.Failed(op))
	}
	_, err = api.Boards(ctx, nil, "") // the connection is there
	must(t, err)
	began := time.Now()
	done(api.CreateBridge(ctx, apiclient.BridgeCreate{Name: name, Boards: []string{from.Name, other.Name}}))
	b, err := api.Bridge(ctx, name)
	must(t, err)
	to := addressOf(t, b, other.Name, false)
	for ping(ctx, from.Host, to) != nil {
		must(t, ctx.Err())
	}
	took := time.Since(began)
	done(api.DeleteBridge(ctx, name))
	return took
}
