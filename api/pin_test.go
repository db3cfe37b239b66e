package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

var (
	longAgo   = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	markerPin = s4t.Pin{Name: "sim/demo/marker", Driver: "sim", Device: "demo", Kind: s4t.PinSensor, Unit: "V"}
)

// pins answers pin.ask as the real one does, for a board with one pin. Caller
// holds mu.
func (f *fakeConductor) pins(caller wire.Caller, ask wire.PinAsk, sees bool) ([]byte, error) {
	changes := ask.Do != wire.PinList && ask.Do != wire.PinRead && ask.Do != wire.PinHistory
	switch {
	case changes && !caller.Role.Covers(s4t.RoleMember):
		return nil, s4t.Errorf(s4t.Forbidden, "pin", "", "the role %s does not allow it", caller.Role)
	case !sees:
		return nil, s4t.Errorf(s4t.NotFound, "pin", "", "it does not exist")
	case changes:
		f.changes++
	}
	a := wire.PinAnswer{Pins: []s4t.Pin{markerPin}}
	switch {
	case ask.Do == wire.PinRead || ask.Do == wire.PinHistory:
		a = wire.PinAnswer{Samples: []s4t.Sample{{Pin: markerPin.Name, Seq: 7, At: longAgo, Value: 2.5}}, More: ask.Limit == 1}
	case ask.Do == wire.PinWrite && ask.For > 0:
		a = wire.PinAnswer{Operation: &s4t.Operation{ID: "o1", Kind: "pin.write", Object: "b1"}}
	}
	return json.Marshal(a)
}

