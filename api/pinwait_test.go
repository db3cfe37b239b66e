package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// sampled has the fake conductor answer for a board whose pin has the sample seq;
// watched receives where samples are wanted.
func sampled(r *rig, seq *atomic.Uint64) (watched chan wire.PinWatch) {
	watched = make(chan wire.PinWatch, 16)
	sample := func() []s4t.Sample {
		n := seq.Load()
		return []s4t.Sample{{Pin: markerPin.Name, Seq: n, At: longAgo.Add(time.Duration(n) * time.Second), Value: float64(n)}}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer[wire.MethodPinAsk] = func([]byte) (any, error) { return wire.PinAnswer{Samples: sample()}, nil }
	r.answer[wire.MethodPinWatch] = func(body []byte) (any, error) {
		var w wire.PinWatch
		if err := json.Unmarshal(body, &w); err != nil {
			return nil, err
		}
		if !w.End {
			watched <- w
		}
		return wire.PinAnswer{Samples: sample()}, nil
	}
	return watched
}

const valuePath = "/v1/boards/marker-board/pins/sim/demo/marker/value"

func TestALongPollAnswersAtTheNextSample(t *testing.T) {
	r := newRig(t)
	var seq atomic.Uint64
	seq.Store(7)
	watched := sampled(r, &seq)
	type answer struct {
		res  *http.Response
		body string
	}
	answered := make(chan answer, 1)
	go func() {
		res, body := r.do(t, "GET", valuePath+"?wait=1m&after=7", "reader-secret", "")
		answered <- answer{res, body}
	}()
	w := <-watched
	if len(w.Pins) != 1 || w.Pins[0] != markerPin.Name {
		t.Errorf("%+v", w)
	}
	select {
	case a := <-answered:
		t.Fatalf("it did not wait: %s", a.body)
	default:
	}
	text, err := json.Marshal([]s4t.Sample{{Pin: markerPin.Name, Seq: 8, At: longAgo.Add(8 * time.Second), Value: 8.5}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.q.Call(t.Context(), w.Sink.Topic, wire.MethodPinsSamples, wire.PinSamples{Board: "b1", Samples: text}, nil); err != nil {
		t.Fatal(err)
	}
	if a := <-answered; a.res.StatusCode != 200 || strings.TrimSpace(a.body) != "8.5" || a.res.Header.Get("X-Sample-Seq") != "8" || a.res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %v %s", a.res.Status, a.res.Header, a.body)
	}
}

// TestALongPollDoesNotMissTheLastChange: what came between two polls is answered at
// once to who says what is known.
func TestALongPollDoesNotMissTheLastChange(t *testing.T) {
	r := newRig(t)
	var seq atomic.Uint64
	seq.Store(9)
	sampled(r, &seq)
	for _, after := range []string{"7", "12"} { // 12: the board counts anew
		res, body := r.do(t, "GET", valuePath+"?wait=1m&after="+after, "reader-secret", "")
		if res.StatusCode != 200 || strings.TrimSpace(body) != "9" || res.Header.Get("X-Sample-Seq") != "9" {
			t.Errorf("after %s: %s %s", after, res.Status, body)
		}
	}
}

func TestALongPollEnds(t *testing.T) {
	r := newRig(t)
	var seq atomic.Uint64
	seq.Store(7)
	sampled(r, &seq)
	res, body := r.do(t, "GET", valuePath+"?wait=10ms", "reader-secret", "")
	if res.StatusCode != 200 || strings.TrimSpace(body) != "7" {
		t.Errorf("%s %s", res.Status, body)
	}
	if res, _ := r.do(t, "HEAD", valuePath+"?wait=1m", "reader-secret", ""); res.StatusCode != 200 {
		t.Errorf("HEAD: %s", res.Status)
	}
	for _, query := range []string{"?wait=2m", "?wait=long", "?wait=1s&after=x", "?wait=-1s"} {
		if res, body := r.do(t, "GET", valuePath+query, "reader-secret", ""); res.StatusCode != 400 {
			t.Errorf("%s: %s %s", query, res.Status, body)
		}
	}
}
