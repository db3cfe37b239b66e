package lightningrod

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/wire"
)

// answering is a server that answers every request so.
func answering(t *testing.T, code int, header, value, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if header != "" {
			w.Header().Set(header, value)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestDoctorNamesCauseAndCure(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, c *testCloud, state string) DoctorConfig
		check   string
		level   string
		certain bool
		says    string // in cause or cure
	}{
		{name: "a healthy way to a cloud", prepare: func(t *testing.T, c *testCloud, state string) DoctorConfig {
			return DoctorConfig{Target: c.joinString("")}
		}, check: "upgrade", level: wire.LevelOK, certain: true, says: "WebSockets pass"},
		{name: "a board that is known and does not run", prepare: func(t *testing.T, c *testCloud, state string) DoctorConfig {
			joinAndLeaveItThere(t, c, state)
			return DoctorConfig{}
		}, check: "auth", level: wire.LevelOK, certain: true, says: "knows this board"},
		{name: "nothing runs", prepare: func(t *testing.T, c *testCloud, state string) DoctorConfig {
			joinAndLeaveItThere(t, c, state)
			return DoctorConfig{}
		}, check: "agent", level: wire.LevelWarning, certain: true, says: "lightning-rod run"},
		{name: "the board was deleted", prepare: func(t *testing.T, c *testCloud, state string) DoctorConfig {
			joinAndLeaveItThere(t, c, state)
			c.left = true
			return DoctorConfig{}
		}, check: "auth", level: wire.LevelError, certain: true, says: "does not know this board"},
		{name: "not joined", prepare: func(*testing.T, *testCloud, string) DoctorConfig { return DoctorConfig{} },
			check: "state", level: wire.LevelWarning, certain: true, says: "join JOIN-STRING"},
		{name: "a damaged identity", prepare: func(t *testing.T, _ *testCloud, state string) DoctorConfig {
			os.WriteFile(filepath.Join(state, identityFile), []byte("{"), 0o600)
			return DoctorConfig{}
		}, check: "state", level: wire.LevelError, certain: true, says: "damaged"},
		{name: "a code that was used", prepare: func(t *testing.T, c *testCloud, state string) DoctorConfig {
			joinAndLeaveItThere(t, c, t.TempDir())
			return DoctorConfig{Target: c.joinString("")}
		}, check: "auth", level: wire.LevelError, certain: true, says: "was used"},
		{name: "nothing listens", prepare: func(t *testing.T, _ *testCloud, _ string) DoctorConfig {
			return DoctorConfig{Target: "https://127.0.0.1:1"}
		}, check: "tcp", level: wire.LevelError, says: "nothing listens"},
		{name: "TLS of another CA", prepare: func(t *testing.T, c *testCloud, _ string) DoctorConfig {
			return DoctorConfig{Target: s4t.JoinString{URLs: []string{c.url}, Code: "C", Fingerprint: newTestCloud(t).fingerprint}.String()}
		}, check: "tls", level: wire.LevelError, says: "join --ca FILE"},
		{name: "a CA that only a join string could name", prepare: func(t *testing.T, c *testCloud, _ string) DoctorConfig {
			return DoctorConfig{Target: c.url}
		}, check: "tls", level: wire.LevelWarning, says: "join string"},
		{name: "no TLS", prepare: func(t *testing.T, _ *testCloud, _ string) DoctorConfig {
			return DoctorConfig{Target: strings.Replace(answering(t, 200, "", "", ""), "http:", "https:", 1)}
		}, check: "tls", level: wire.LevelError, says: "does not speak TLS"},
		{name: "a captive portal", prepare: func(t *testing.T, _ *testCloud, _ string) DoctorConfig {
			return DoctorConfig{Target: answering(t, 302, "Location", "http://login.example/", "")}
		}, check: "portal", level: wire.LevelError, says: "captive portal"},
		{name: "a web page in its place", prepare: func(t *testing.T, _ *testCloud, _ string) DoctorConfig {
			return DoctorConfig{Target: answering(t, 200, "", "", "<html>")}
		}, check: "upgrade", level: wire.LevelError, says: "web page"},
		{name: "a server that cuts", prepare: func(t *testing.T, _ *testCloud, _ string) DoctorConfig {
			return DoctorConfig{Target: cutting(t)}
		}, check: "upgrade", level: wire.LevelError, says: "cut"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newTestCloud(t)
			state := t.TempDir()
			cfg := tt.prepare(t, c, state)
			cfg.State = state
			findings, err := Doctor(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range findings {
				if f.Check == tt.check && f.Level == tt.level {
					if f.Certain != tt.certain || !strings.Contains(f.Cause+" "+f.Cure, tt.says) {
						t.Errorf("%+v; want certain %v, saying %q", f, tt.certain, tt.says)
					}
					return
				}
			}
			t.Errorf("no %s of %s in %+v", tt.level, tt.check, findings)
		})
	}
}

