package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// maxPinWait bounds a long poll; the answer has to be written within the server's
// own bound.
const maxPinWait = time.Minute

// valueAsk is the input of the value of a pin.
type valueAsk struct {
	PinRef
	Wait  string `query:"wait" maxLength:"20" example:"30s" doc:"Answer at the next sample, or after this time at most (a minute) with the newest"`
	After string `query:"after" maxLength:"20" doc:"With wait: the X-Sample-Seq that is known already; where there is a newer one the answer comes at once, so that the last change is never missed"`

	head bool
}

// Resolve keeps whether only the headers are asked for: consumers of long polls do
// that first, to see that there is one.
func (in *valueAsk) Resolve(ctx huma.Context) []error {
	in.head = ctx.Method() == http.MethodHead
	return nil
}

// pinValue is a bare value, with what else there is to a sample in the headers.
type pinValue struct {
	Seq  string `header:"X-Sample-Seq" doc:"Number of the sample, for after"`
	At   string `header:"X-Sample-At" doc:"Time of the sample (RFC 3339)"`
	Body float64
}

func valueOf(s s4t.Sample) *pinValue {
	return &pinValue{strconv.FormatUint(s.Seq, 10), s.At.UTC().Format(time.RFC3339Nano), s.Value}
}

// pinValue answers with the value of a pin, or waits for the next one.
func (a *API) pinValue(ctx context.Context, in *valueAsk) (*pinValue, error) {
	var wait time.Duration
	var known uint64
	var err error
	if in.Wait != "" {
		if wait, err = duration("wait", in.Wait, 0, maxPinWait); err != nil {
			return nil, a.answer(ctx, "pin.value", err)
		}
	}
	if in.After != "" {
		if known, err = strconv.ParseUint(in.After, 10, 64); err != nil {
			return nil, a.answer(ctx, "pin.value", s4t.Errorf(s4t.Invalid, "read a pin", "give the X-Sample-Seq of an answer", "after %q is not one", s4t.Line(in.After, 64)))
		}
	}
	newest, err := a.readPin(ctx, in.PinRef)
	if err != nil {
		return nil, err
	}
	if wait == 0 || in.head || in.After != "" && newest.Seq != known {
		return valueOf(newest), nil
	}
	s, err := a.waitPin(ctx, in.PinRef, newest, wait)
	if err != nil {
		return nil, err
	}
	return valueOf(s), nil
}

// readPin reads a pin now.
func (a *API) readPin(ctx context.Context, ref PinRef) (s4t.Sample, error) {
	got, err := a.askPins(ctx, ref.Board, wire.PinAsk{Do: wire.PinRead, Pins: []string{ref.Pin}})
	if err != nil {
		return s4t.Sample{}, err
	}
	if len(got.Samples) == 0 {
		return s4t.Sample{}, a.answer(ctx, "pin.value", s4t.Errorf(s4t.NotFound, "read pin "+strconv.Quote(ref.Pin)+" of board "+strconv.Quote(ref.Board), "", "it has no value yet"))
	}
	return got.Samples[0], nil
}

// waitPin waits for a sample after one, and reads the pin again where none came.
func (a *API) waitPin(ctx context.Context, ref PinRef, known s4t.Sample, wait time.Duration) (s4t.Sample, error) {
	const op = "wait for a pin"
	fail := func(err error) (s4t.Sample, error) { return s4t.Sample{}, a.answer(ctx, "pin.value", err) }
	over := time.NewTimer(wait)
	defer over.Stop()
	board, err := call[s4t.Board](ctx, a, wire.MethodBoardGet, wire.RefRequest{Caller: callerOf(ctx), Ref: ref.Board})
	if err != nil {
		return s4t.Sample{}, err
	}
	place, err := a.watch(ctx)
	if err != nil {
		return fail(err)
	}
	defer a.watchers.leave(place)
	client := newPinClient(callerOf(ctx), []string{known.Pin})
	if err := a.pins.join(board, client); err != nil {
		return fail(err)
	}
	defer client.leave()
	for {
		select {
		case <-client.queue.Ready():
			for _, w := range client.queue.Take(pinBatch) {
				if w.Newer(known) {
					return w.Sample, nil
				}
			}
		case <-client.news:
			// That the board is away is told when the time is over: it may come back.
			if _, err := client.state(); err != nil {
				return fail(err)
			}
		case <-over.C:
			return a.readPin(ctx, ref)
		case <-ctx.Done():
			return fail(s4t.Errorf(s4t.Timeout, op, "", "%w", context.Cause(ctx)))
		case <-place.gone:
			return fail(s4t.Errorf(s4t.TooMany, op, "try again later", "%d watch already", maxWatchers).After(comeAgain))
		case <-a.stopping:
			return fail(s4t.Errorf(s4t.Unavailable, op, "try again", "the API is stopping"))
		}
	}
}
