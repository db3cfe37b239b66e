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

// firstPings measures, in this cluster and in a cloud of one process on the same machine, how
// long it takes from the request for a bridge to the first ping across it, by turns.
func (c *cluster) firstPings() {
	c.t.Helper()
	fmt.Println("\nFrom a request to the first ping, beside a cloud of one process")
	alone := newCloud(c.t, 2)
	clouds := []*cloudlab.Cloud{c.Cloud, alone}
	took := make([][]time.Duration, len(clouds))
	for round := range bridgings {
		for i, cloud := range clouds {
			took[i] = append(took[i], firstPing(c.t, cloud, fmt.Sprintf("ping%d", round)))
		}
	}
	middle := func(i int) time.Duration { slices.Sort(took[i]); return took[i][bridgings/2] }
	many, one := middle(0), middle(1)
	c.row(one, 0, fmt.Sprintf("one process and SQLite, median of %d", bridgings))
	c.row(many, 0, fmt.Sprintf("six processes, RabbitMQ and PostgreSQL: %.1f times as long", float64(many)/float64(one)))
}

// firstPing makes a bridge of the first two boards, and returns when a ping has crossed it.
func firstPing(t *testing.T, cloud *cloudlab.Cloud, name string) time.Duration {
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
	done(api.CreateBridge(ctx, apiclient.BridgeCreate{Name: name, Boards: []string{cloud.Boards[0].Name, cloud.Boards[1].Name}}))
	b, err := api.Bridge(ctx, name)
	must(t, err)
	to := addressOf(t, b, cloud.Boards[1].Name, false)
	for ping(ctx, cloud.Boards[0].Host, to) != nil {
		must(t, ctx.Err())
	}
	took := time.Since(began)
	done(api.DeleteBridge(ctx, name))
	return took
}
