package cloud

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	v1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// receiver takes spans as a collector does: OTLP's own messages over HTTP.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	spans map[string]*v1.Span // by name and kind
	of    map[string]string   // process of each
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{spans: map[string]*v1.Span{}, of: map[string]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var msg collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &msg)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			t.Error(req.URL.Path, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, rs := range msg.ResourceSpans {
			process := ""
			for _, a := range rs.Resource.Attributes {
				if a.Key == "service.instance.id" {
					process = a.Value.GetStringValue()
				}
			}
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					key := s.Name + " " + strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")
					r.spans[key], r.of[key] = s, process
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

// TestATraceGoesThroughAllProcesses: a request that the API of one process takes and the conductor of
// another answers is one trace, whatever the user says of traces; the log names it.
func TestATraceGoesThroughAllProcesses(t *testing.T) {
	to, q, dir := newReceiver(t), queue.New(), t.TempDir()
	back := run(t, Config{Roles: []Role{Conductor}, Queue: q, Name: "back", URL: "https://127.0.0.1:1", Data: dir, Database: "sqlite:" + t.TempDir() + "/db", Traces: to.URL + "/v1/traces"})
	front := run(t, Config{Roles: []Role{API}, Queue: q, Name: "front", Listen: "127.0.0.1:0", TLS: TLS{Off: true}, Traces: to.URL + "/v1/traces"}).isReady(t)
	req, err := http.NewRequest("GET", "http://"+front.Addr().String()+"/v1/boards", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer nobody")
	req.Header.Set("Traceparent", "00-11111111111111111111111111111111-2222222222222222-01")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if res.StatusCode != http.StatusUnauthorized {
		t.Fatal(res.Status)
	}
	for _, p := range []*process{front, back} { // who ends sends what waits
		p.stop()
		<-p.ended
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	request, call, handled := to.spans["board.list SERVER"], to.spans[wire.MethodVerify+" CLIENT"], to.spans[wire.MethodVerify+" SERVER"]
	if request == nil || call == nil || handled == nil {
		t.Fatalf("spans: %v", to.of)
	}
	if !bytes.Equal(call.ParentSpanId, request.SpanId) || !bytes.Equal(handled.ParentSpanId, call.SpanId) || !bytes.Equal(handled.TraceId, request.TraceId) {
		t.Error("the spans are no chain")
	}
	if len(request.ParentSpanId) > 0 || bytes.Equal(request.TraceId, bytes.Repeat([]byte{0x11}, 16)) {
		t.Error("a user chose the trace")
	}
	if to.of["board.list SERVER"] != "front" || to.of[wire.MethodVerify+" SERVER"] != "back" {
		t.Errorf("processes: %v", to.of)
	}
	if len(to.spans) != 3 {
		t.Errorf("what nobody asked for is traced: %v", to.of)
	}
}

// TestTheLogNamesWhatItIsFor: lines of an operation have its id and that of the trace.
func TestTheLogNamesWhatItIsFor(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(originLog{slog.NewTextHandler(&text, nil)}).With("a", 1).WithGroup("g")
	ctx := queue.WithOrigin(t.Context(), queue.Origin{Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Operation: "op-1"})
	log.InfoContext(ctx, "told")
	log.Info("not told")
	lines := strings.Split(text.String(), "\n")
	if !strings.Contains(lines[0], "operation=op-1 ") || !strings.Contains(lines[0], "trace=0af7651916cd43dd8448eb211c80319c") || strings.Contains(lines[1], "operation") {
		t.Error(text.String())
	}
}
