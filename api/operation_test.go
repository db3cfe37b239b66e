package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/api"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

func TestLongPollIsBoundedByItsWaitAndTellsStepTen(t *testing.T) {
	r := newRig(t)
	var got wire.OperationGet
	told := false
	r.mu.Lock()
	r.answer[wire.MethodOperationGet] = func(b []byte) (any, error) {
		if !told {
			json.Unmarshal(b, &got)
		}
		op := s4t.Operation{ID: "o1", Status: s4t.OperationSucceeded, Steps: []s4t.Step{{Number: 9}}}
		if told {
			op.Steps = append(op.Steps, s4t.Step{Number: 10})
		}
		return op, nil
	}
	r.answer[wire.MethodOperationDone] = func([]byte) (any, error) { told = true; return wire.Empty{}, nil }
	r.mu.Unlock()
	op, err := r.client(t, "member-secret").WaitOperation(t.Context(), "o1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != "o1" || got.Caller.User != "maria" {
		t.Errorf("asked %+v", got)
	}
	if len(op.Steps) != 2 || op.Steps[1].Number != 10 {
		t.Errorf("steps %+v", op.Steps)
	}
}

// pollRig is an API whose fake conductor has one operation, in the bubble of
// a test.
type pollRig struct {
	*fakeConductor
	news  queue.Handler // as the queue gives it news
	serve http.Handler

	// Guarded by fakeConductor.mu.
	op    s4t.Operation
	reads int
}

func (p *pollRig) Call(ctx context.Context, topic, method string, req, reply any) error {
	return direct{p.fakeConductor}.Call(ctx, topic, method, req, reply)
}

func (p *pollRig) Serve(ctx context.Context, topic, _ string, _ int, h queue.Handler) error {
	if topic == wire.TopicEvents {
		p.news = h
	}
	<-ctx.Done()
	return nil
}

func newPollRig(t *testing.T) *pollRig {
	p := &pollRig{fakeConductor: &fakeConductor{revoked: map[string]bool{}, answer: map[string]func([]byte) (any, error){}}}
	p.op = s4t.Operation{ID: "o1", Status: s4t.OperationRunning, Steps: []s4t.Step{{Number: 1}}}
	p.answer[wire.MethodOperationGet] = func([]byte) (any, error) { p.reads++; return p.op, nil }
	a, err := api.New(api.Config{Queue: p})
	if err != nil {
		t.Fatal(err)
	}
	p.serve = a.Handler()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	synctest.Wait()
	return p
}

// poll asks for the operation; its answer comes on the channel.
func (p *pollRig) poll(t *testing.T, query string) <-chan s4t.Operation {
	answer := make(chan s4t.Operation, 1)
	req := httptest.NewRequest("GET", "/v1/operations/o1?"+query, nil).WithContext(t.Context())
	req.Header.Set("Authorization", "Bearer member-secret")
	go func() {
		w := httptest.NewRecorder()
		p.serve.ServeHTTP(w, req)
		var op s4t.Operation
		if err := json.Unmarshal(w.Body.Bytes(), &op); err != nil || w.Code != 200 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		answer <- op
	}()
	synctest.Wait()
	return answer
}

// step is one more step of the operation; the API gets news of it or not.
func (p *pollRig) step(t *testing.T, news ...s4t.OperationID) {
	t.Helper()
	p.mu.Lock()
	p.op.Steps = append(p.op.Steps, s4t.Step{Number: len(p.op.Steps) + 1})
	p.mu.Unlock()
	if _, err := p.news(t.Context(), wire.MethodNews, wire.Encode(wire.News{Operations: news})); err != nil {
		t.Error(err)
	}
	synctest.Wait()
}

func answered(c <-chan s4t.Operation) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestALongPollIsWokenByNewsOfItsOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPollRig(t)
		at := time.Now()
		c := p.poll(t, "wait=30s&steps=1")
		p.step(t, "o1")
		if op := <-c; len(op.Steps) != 2 || time.Since(at) != 0 {
			t.Errorf("%d steps after %v", len(op.Steps), time.Since(at))
		}
	})
}

func TestALongPollWhoseNewsWereLostLooksByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPollRig(t)
		at := time.Now()
		c := p.poll(t, "wait=30s&steps=1")
		p.step(t, "another")
		if answered(c) {
			t.Error("woken by news of another operation")
		}
		if op := <-c; len(op.Steps) != 2 || time.Since(at) > 2*time.Second {
			t.Errorf("%d steps after %v", len(op.Steps), time.Since(at))
		}
		p.mu.Lock()
		before := p.reads
		p.mu.Unlock()
		time.Sleep(time.Minute)
		if p.reads != before {
			t.Errorf("%d reads while nobody waits", p.reads-before)
		}
	})
}

func TestALongPollEndsWithItsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPollRig(t)
		at := time.Now()
		if op := <-p.poll(t, "wait=20s&steps=1"); op.Status != s4t.OperationRunning || time.Since(at) != 20*time.Second {
			t.Errorf("%s after %v", op.Status, time.Since(at))
		}
		at = time.Now()
		if <-p.poll(t, "wait=20s&steps=0"); time.Since(at) != 0 {
			t.Errorf("steps that were not seen came after %v", time.Since(at))
		}
		if <-p.poll(t, "wait=0s&steps=1"); time.Since(at) != 0 {
			t.Errorf("no wait took %v", time.Since(at))
		}
	})
}

func TestOneLongPollTooManyIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPollRig(t)
		var all []<-chan s4t.Operation
		for range s4t.DefaultQuota[s4t.QuotaWatchers] {
			all = append(all, p.poll(t, "wait=30s&steps=1"))
		}
		at := time.Now()
		if op := <-p.poll(t, "wait=30s&steps=1"); time.Since(at) != 0 || len(op.Steps) != 1 {
			t.Errorf("answered after %v: %+v", time.Since(at), op)
		}
		p.step(t, "o1")
		for _, c := range all {
			if !answered(c) {
				t.Fatal("one was not woken")
			}
		}
	})
}
