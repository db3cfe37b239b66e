package cloud

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// get returns an answer of the operator's port.
func (p *process) get(t *testing.T, path string) (int, string) {
	t.Helper()
	res, err := http.Get("http://" + p.MetricsAddr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// TestTheOperatorsPort: what a process tells its operator, and that the figures of the
// dashboard in docs are among it.
func TestTheOperatorsPort(t *testing.T) {
	q := queue.New()
	cfg := Config{Roles: AllRoles(), Queue: q, Listen: "127.0.0.1:0", Data: t.TempDir(), Database: "sqlite:" + t.TempDir() + "/db", MetricsListen: "127.0.0.1:0", Version: "1.2.3"}
	p := run(t, cfg).isReady(t)
	if code, text := p.get(t, "/healthz"); code != 200 || text != "ok\n" {
		t.Error("healthz:", code, text)
	}
	if code, text := p.get(t, "/readyz"); code != 200 || text != "ok\n" {
		t.Error("readyz:", code, text)
	}
	p.metrics.observe("board.list", 200, 0)
	_, text := p.get(t, "/metrics")
	for _, want := range []string{`s4t_build_info{go="go1`, `version="1.2.3"`, `s4t_queue_call_seconds_count{method="` + wire.MethodVerify + `",outcome="unauthenticated"}`, "process_resident_memory_bytes", "\ns4t_database_commits_total ", "\ns4t_database_rows_total "} {
		if !strings.Contains(text, want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	dashboard, err := os.ReadFile("../docs/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(dashboard) {
		t.Error("the dashboard is no JSON")
	}
	for _, name := range regexp.MustCompile(`(s4t|process|go)_[a-z_]+[a-z]`).FindAllString(string(dashboard), -1) {
		if !strings.Contains(text, "# TYPE "+strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")+" ") {
			t.Errorf("/metrics has no %s, which the dashboard shows", name)
		}
	}

	q.Down()
	if code, text := p.get(t, "/readyz"); code != 503 && code != 200 || code == 503 && !strings.Contains(text, "queue") {
		t.Error("readyz without a queue:", code, text)
	}
	q.Up()
}
