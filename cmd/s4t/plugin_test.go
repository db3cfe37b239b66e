package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/plugin/bundle"
)

const weatherID = "33333333-3333-4333-8333-333333333333"

var (
	weather = s4t.Plugin{ID: weatherID, Name: "weather", Version: "1.1", Runtime: s4t.RuntimePython, Kind: s4t.PluginCallable, Boards: 2, CreatedAt: longAgo,
		Commands: []s4t.Command{{Name: "forecast", Timeout: "30s", Description: "of the next hours"}},
		Versions: []s4t.PluginVersion{
			{Version: "1.1", Digest: strings.Repeat("ab", 32), Size: 1234567, Key: "KEYOFTHEAUTHOR", CreatedAt: longAgo},
			{Version: "1.0", Digest: strings.Repeat("cd", 32), Size: 999, Key: "KEYOFTHEAUTHOR", CreatedAt: longAgo},
		}}
	onKitchen = s4t.BoardPlugin{ID: "b1", Board: "kitchen", BoardID: kitchenID, Plugin: "weather", PluginID: weatherID, Version: "1.1", OnBoot: true, Wanted: "running", Params: map[string]string{"city": "Messina", "a": "b"}, CreatedAt: longAgo,
		PluginState: s4t.PluginState{State: s4t.PluginRunning, PID: 4711, Since: &longAgo, Restarts: 2, CPU: 12.34, Memory: 23456789, Disk: 4096, Exit: "exit status 3", Health: "well", Unlimited: []string{"cpu: no cgroups"}}}
	onGarden = s4t.BoardPlugin{ID: "b2", Board: "garden", BoardID: gardenID, Plugin: "weather", PluginID: weatherID, Version: "1.1", Wanted: "running", CreatedAt: longAgo,
		PluginState: s4t.PluginState{State: s4t.PluginFailed, Running: "1.0", Problem: "it is not well\x1b[31m"}}
	logLines = []s4t.LogLine{{Seq: 1, At: longAgo, Stream: "agent", Text: "version 1.1 starts"}, {Seq: 2, At: longAgo, Stream: "stdout", Text: "hello\x1b[2J"}}

	seenPlugins = map[string]string{ // what is asked, and with what
		"PUT boards/kitchen/plugins/weather":          `{"onboot":true,"params":{"city":"Messina"}}`,
		"POST boards/kitchen/plugins/weather/upgrade": `{"version":"1.0"}`,
		"POST boards/kitchen/commands/blink":          `{"times":3}`,
	}
	ended = map[string]s4t.Operation{ // by id
		"done":    {Status: s4t.OperationSucceeded, Object: "b1"},
		"back":    {Status: s4t.OperationFailed, Error: `upgrade plugin "weather" of board "kitchen": it went back to version 1.1: exit status 3`, ErrorKind: s4t.Failed},
		"refused": {Status: s4t.OperationFailed, Error: `inject plugin "weather" into board "garden": its key is not taken`, ErrorKind: s4t.Forbidden},
	}
)

// bundles are uploads, by digest.
var bundles = struct {
	sync.Mutex
	has map[string]int
}{has: map[string]int{}}

