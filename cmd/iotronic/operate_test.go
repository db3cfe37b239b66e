package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// say runs a command line, and returns its status and what it printed.
func say(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(t.Context(), args, &o, &e)
	return status, o.String(), e.String()
}

func TestStatusAndSwitchOfAnEmptyCloud(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if status, _, errs := say(t, "status", "--data", data); status != exitFailed || !strings.Contains(errs, "iotronic serve") {
		t.Errorf("before the first start: %d, %s", status, errs)
	}
	startServe(t, data, func(c *config) { c.TLS.NextCA = "own" })
	status, out, errs := say(t, "status", "--data", data, "-o", "json")
	var s cloud.Status
	if err := json.Unmarshal([]byte(out), &s); status != 0 || err != nil || len(s.Processes) != 2 || !s.Processes[0].Online || len(s.Certificate.Shown) != 64 || len(s.Certificate.Next) != 1 {
		t.Errorf("status %d, %v, %s%s", status, err, out, errs)
	}
	if status, out, _ := say(t, "status", "--data", data); status != 0 || !strings.Contains(out, "trusted by 0 of 0 boards") || !strings.Contains(out, "wamp-agent-1") {
		t.Errorf("status %d, %s", status, out)
	}
	if status, _, _ := say(t, "status", "--data", data, "-o", "xml"); status != exitUsage {
		t.Errorf("-o xml: %d", status)
	}
	if status, _, errs := say(t, "switch-ca", "--data", data); status != 0 {
		t.Errorf("switch-ca: %s", errs)
	}
	if status, _, errs := say(t, "switch-ca", "--data", data); status == 0 || !strings.Contains(errs, "next_ca") {
		t.Errorf("switch-ca without a next one: %d, %s", status, errs)
	}
}

// TestStatusListsEveryProcess: conductors and APIs as they said that they are
// there, and those that have been silent.
func TestStatusListsEveryProcess(t *testing.T) {
	data := t.TempDir()
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + filepath.Join(data, databaseFile)})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.HearProcess(store.Process{Name: "c1", Role: wire.ProcessAPI, Incarnation: "1", Host: "rack1", URL: "https://c1:8812", Version: "1.2", Load: 21}),
			tx.HearProcess(store.Process{Name: "c1", Role: wire.ProcessConductor, Incarnation: "1", Host: "rack1", Version: "1.2", Load: 21}))
	})
	db.Close()
	if err != nil {
		t.Fatal(err)
	}
	words := func(out string) string { return strings.Join(strings.Fields(out), " ") }
	status, out, errs := say(t, "status", "--data", data)
	if want := "api-c1 https://c1:8812 online, load 2.1 %, version 1.2 conductor-c1 rack1 online, load 2.1 %, version 1.2 boards 0 enrolled"; status != 0 || !strings.HasPrefix(words(out), want) {
		t.Errorf("status %d, %s%s, want %s", status, out, errs, want)
	}
	_, out, _ = say(t, "status", "--data", data, "-o", "json")
	for _, want := range []string{`"name": "conductor-c1"`, `"role": "api"`, `"host": "rack1"`, `"load": 0.021`, `"online": true`, `"status": "online"`, `"version": "1.2"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in %s", want, out)
		}
	}
	load := 0.5
	var text strings.Builder
	err = printStatus(&text, cloud.Status{Processes: []cloud.ProcessStatus{
		{Name: "conductor-a", Role: cloud.Conductor, Host: "rack1", Online: true, Load: &load, Upkeep: true, CertificateUntil: time.Date(2027, 2, 3, 4, 5, 6, 0, time.UTC)},
		{Name: "conductor-b", Role: cloud.Conductor, Host: "rack2", SeenAt: time.Date(2026, 11, 30, 4, 0, 0, 0, time.UTC), Status: s4t.AgentOffline, Load: &load},
	}})
	if want := "conductor-a rack1 online, load 50.0 %, does the upkeep, certificate until 2027-02-03 conductor-b rack2 silent, last seen 2026-11-30T04:00:00Z boards"; err != nil || !strings.HasPrefix(words(text.String()), want) {
		t.Errorf("%v, %s, want %s", err, text.String(), want)
	}
}

func TestStatusSaysWhyThereIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.toml")
	if err := os.WriteFile(file, []byte("role = \"wamp-agent\"\nqueue = \"amqps://h/\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := say(t, "status", "--config", file); status == 0 || !strings.Contains(errs, "has no database") {
		t.Errorf("of an agent: %d, %s", status, errs)
	}
	if status, _, errs := say(t, "status", "--database", "postgres://u@127.0.0.1:1/x"); status == 0 || !strings.Contains(errs, "cannot be reached") {
		t.Errorf("of a database that is away: %d, %s", status, errs)
	}
}

func TestInstallWritesAUnitForThisConfiguration(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "iotronic.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(fmt.Sprintf("data = %q\n", dir))
	for _, manager := range []string{"systemd", "openrc", "procd"} {
		status, out, errs := say(t, "install", "--config", file, "--print", "--manager", manager)
		if status != 0 || !strings.Contains(out, "serve") || !strings.Contains(out, file) {
			t.Errorf("%s: %d, %s%s", manager, status, out, errs)
		}
	}
	if status, _, _ := say(t, "install", "--config", file, "--print", "--manager", "upstart"); status != exitUsage {
		t.Errorf("another manager: %d", status)
	}
	write(`data = "iotronic-data"`)
	if status, _, errs := say(t, "install", "--config", file, "--print", "--manager", "systemd"); status != exitUsage || !strings.Contains(errs, "/var/lib/iotronic") {
		t.Errorf("a relative directory: %d, %s", status, errs)
	}
}

func TestSIGHUPTakesWhatItCanAndNamesTheRest(t *testing.T) {
	was := defaults()
	now := was
	now.Listen, now.LogLevel, now.TLS.Cert, now.TLS.TrustedProxy, now.TLS.NextCA = "127.0.0.1:1", "debug", "x", []string{"10.0.0.0/8"}, "own"
	if got := restartFor(was, now); !slices.Equal(got, []string{"listen", "tls.trusted_proxy"}) {
		t.Errorf("a restart for %q", got)
	}

	signals, level := make(chan os.Signal), new(slog.LevelVar)
	next := make(chan config, 1)
	r := &reloading{signal: signals, level: level, read: func() (config, error) { c := <-next; return c, c.check() }}
	cfg := defaults()
	cfg.Data, cfg.Listen = t.TempDir(), "127.0.0.1:0"
	startServeWith(t, cfg, r)
	trusted := func() int { return strings.Count(readAdmin(t, cfg.Data).CA, "BEGIN CERTIFICATE") }
	hup := func(change func(*config)) {
		t.Helper()
		c := cfg
		change(&c)
		next <- c
		signals <- syscall.SIGHUP
	}
	hup(func(c *config) { c.LogLevel, c.TLS.NextCA = "error", "own" })
	hup(func(c *config) { c.TLS.NextCA = "/nonexistent" }) // taken when the first has been; changes nothing
	hup(func(c *config) { c.TLS.Mode = "off" })            // taken when the second has been
	if level.Level() != slog.LevelError || trusted() != 2 {
		t.Errorf("level %v, %d CAs in the admin's context", level.Level(), trusted())
	}
}
