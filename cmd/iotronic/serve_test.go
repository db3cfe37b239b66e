package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
)

func TestMain(m *testing.M) {
	if os.Getenv("S4T_TEST_PROGRAM") != "" { // this binary stands for the program
		main()
	}
	goleak.VerifyTestMain(m)
}

// running is `iotronic serve` in this process.
type running struct {
	url  string
	stop func() error
}

// startServe runs serve with more flags and waits for its ready line.
func startServe(t *testing.T, data string, change func(*config)) *running {
	t.Helper()
	cfg := defaults()
	cfg.Data, cfg.Listen = data, "127.0.0.1:0"
	if change != nil {
		change(&cfg)
	}
	cfg.LogLevel = "debug"
	return startServeWith(t, cfg, &reloading{level: new(slog.LevelVar)})
}

// startServeWith does it with a configuration, and with what SIGHUP does.
func startServeWith(t *testing.T, cfg config, r *reloading) *running {
	t.Helper()
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	in, out := io.Pipe()
	ended := make(chan error, 1)
	var logged bytes.Buffer
	go func() {
		ended <- serve(ctx, cfg, out, newLog(&logged, r.level), r)
		out.Close()
	}()
	line, err := bufio.NewReader(in).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		cancel()
		t.Fatalf("not ready: %q, %v, %v\n%s", line, err, <-ended, &logged)
	}
	go io.Copy(io.Discard, in)
	stopped := false
	stop := func() error {
		if stopped {
			return nil
		}
		stopped = true
		start := time.Now()
		cancel()
		err := <-ended
		if took := time.Since(start); took > time.Minute {
			t.Errorf("stopping took %s\n%s", took, &logged)
		}
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return &running{url: url, stop: stop}
}

// readAdmin reads DIR/admin.toml.
func readAdmin(t *testing.T, data string) adminContext {
	t.Helper()
	path := filepath.Join(data, "admin.toml")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode() != 0o600 {
		t.Errorf("admin.toml has mode %o", st.Mode())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f contextFile
	if err := toml.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	return f.Contexts[f.Current]
}

// get asks the API with a context's token, and returns the status.
func get(t *testing.T, c adminContext, path string, into any) int {
	t.Helper()
	tr := &http.Transport{}
	if c.CA != "" {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(c.CA))
		tr.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "GET", c.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			t.Fatalf("%s: %v: %s", path, err, body)
		}
	}
	return res.StatusCode
}

func TestServeFromTheFirstStartOn(t *testing.T) {
	data := filepath.Join(t.TempDir(), "new", "data")
	cloud := startServe(t, data, nil)
	first := readAdmin(t, data)
	if first.URL != cloud.url || first.Project != "default" || first.CA == "" {
		t.Errorf("admin context %+v, ready %s", first, cloud.url)
	}
	var projects []s4t.Project
	if code := get(t, first, "/v1/projects", &projects); code != 200 || len(projects) != 1 || projects[0].Name != "default" {
		t.Errorf("projects: %d %+v", code, projects)
	}
	if code := get(t, adminContext{URL: first.URL, CA: first.CA, Token: "s4t_wrong"}, "/v1/projects", nil); code != 401 {
		t.Errorf("a wrong token: %d", code)
	}
	if err := serve(t.Context(), config{Data: data, Listen: "127.0.0.1:0", Role: "all", LogLevel: "info", PublicPorts: "1-2", TLS: tlsConfig{Mode: "on"}}, io.Discard, slog.New(slog.DiscardHandler), nil); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "another iotronic") {
		t.Errorf("a second process on the same directory: %v", err)
	}
	if err := cloud.stop(); err != nil {
		t.Fatal(err)
	}

	// Again, at another address: the same CA and token, the new URL.
	again := startServe(t, data, func(c *config) { c.URL = "https://localhost:1" })
	second := readAdmin(t, data)
	if again.url != "https://localhost:1" || second.URL != again.url || second.Token != first.Token || second.CA != first.CA {
		t.Errorf("second start: %+v", second)
	}
	again.stop()

	// The context is lost: another token, the old one stays valid.
	if err := os.Remove(filepath.Join(data, "admin.toml")); err != nil {
		t.Fatal(err)
	}
	startServe(t, data, nil)
	third := readAdmin(t, data)
	if third.Token == first.Token || get(t, third, "/v1/projects", nil) != 200 {
		t.Errorf("third start: %+v", third)
	}
	// What is secret is for the owner only.
	files, err := filepath.Glob(filepath.Join(data, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm()&0o077 != 0 && filepath.Base(f) != "ca.pem" {
			t.Errorf("%s has mode %o", f, st.Mode())
		}
	}
}

func TestServeWithoutTLS(t *testing.T) {
	data := t.TempDir()
	cloud := startServe(t, data, func(c *config) { c.TLS.Mode = "off" })
	c := readAdmin(t, data)
	if !strings.HasPrefix(cloud.url, "http://127.0.0.1:") || c.CA != "" || get(t, c, "/v1/projects", nil) != 200 {
		t.Errorf("ready %s, context %+v", cloud.url, c)
	}
}

func TestSecretsAreNeitherInTheLogNorOnStandardOutput(t *testing.T) {
	data := t.TempDir()
	cfg := defaults()
	cfg.Data, cfg.Listen = data, "127.0.0.1:0"
	ctx, cancel := context.WithCancel(t.Context())
	var logged, out bytes.Buffer
	cfg.LogLevel = "debug"
	var level slog.LevelVar
	ended := make(chan error)
	in, w := io.Pipe()
	go func() {
		ended <- serve(ctx, cfg, io.MultiWriter(w, &out), newLog(&logged, &level), &reloading{level: &level})
	}()
	bufio.NewReader(in).ReadString('\n')
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(data, "admin.toml"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ", password ")
	password, _, _ := strings.Cut(rest, "\n")
	for _, secret := range []string{readAdmin(t, data).Token, password} {
		if secret == "" || strings.Contains(logged.String()+out.String(), secret) {
			t.Errorf("the secret %q is told", secret)
		}
	}
}

func TestCommandLine(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.toml")
	if err := os.WriteFile(good, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		args string
		want int
	}{
		{"version", 0},
		{"config", 0},
		{"config --check " + good, 0},
		{"config --check /nonexistent", exitUsage},
		{"serve -h", 0},
		{"serve extra", exitUsage},
		{"serve --unknown", exitUsage},
		{"serve --role boss", exitUsage},
		{"serve --role api", exitUsage},
		{"serve --tls off --listen 0.0.0.0:1", exitUsage},
		{"serve --log-level loud", exitUsage},
		{"nothing", exitUsage},
		{"", exitUsage},
	}
	for _, tt := range tests {
		if got := run(t.Context(), strings.Fields(tt.args), io.Discard, io.Discard); got != tt.want {
			t.Errorf("iotronic %s: status %d, want %d", tt.args, got, tt.want)
		}
	}
	for _, c := range newRoot().Commands() {
		if c.Example == "" {
			t.Errorf("%s -h has no example", c.Name())
		}
	}
}

func TestServeWithSomeRoles(t *testing.T) {
	data := t.TempDir()
	startServe(t, data, func(c *config) { c.Role = "api,conductor" })
	c := readAdmin(t, data)
	for path, want := range map[string]int{"/v1/projects": 200, "/healthz": 200, "/wamp": 404, "/rtunnel": 404} {
		if code := get(t, c, path, nil); code != want {
			t.Errorf("%s: status %d, want %d", path, code, want)
		}
	}
}