// cannedPlugins answers as the API does, of plugins and commands.
func cannedPlugins(w http.ResponseWriter, r *http.Request, path string, say func(int, any), refuse func(int, s4t.Kind, string, string)) bool {
	body, _ := io.ReadAll(r.Body)
	what := r.Method + " " + path
	if want, ok := seenPlugins[what]; ok && want != string(body) {
		refuse(400, s4t.Invalid, what+": "+string(body)+" is not "+want, "")
		return true
	}
	begun := func(id string) {
		say(202, s4t.Operation{ID: s4t.OperationID(id), Status: s4t.OperationRunning, Object: "b1"})
	}
	if digest, ok := strings.CutPrefix(path, "bundles/"); ok {
		cannedBundle(r, digest, len(body), say, refuse)
		return true
	}
	switch what {
	case "GET plugins":
		say(200, []s4t.Plugin{weather})
	case "GET plugins/weather":
		say(200, weather)
	case "POST plugins":
		var req apiclient.PluginCreate
		json.Unmarshal(body, &req)
		key, _ := base64.StdEncoding.DecodeString(req.Key)
		signature, _ := base64.StdEncoding.DecodeString(req.Signature)
		switch {
		case !bundle.Verify(key, req.Digest, signature):
			refuse(400, s4t.Invalid, "create plugin: its signature is not good", "")
		case req.Name == "taken":
			refuse(409, s4t.Conflict, `create plugin "taken": version 1.1 has another content`, "raise the version in plugin.toml")
		default:
			say(201, weather)
		}
	case "DELETE plugins/" + weatherID, "DELETE plugins/" + weatherID + "/versions/1.0":
		w.WriteHeader(204)
	case "PUT boards/kitchen/plugins/weather", "POST boards/kitchen/plugins/weather/stop", "POST boards/kitchen/plugins/weather/restart", "DELETE boards/kitchen/plugins/gone":
		begun("done")
	case "PUT boards/garden/plugins/weather":
		begun("refused")
	case "POST boards/kitchen/plugins/weather/start":
		begun("o4") // never ends
	case "POST boards/kitchen/plugins/weather/upgrade":
		begun("back")
	case "GET operations/done", "GET operations/back", "GET operations/refused":
		id := strings.TrimPrefix(path, "operations/")
		op := ended[id]
		op.ID = s4t.OperationID(id)
		say(200, op)
	case "GET boards/kitchen/plugins":
		say(200, []s4t.BoardPlugin{onKitchen, onGarden})
	case "GET boards/kitchen/plugins/weather":
		say(200, onKitchen)
	case "GET boards/garden/plugins/weather":
		say(200, onGarden)
	case "GET boards/kitchen/plugins/weather/logs":
		say(200, logLines)
	case "GET boards/kitchen/plugins/weather/logs/stream":
		w.Header().Set("Content-Type", "text/event-stream")
		for _, l := range logLines {
			b, _ := json.Marshal(l)
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", l.Seq, b)
		}
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "GET boards/kitchen/profile":
		say(200, s4t.BoardProfile{Profile: s4t.Profile{CPU: "25%", Hours: "Sat-Sun"}, Open: true, Enforced: map[string]string{"cpu": "cgroup v2", "user": "own user"},
			Usage: []s4t.Usage{{Project: kitchenID, ProjectName: "lab", Since: longAgo, CPUSeconds: 90, BytesSent: 1234567}, {Project: gardenID, Since: longAgo}}, ReportedAt: &longAgo})
	case "GET boards/kitchen/commands/blink":
		say(200, s4t.Command{Name: "blink", Board: "kitchen", Params: json.RawMessage(`{"type":"object","properties":{"times":{"type":"integer"}}}`)})
	case "POST boards/kitchen/commands/blink":
		w.Header().Set(apiclient.OperationHeader, "o4")
		if r.Header.Get("Prefer") == "respond-async" {
			say(202, s4t.Operation{ID: "o4", Status: s4t.OperationStarted})
			return true
		}
		say(200, "blinked")
	case "POST commands/blink":
		say(202, []apiclient.CommandResult{{Board: "garden", Status: s4t.OperationSucceeded, Result: json.RawMessage(`"blinked"`)}, {Board: "kitchen", Operation: "o4", Status: s4t.OperationStarted}})
	default:
		return false
	}
	return true
}

// cannedBundle takes parts of a bundle.
func cannedBundle(r *http.Request, digest string, n int, say func(int, any), refuse func(int, s4t.Kind, string, string)) {
	bundles.Lock()
	defer bundles.Unlock()
	q := r.URL.Query()
	offset, _ := strconv.Atoi(q.Get("offset"))
	if r.Method == "PUT" && offset == bundles.has[digest] {
		bundles.has[digest] += n
	}
	if bundles.has[digest] == 0 {
		refuse(404, s4t.NotFound, "show bundle: nothing of it is there", "")
		return
	}
	say(200, map[string]any{"has": bundles.has[digest], "complete": r.Method == "GET" || q.Get("size") == strconv.Itoa(bundles.has[digest])})
}