// TestPinsAsResources holds what each request asks of the board, and what is
// answered.
func TestPinsAsResources(t *testing.T) {
	r := newRig(t)
	const name = "sim/demo/marker"
	pins := []string{name}
	for _, tt := range []struct {
		method, path, body string
		status             int
		ask                wire.PinAsk // the last that was asked
		answer             string      // a part of it
	}{
		{"GET", "", "", 200, wire.PinAsk{Do: wire.PinList}, `[{"name":"sim/demo/marker","driver":"sim"`},
		{"GET", "?pin=sim/demo/marker", "", 200, wire.PinAsk{}, `"value":2.5,"unit":"V","at":"2020-`},
		{"GET", "/sim/demo/marker", "", 200, wire.PinAsk{}, `{"name":"sim/demo/marker",`},
		{"GET", "/sim%2Fdemo%2Fmarker", "", 200, wire.PinAsk{}, `"value":2.5`},
		{"GET", "/sim/demo/marker/value", "", 200, wire.PinAsk{Do: wire.PinRead, Pins: pins}, "2.5\n"},
		{"GET", "/lamp/value", "", 200, wire.PinAsk{Do: wire.PinRead, Pins: []string{"lamp"}}, "2.5\n"},
		{"GET", "/sim/demo/marker/sample", "", 200, wire.PinAsk{Do: wire.PinRead, Pins: pins}, `{"pin":"sim/demo/marker","seq":7,`},
		{"PUT", "/sim/demo/marker", `{"value":0.5,"priority":3,"fence":9}`, 200, wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{name: 0.5}, Priority: 3, Fence: 9}, `{"name":"sim/demo/marker"`},
		{"PUT", "/sim/demo/marker/value", `1`, 200, wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{name: 1}}, `{"name":`},
		{"PUT", "/sim/demo/marker/value", `-0.25`, 200, wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{name: -0.25}}, `{"name":`},
		{"PUT", "/lamp", `true`, 200, wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{"lamp": 1}}, `{"name":`},
		{"PUT", "/lamp/value", ` false `, 200, wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{"lamp": 0}}, `{"name":`},
		{"PUT", "/lamp", `{"value":1,"for":"10s"}`, 202, wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{"lamp": 1}, For: 10 * time.Second}, `{"id":"o1","kind":"pin.write"`},
		{"PUT", "", `{"values":{"a/b/c":1,"lamp":0}}`, 200, wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{"a/b/c": 1, "lamp": 0}}, `[{"name":`},
		{"PATCH", "/sim/demo/marker", `{"deadband":0.5,"period":"1s"}`, 200, wire.PinAsk{Do: wire.PinSet, Pins: pins, Settings: map[string]string{"deadband": "0.5", "period": "1s"}}, `{"name":`},
		{"PATCH", "/sim/demo/marker", `{"edge":"both"}`, 200, wire.PinAsk{Do: wire.PinSet, Pins: pins, Settings: map[string]string{"edge": "both"}}, `{"name":`},
		{"POST", "/sim/demo/marker/claim", `{}`, 200, wire.PinAsk{Do: wire.PinClaim, Pins: pins}, `{"name":`},
		{"POST", "/lamp/claim", `{"for":"1h","priority":4}`, 200, wire.PinAsk{Do: wire.PinClaim, Pins: []string{"lamp"}, For: time.Hour, Priority: 4}, `{"name":`},
		{"DELETE", "/lamp/claim?priority=4", ``, 200, wire.PinAsk{Do: wire.PinRelease, Pins: []string{"lamp"}, Priority: 4}, `{"name":`},
		{"GET", "/sim/demo/marker/history", ``, 200, wire.PinAsk{Do: wire.PinHistory, Pins: pins, Limit: 500}, `[{"pin":"sim/demo/marker","seq":7,`},
		{"GET", "/lamp/history?after=6&limit=1", ``, 200, wire.PinAsk{Do: wire.PinHistory, Pins: []string{"lamp"}, Limit: 1, After: map[string]uint64{"lamp": 6}}, `"seq":7`},
		{"GET", "/lamp/history?since=2020-01-01T00:00:00Z", ``, 200, wire.PinAsk{Do: wire.PinHistory, Pins: []string{"lamp"}, Limit: 500, Since: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}, `"seq":7`},
		{"PUT", "/lamp", `"on"`, 400, wire.PinAsk{}, `"invalid"`},
		{"PUT", "/lamp", `{"value":1,"for":"25h"}`, 400, wire.PinAsk{}, "for"},
		{"PUT", "/lamp", `{"value":1,"priority":101}`, 400, wire.PinAsk{}, `"invalid"`},
		{"PUT", "/lamp", `null`, 400, wire.PinAsk{}, `"invalid"`},
		{"PUT", "", `{"values":{}}`, 400, wire.PinAsk{}, "values"},
		{"GET", "/lamp/history?since=yesterday", ``, 400, wire.PinAsk{}, "yesterday"},
		{"GET", "/lamp/history?after=x", ``, 400, wire.PinAsk{}, "seq"},
		{"GET", "/a/b/c/d/e", ``, 404, wire.PinAsk{}, "no such route"},
	} {
		t.Run(tt.method+" "+tt.path+" "+tt.body, func(t *testing.T) {
			var asked wire.PinAsk
			r.mu.Lock()
			r.answer[wire.MethodPinAsk] = func(body []byte) (any, error) {
				var req wire.PinRequest
				if err := json.Unmarshal(body, &req); err != nil {
					return nil, err
				}
				asked = req.Ask
				text, err := r.pins(req.Caller, req.Ask, true)
				return json.RawMessage(text), err
			}
			r.mu.Unlock()
			res, answer := r.do(t, tt.method, "/v1/boards/kitchen/pins"+tt.path, "member-secret", tt.body)
			if res.StatusCode != tt.status || !strings.Contains(answer, tt.answer) {
				t.Errorf("%d %s", res.StatusCode, answer)
			}
			got, _ := json.Marshal(asked)
			want, _ := json.Marshal(tt.ask)
			if tt.ask.Do != "" && string(got) != string(want) {
				t.Errorf("asked %s, want %s", got, want)
			}
			if tt.status == 202 && res.Header.Get("Location") != "/v1/operations/o1" {
				t.Errorf("location %q", res.Header.Get("Location"))
			}
			if link := res.Header.Get("Link"); strings.Contains(tt.path, "limit=1") && link != `</v1/boards/kitchen/pins/lamp/history?after=7&limit=1>; rel="next"` {
				t.Errorf("link %q", link)
			}
		})
	}
}

func TestErrorsOfPinsKeepTheirKinds(t *testing.T) {
	r := newRig(t)
	for kind, status := range map[s4t.Kind]int{s4t.Stale: 409, s4t.Conflict: 409, s4t.Offline: 503, s4t.NotFound: 404} {
		r.mu.Lock()
		r.answer[wire.MethodPinAsk] = func([]byte) (any, error) { return nil, s4t.Errorf(kind, "write", "do this", "it is so") }
		r.mu.Unlock()
		if res, body := r.do(t, "PUT", "/v1/boards/kitchen/pins/lamp", "member-secret", "1"); res.StatusCode != status || problem(t, body).Kind != kind {
			t.Errorf("%s: %d %s", kind, res.StatusCode, body)
		}
		_, _, err := r.client(t, "member-secret").WritePin(t.Context(), "kitchen", "lamp", apiclient.PinWrite{Value: 1})
		if s4t.KindOf(err) != kind {
			t.Errorf("%s: the client says %v", kind, err)
		}
	}
}

