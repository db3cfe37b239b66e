package cloud

import (
	"context"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// beaten is a queue that tells of each beat once it was answered; none waits for
// who hears it.
type beaten struct {
	*queue.Mem
	told chan told
}

type told struct {
	beat wire.ProcessBeat
	err  error
}

func (q beaten) Call(ctx context.Context, topic, method string, req, reply any) error {
	err := q.Mem.Call(ctx, topic, method, req, reply)
	if beat, ok := req.(wire.ProcessBeat); ok {
		select {
		case q.told <- told{beat, err}:
		default:
		}
	}
	return err
}

// TestABeatIsSaidUntilItIsHeard: at first there is no conductor.
func TestABeatIsSaidUntilItIsHeard(t *testing.T) {
	q := beaten{queue.New(), make(chan told, 1024)}
	b := &beats{queue: q, say: wire.ProcessBeat{Name: "a", Roles: []string{wire.ProcessAPI}, Incarnation: "1"}, until: func() time.Time { return time.Time{} }, log: discard}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.run(ctx) }()
	for range 2 {
		if next := <-q.told; s4t.KindOf(next.err) != s4t.Unavailable || next.beat.Ends {
			t.Errorf("without a conductor: %+v", next)
		}
	}
	serving, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	mux := queue.Mux{wire.MethodProcessBeat: queue.Handle(func(context.Context, wire.ProcessBeat) (wire.Empty, error) { return wire.Empty{}, nil })}
	go func() { served <- q.Serve(serving, wire.TopicAgents, "", 1, mux.Serve) }()
	defer func() { stop(); <-served }()
	for heard := false; !heard; {
		next := <-q.told
		heard = next.err == nil
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	close(q.told)
	var last told
	for last = range q.told {
	}
	if !last.beat.Ends {
		t.Errorf("its last word: %+v", last)
	}
}

// TestABeatSaysUntilWhenTheCertificateIsGood: that which is shown then, also after it was renewed.
func TestABeatSaysUntilWhenTheCertificateIsGood(t *testing.T) {
	q := beaten{queue.New(), make(chan told, 1)}
	until := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	b := &beats{queue: q, until: func() time.Time { return until }}
	for range 2 {
		if err := b.beat(t.Context(), time.Minute); err == nil {
			t.Error("heard by nobody")
		}
		if said := (<-q.told).beat.CertificateUntil; !said.Equal(until) {
			t.Errorf("it said %v, want %v", said, until)
		}
		until = until.AddDate(1, 0, 0)
	}
}

func TestTheLoadIsWhatTheProcessTookOfLate(t *testing.T) {
	q := beaten{queue.New(), make(chan told, 1)}
	b := &beats{queue: q, until: func() time.Time { return time.Time{} }, at: time.Now().Add(-time.Hour), used: processorTime() - 36*time.Second}
	if err := b.beat(t.Context(), time.Minute); err == nil {
		t.Error("heard by nobody")
	}
	if load := (<-q.told).beat.Load; load < 10 || load > 20 {
		t.Errorf("load %d, want 10 thousandths of a processor", load)
	}
}
