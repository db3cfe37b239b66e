package queue_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// TestARawReply: what is long crosses as its bytes, and what is too short for that is an error.
func TestARawReply(t *testing.T) {
	synctest.Test(t, rawReply)
}

func rawReply(t *testing.T) {
	q := queue.New()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	part := wire.BundlePart{Size: 1 << 30, Data: []byte{0, 255, '"', '{'}}
	mux := queue.Mux{
		"whole": queue.Handle(func(context.Context, wire.Empty) (wire.BundlePart, error) { return part, nil }),
		"short": func(context.Context, string, []byte) ([]byte, error) { return []byte("{}"), nil },
	}
	if got, err := mux.Serve(ctx, "whole", []byte("{}")); err != nil || len(got) != 8+len(part.Data) {
		t.Errorf("it crosses as %q, %v", got, err)
	}
	go func() { served <- q.Serve(ctx, "topic", "", 1, mux.Serve) }()
	defer func() {
		cancel()
		<-served
	}()
	synctest.Wait()
	var got wire.BundlePart
	if err := q.Call(ctx, "topic", "whole", wire.Empty{}, &got); err != nil || got.Size != part.Size || !bytes.Equal(got.Data, part.Data) {
		t.Errorf("it is %+v, %v", got, err)
	}
	if err := q.Call(ctx, "topic", "short", wire.Empty{}, &got); s4t.KindOf(err) != s4t.Internal {
		t.Errorf("a reply without its size is %v", err)
	}
}
