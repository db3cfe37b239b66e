package conductor

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

// gather has requests that come together done together, in one transaction: a
// commit costs as much for two hundred as for one. One that comes alone does not
// wait: while some are done, those that come gather for the next time. They are no
// more than are done soon, as it goes now: those in a transaction that takes longer
// than its askers wait have all asked in vain.
type gather[Req, Reply any] struct {
	run func(ctx context.Context, reqs []Req) []outcome[Reply] // one for each, in their order

	mu      sync.Mutex // guards the fields below
	busy    bool       // somebody does some
	most    int        // requests that the next transaction does; 0: together
	waiting []*gathered[Req, Reply]
}

// outcome is what became of one request.
type outcome[Reply any] struct {
	reply Reply
	err   error
}

// gathered is a request that waits.
type gathered[Req, Reply any] struct {
	req  Req
	ctx  context.Context
	done chan outcome[Reply] // of capacity 1
	lead chan struct{}       // of capacity 1: it is its turn to do those that wait, itself among them
}

const (
	together      = 256             // requests that one transaction does at most
	fewTogether   = 4               // and at the least, where so many wait
	gatherTime    = time.Second     // that it is to take
	gatherTimeout = 8 * time.Second // for it: less than who asks waits
)

// do has one request done. It returns when ctx ends; the request may be done all
// the same.
func (g *gather[Req, Reply]) do(ctx context.Context, req Req) (Reply, error) {
	own := &gathered[Req, Reply]{req: req, ctx: ctx, done: make(chan outcome[Reply], 1), lead: make(chan struct{}, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, own)
	if !g.busy {
		g.busy = true
		own.lead <- struct{}{}
	}
	g.mu.Unlock()
	select {
	case <-own.lead:
		g.doSome()
		o := <-own.done
		return o.reply, o.err
	case o := <-own.done:
		return o.reply, o.err
	case <-ctx.Done():
		g.mu.Lock()
		if i := slices.Index(g.waiting, own); i >= 0 {
			g.waiting = slices.Delete(g.waiting, i, i+1)
		}
		leads := len(own.lead) > 0 // since a moment: the others count on it
		g.mu.Unlock()
		if leads {
			g.doSome()
		}
		var none Reply
		return none, s4t.Errorf(s4t.Timeout, "do what waits", "", "%w", context.Cause(ctx))
	}
}

// doSome does those that wait, and has the first of those that came meanwhile do
// the next. Who has given up is left out.
func (g *gather[Req, Reply]) doSome() {
	g.mu.Lock()
	if g.most == 0 {
		g.most = together
	}
	n := min(len(g.waiting), g.most)
	var some []*gathered[Req, Reply]
	var reqs []Req
	for _, w := range g.waiting[:n] {
		if w.ctx.Err() == nil {
			some, reqs = append(some, w), append(reqs, w.req)
		} else {
			w.done <- outcome[Reply]{err: w.ctx.Err()}
		}
	}
	g.waiting = append([]*gathered[Req, Reply](nil), g.waiting[n:]...)
	g.mu.Unlock()
	began := time.Now()
	if len(some) > 0 {
		// Not by the context of one: the others want it done.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(some[0].ctx), gatherTimeout)
		for i, o := range g.run(ctx, reqs) {
			some[i].done <- o
		}
		cancel()
	}
	took := time.Since(began)
	g.mu.Lock()
	defer g.mu.Unlock()
	if took > gatherTime {
		g.most = max(fewTogether, int(float64(len(some))*gatherTime.Seconds()/took.Seconds()))
	} else if took < gatherTime/2 && len(some) >= g.most {
		g.most = min(2*g.most, together)
	}
	if g.busy = len(g.waiting) > 0; g.busy {
		g.waiting[0].lead <- struct{}{}
	}
}

// eachAlone returns out, where err is nil. Else it does each of the requests, which run could not do
// together, by itself: one that cannot be done keeps none of the others. One that was alone has
// failed.
func eachAlone[Req, Reply any](ctx context.Context, reqs []Req, out []outcome[Reply], err error, run func(context.Context, []Req) []outcome[Reply]) []outcome[Reply] {
	for i := range reqs {
		if err != nil && len(reqs) == 1 {
			out[i] = outcome[Reply]{err: err}
		} else if err != nil {
			out[i] = run(ctx, reqs[i:i+1])[0]
		}
	}
	return out
}
