package amqp_test

import (
	"context"
	"errors"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/rabbittest"
	"github.com/stack4things/s4t/queue"
)

// TestNobodyServesAnyMore: of a topic whose last server has died the queue is there still.
// Who asks hears soon that nobody serves it, and who asks one that has much to do waits.
func TestNobodyServesAnyMore(t *testing.T) {
	t.Parallel()
	u := rabbittest.URL(t)
	d := newDriver(t, u)
	ch, prefix := operator(t, u)
	args := amqp091.Table{"x-max-length": int32(queue.Depth), "x-overflow": "reject-publish", "x-expires": int32(60_000)}
	if _, err := ch.QueueDeclare(prefix+".dead", true, false, false, false, args); err != nil {
		t.Fatal(err)
	}
	out := make(chan struct{})
	serve(t, d, "slow", "", 1, func(_ context.Context, method string, body []byte) ([]byte, error) {
		if method == "block" {
			<-out
		}
		return body, nil
	})
	reach(t, d, "slow")
	reached := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	go func() { reached <- d.Call(ctx, "slow", "block", 1, nil) }()

	began := time.Now()
	if err := d.Call(ctx, "dead", "echo", 1, nil); s4t.KindOf(err) != s4t.Unavailable || time.Since(began) > patience {
		t.Errorf("a call to nobody: %v after %v", err, time.Since(began))
	}
	var refused *amqp091.Error // who sends from now on hears it at once
	if _, err := ch.QueueDeclarePassive(prefix+".dead", true, false, false, false, args); !errors.As(err, &refused) || refused.Code != amqp091.NotFound {
		t.Errorf("the queue of nobody is still there: %v", err)
	}
	if err := d.Call(ctx, "dead", "echo", 1, nil); s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("another call to nobody: %v", err)
	}
	serve(t, d, "dead", "", 1, echo)
	reach(t, d, "dead")
	close(out)
	if err := receive(t, reached); err != nil {
		t.Errorf("a call that took long: %v", err)
	}
}
