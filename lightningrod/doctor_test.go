package lightningrod

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
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
		{name: "a healthy path to a cloud", prepare: func(t *testing.T, c *testCloud, state string) DoctorConfig {
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
			os.WriteFile(filepath.Join(state, IdentityFile), []byte("{"), 0o600)
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

func TestDoctorGoesWhereTheBoardGoes(t *testing.T) {
	state := stateDir(t.TempDir())
	id := testIdentity()
	if err := state.saveIdentity(id); err != nil {
		t.Fatal(err)
	}
	goes := func() string { return state.patient(t.Context()).Identity.Cloud }
	if got := goes(); got != id.URLs[0] {
		t.Errorf("after the join: %s", got)
	}
	d := testDesired(1)
	d.URLs = []string{"https://moved.test"}
	if err := state.saveDesired(kept{Desired: d}, kept{}); err != nil {
		t.Fatal(err)
	}
	if got := goes(); got != "https://moved.test" {
		t.Errorf("after the cloud moved: %s", got)
	}
	sock, err := state.listen(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		sock.serve(ctx, func(context.Context, string) any { return Status{Connected: true, URL: "https://second.test"} }, nil)
	}()
	if got := goes(); got != "https://second.test" {
		t.Errorf("while it is connected elsewhere: %s", got)
	}
	cancel()
	<-done
}

func TestDiagnosesOfTheState(t *testing.T) {
	save := func(t *testing.T, state string) {
		t.Helper()
		if err := stateDir(state).saveIdentity(testIdentity()); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		want    string
		prepare func(t *testing.T, state string)
	}{
		{wire.NotJoined, func(*testing.T, string) {}},
		{wire.StateDamaged, func(t *testing.T, state string) {
			os.WriteFile(filepath.Join(state, IdentityFile), []byte(`{"board":"x"`), 0o600)
		}},
		{wire.DesiredDamaged, func(t *testing.T, state string) {
			save(t, state)
			os.WriteFile(filepath.Join(state, desiredFile), []byte(`{"sha256":"00","desired":{}}`), 0o600)
		}},
	} {
		t.Run(tt.want, func(t *testing.T) {
			state := t.TempDir()
			tt.prepare(t, state)
			findings, err := Doctor(t.Context(), DoctorConfig{State: state})
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, f := range findings {
				found = found || f.ID == tt.want
				if known, _ := wire.Diagnose(tt.want); f.Check == known.Check && f.ID != "" && (f.ID != tt.want || f.Level != known.Level || f.Certain != known.Certain || f.Cure == "") {
					t.Errorf("%+v", f)
				}
			}
			if !found {
				t.Errorf("no %s in %+v", tt.want, findings)
			}
		})
	}
}

func TestDiagnosesOfTheFirstAnswer(t *testing.T) {
	doctor := func(t *testing.T, target string) []wire.Finding {
		t.Helper()
		findings, err := Doctor(t.Context(), DoctorConfig{State: t.TempDir(), Target: target})
		if err != nil {
			t.Fatal(err)
		}
		return findings
	}
	has := func(t *testing.T, findings []wire.Finding, want string) {
		t.Helper()
		for _, f := range findings {
			if f.ID == want {
				return
			}
		}
		t.Errorf("no %s in %+v", want, findings)
	}
	t.Run(wire.TLSFails, func(t *testing.T) {
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} //nolint:gosec // an old server
		s.StartTLS()
		defer s.Close()
		has(t, doctor(t, s.URL), wire.TLSFails)
	})
	t.Run(wire.VersionDiffers, func(t *testing.T) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Sec-WebSocket-Accept", rtunnel.AcceptKey(r.Header.Get("Sec-WebSocket-Key")))
			w.Header().Set("Sec-WebSocket-Protocol", "wamp.3.msgpack")
			w.WriteHeader(http.StatusSwitchingProtocols)
		}))
		defer s.Close()
		has(t, doctor(t, s.URL), wire.VersionDiffers)
	})
	t.Run(wire.CodeUnchecked, func(t *testing.T) {
		c := newTestCloud(t)
		c.unsure = true
		has(t, doctor(t, c.joinString("")), wire.CodeUnchecked)
	})
}
