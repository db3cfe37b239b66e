package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

var (
	half     = 21.5
	one      = 1.0
	farAway  = longAgo.AddDate(100, 0, 0)
	thePins  = []s4t.Pin{lampPin, tempPin}
	tempPin  = s4t.Pin{Name: "sensor/hwmon0/temp1", Driver: "sensor", Device: "hwmon0", Kind: s4t.PinSensor, Direction: s4t.PinIn, Value: &half, Unit: "Cel", At: &longAgo, PeriodMS: 1000, Settings: map[string]string{"deadband": "0.5", "period": "1s"}, Keys: []string{"period", "deadband"}}
	lampPin  = s4t.Pin{Name: "gpio/gpiochip0/17", Driver: "gpio", Device: "gpiochip0", Label: "lamp", Kind: s4t.PinDigital, Writable: true, Direction: s4t.PinOut, Value: &one, At: &longAgo, Lease: &s4t.PinLease{Holder: "user maria", Priority: 5, Fence: 7, Until: farAway}}
	seenPins = map[string]string{ // what is asked of them, and with what
		"PUT boards/kitchen/pins/lamp":            `{"value":1}`,
		"PATCH boards/kitchen/pins/lamp":          `{"debounce":"5ms","edge":"both"}`,
		"POST boards/kitchen/pins/lamp/claim":     `{"for":"10m0s","priority":5}`,
		"DELETE boards/kitchen/pins/lamp/claim":   ``,
		"PUT boards/kitchen/pins/heater":          `{"value":-1.5}`,
		"PUT boards/kitchen/pins/sensor/hwmon0/x": `{"value":0.25,"for":"10s","priority":3}`,
	}
)

var lampSeq atomic.Uint64 // of the lamp's newest edge

// cannedPins answers as the API does, of pins.
func cannedPins(w http.ResponseWriter, r *http.Request, path string, say func(int, any), refuse func(int, s4t.Kind, string, string)) bool {
	body, _ := io.ReadAll(r.Body)
	what := r.Method + " " + path
	if want, ok := seenPins[what]; ok && want != string(body) {
		refuse(400, s4t.Invalid, what+": "+string(body)+" is not "+want, "")
		return true
	}
	switch what {
	case "GET boards/kitchen/pins":
		if ask := r.URL.Query()["pin"]; len(ask) > 0 {
			if ask[0] == "nothing" {
				refuse(404, s4t.NotFound, `read pin "nothing" of board "kitchen": there is no such pin`, "see `s4t pin list kitchen`")
				return true
			}
			say(200, thePins[:len(ask)])
			return true
		}
		say(200, thePins)
	case "GET boards/garden/pins":
		if len(r.URL.Query()["pin"]) > 0 {
			refuse(503, s4t.Offline, `read pins of board "garden": it is offline`, "")
			return true
		}
		w.Header().Set("X-Reported-At", longAgo.Format("2006-01-02T15:04:05Z"))
		say(200, []s4t.Pin{{Name: "sim/demo/sine", Kind: s4t.PinSensor, Direction: s4t.PinIn}})
	case "GET pins":
		if ids := r.URL.Query()["board"]; len(ids) == 1 && ids[0] == "nobody" {
			refuse(404, s4t.NotFound, `list the pins of boards: board "nobody" does not exist`, "see `s4t board list`")
			return true
		}
		say(200, []wire.PinBoard{
			{ID: kitchenID, Name: "kitchen", Status: s4t.BoardOnline, ReportedAt: &longAgo, Pins: thePins},
			{ID: gardenID, Name: "garden", Status: s4t.BoardOffline, ReportedAt: &longAgo, Pins: thePins},
		})
	case "GET boards/" + kitchenID + "/pins/" + tempPin.Name + "/sample":
		say(200, s4t.Sample{Pin: tempPin.Name, Seq: 3, At: longAgo, Value: half})
	case "GET boards/" + kitchenID + "/pins/" + lampPin.Name + "/sample":
		seq := lampSeq.Load()
		say(200, s4t.Sample{Pin: lampPin.Name, Seq: seq, At: longAgo.Add(time.Duration(seq)), Value: float64(seq)})
	case "PUT boards/" + kitchenID + "/pins/" + lampPin.Name:
		if string(body) != `{"value":1}` {
			refuse(409, s4t.Conflict, "write the lamp: user paul has it", "")
			return true
		}
		say(200, lampPin)
	case "GET boards/" + kitchenID + "/pins/stream":
		w.Header().Set("Content-Type", "text/event-stream")
		for seq := uint64(10); r.Context().Err() == nil; seq++ { // an edge now and then
			lampSeq.Store(seq)
			b, _ := json.Marshal(s4t.Sample{Pin: lampPin.Name, Seq: seq, At: longAgo.Add(time.Duration(seq)), Value: float64(seq)})
			fmt.Fprintf(w, "data: %s\n\n", b)
			http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	case "PUT boards/kitchen/pins/lamp", "PUT boards/kitchen/pins/heater", "PATCH boards/kitchen/pins/lamp", "POST boards/kitchen/pins/lamp/claim", "DELETE boards/kitchen/pins/lamp/claim":
		say(200, lampPin)
	case "PUT boards/kitchen/pins/sensor/hwmon0/x":
		say(202, s4t.Operation{ID: "o1", Kind: "pin.write", Object: kitchenID, Status: s4t.OperationRunning})
	case "PUT boards/kitchen/pins/reaped":
		say(202, s4t.Operation{ID: "o7", Kind: "pin.write", Object: kitchenID, Status: s4t.OperationRunning})
	case "PUT boards/kitchen/pins/taken":
		refuse(409, s4t.Conflict, `write pin "taken" of board "kitchen": user paul has it`, "")
	case "PUT boards/kitchen/pins/old":
		refuse(409, s4t.Stale, `write pin "old" of board "kitchen": the claim 3 has ended`, "claim it again")
	case "GET boards/kitchen/pins/stream":
		w.Header().Set("Content-Type", "text/event-stream")
		send := func(name string, v any) {
			b, _ := json.Marshal(v)
			if name != "" {
				fmt.Fprintf(w, "event: %s\n", name)
			}
			fmt.Fprintf(w, "data: %s\n\n", b)
		}
		first := uint64(1)
		if strings.HasPrefix(r.URL.Query().Get("since"), "1h") {
			first = 0
		}
		for seq := first; seq < 3; seq++ {
			send("", s4t.Sample{Pin: lampPin.Name, Seq: seq, At: longAgo, Value: float64(seq) / 2})
		}
		send(apiclient.EventBoard, apiclient.PinNotice{Board: "kitchen", Status: s4t.BoardOffline, Detail: `watch pins of board "kitchen": it is offline`})
		send(apiclient.EventBoard, apiclient.PinNotice{Board: "kitchen", Status: s4t.BoardOnline})
		send("", s4t.Sample{Pin: lampPin.Name, Seq: 9, At: longAgo, Value: 1, Merged: 6})
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	default:
		return false
	}
	return true
}