// joinAndLeaveItThere enrols a board that does not run.
func joinAndLeaveItThere(t *testing.T, c *testCloud, state string) {
	t.Helper()
	if _, err := Join(t.Context(), JoinConfig{State: state, Join: c.joinString("")}); err != nil {
		t.Fatal(err)
	}
}

// cutting is a server that takes connections and closes them.
func cutting(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

func TestDoctorIsRefusedABadTarget(t *testing.T) {
	for _, target := range []string{"hello", "https://", "ftp://a"} {
		if _, err := Doctor(t.Context(), DoctorConfig{State: t.TempDir(), Target: target}); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%q: %v, want invalid", target, err)
		}
	}
}

func TestChecksOfTheBoardItself(t *testing.T) {
	now := time.Date(2040, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		x     *examination
		run   func(*examination)
		level string
		says  string
	}{
		{"the clock says 1970", &examination{now: time.Unix(5, 0)}, func(x *examination) { checkClock(t.Context(), x) }, wire.LevelWarning, "1970-01-01"},
		{"the clock is an hour off", &examination{now: now, cloudNow: now.Add(time.Hour)}, func(x *examination) { checkClock(t.Context(), x) }, wire.LevelWarning, "1h0m0s off"},
		{"the clock is right", &examination{now: now, cloudNow: now}, func(x *examination) { checkClock(t.Context(), x) }, wire.LevelOK, "2040"},
		{"no right to make devices", &examination{caps: &link.Capabilities{Reason: "no CAP_NET_ADMIN"}}, func(x *examination) { checkNetworks(t.Context(), x) }, wire.LevelWarning, "no CAP_NET_ADMIN"},
		{"devices can be made", &examination{caps: &link.Capabilities{Networks: true}}, func(x *examination) { checkNetworks(t.Context(), x) }, wire.LevelOK, "devices"},
		{"the path drops big packets", &examination{segment: 1220}, func(x *examination) { checkMTU(t.Context(), x) }, wire.LevelWarning, "1220"},
		{"a port is down", &examination{id: &Identity{}, running: &Status{Connected: true, Ports: []PortStatus{{Interface: "s4t-1", Problem: "the agent is away"}}}},
			func(x *examination) {
				x.look = link.Look
				checkPorts(t.Context(), x)
			}, wire.LevelError, "s4t-1: the agent is away"},
		{"connected", &examination{id: &Identity{}, running: &Status{Connected: true}}, func(x *examination) { checkAgent(t.Context(), x) }, wire.LevelOK, "connected"},
		{"not connected yet", &examination{id: &Identity{}, running: &Status{}}, func(x *examination) { checkAgent(t.Context(), x) }, wire.LevelWarning, "not connected yet"},
		{"the disk of the state", &examination{dir: stateDir(t.TempDir())}, func(x *examination) { checkDisk(t.Context(), x) }, wire.LevelOK, "MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := tt.x
			tt.run(x)
			if len(x.findings) == 0 || x.findings[0].Level != tt.level || !strings.Contains(x.findings[0].Cause, tt.says) {
				t.Errorf("findings = %+v, want %s that says %q", x.findings, tt.level, tt.says)
			}
		})
	}
}