func TestTheCopyOfABoardThatIsAwaySaysHowOldItIs(t *testing.T) {
	r := newRig(t)
	r.mu.Lock()
	r.answer[wire.MethodPinAsk] = func([]byte) (any, error) {
		return wire.PinAnswer{Pins: []s4t.Pin{{Name: "sim/demo/b"}, {Name: "sim/demo/a"}, {Name: "sim/demo/c"}}, ReportedAt: &longAgo}, nil
	}
	r.mu.Unlock()
	got, err := r.client(t, "reader-secret").Pins(t.Context(), "kitchen")
	if err != nil || !got.Reported.Equal(longAgo) || len(got.Pins) != 3 || got.Pins[0].Name != "sim/demo/a" {
		t.Errorf("%+v %v", got, err)
	}
	res, body := r.do(t, "GET", "/v1/boards/kitchen/pins?limit=2", "reader-secret", "")
	next := res.Header.Get("Link")
	if !strings.Contains(body, "sim/demo/b") || strings.Contains(body, "sim/demo/c") || !strings.Contains(next, "after=sim%2Fdemo%2Fb") {
		t.Errorf("a page: %s %s", next, body)
	}
	if _, body := r.do(t, "GET", "/v1/boards/kitchen/pins?limit=2&after=sim%2Fdemo%2Fb", "reader-secret", ""); !strings.Contains(body, "sim/demo/c") || strings.Contains(body, "sim/demo/b") {
		t.Errorf("the next: %s", body)
	}
}

func TestThePinsOfAllBoardsComeTogetherAndOnlyWhenTheyHaveChanged(t *testing.T) {
	r := newRig(t)
	var asked wire.PinAll
	r.mu.Lock()
	r.answer[wire.MethodPinAll] = func(body []byte) (any, error) {
		asked = wire.PinAll{}
		if err := json.Unmarshal(body, &asked); err != nil {
			return nil, err
		}
		a := wire.PinBoards{List: wire.List[wire.PinBoard]{EventID: 17}}
		if a.Unchanged = asked.Known == 17; a.Unchanged {
			return a, nil
		}
		a.Items = []wire.PinBoard{{ID: "b1", Name: "kitchen" + asked.Page.After, Status: s4t.BoardOnline, Pins: []s4t.Pin{markerPin}}}
		if asked.Page.After == "" {
			a.Next = "2"
		}
		return a, nil
	}
	r.mu.Unlock()
	c := r.client(t, "reader-secret")
	got, err := c.AllPins(t.Context(), []string{"kitchen", "garden"}, 0)
	if err != nil || got.EventID != 17 || len(got.Boards) != 2 || got.Boards[1].Name != "kitchen2" || got.Unchanged {
		t.Fatalf("%+v %v", got, err)
	}
	if !slices.Equal(asked.Boards, []string{"kitchen", "garden"}) {
		t.Errorf("asked for %v", asked.Boards)
	}
	if got, err := c.AllPins(t.Context(), nil, 17); err != nil || !got.Unchanged {
		t.Errorf("unchanged: %+v %v", got, err)
	}
	for _, accept := range []string{"", "gzip", "br, gzip;q=0"} {
		req, _ := http.NewRequest("GET", r.url+"/v1/pins", nil)
		req.Header.Set("X-Auth-Token", "reader-secret")
		req.Header.Set("Accept-Encoding", accept)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Content-Encoding") == "gzip"; got != (accept == "gzip") {
			t.Errorf("accepts %q: %v", accept, res.Header)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// TestSamplesOverHTTP streams samples from the queue to a client.
func TestSamplesOverHTTP(t *testing.T) {
	r := newRig(t)
	sinks := make(chan string, 10)
	r.mu.Lock()
	r.answer[wire.MethodPinWatch] = func(body []byte) (any, error) {
		var req wire.PinWatch
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		sinks <- req.Sink.Topic
		return wire.PinAnswer{Samples: []s4t.Sample{{Pin: markerPin.Name, Seq: 1, At: longAgo}}}, nil
	}
	r.mu.Unlock()
	stream, err := r.client(t, "reader-secret").WatchPins(t.Context(), "kitchen", apiclient.PinsOptions{Pins: []string{"marker"}})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	sink := <-sinks
	var got []uint64
	for m := range stream.All() {
		if got = append(got, m.Seq); len(got) == 3 {
			break
		}
		text, _ := json.Marshal([]s4t.Sample{{Pin: markerPin.Name, Seq: m.Seq + 1, At: longAgo.Add(time.Duration(m.Seq)), Value: 1}})
		if err := r.q.Call(t.Context(), sink, wire.MethodPinsSamples, wire.PinSamples{Board: "b1", Samples: text}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("got %v: %v", got, stream.Err())
	}
}
