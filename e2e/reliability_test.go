package e2e

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	healsMu sync.Mutex // guards heals
	heals   = map[string]time.Duration{}
)

// healed notes a healing time for the table.
func healed(fault string, took time.Duration) {
	healsMu.Lock()
	defer healsMu.Unlock()
	heals[fault] = took
}

// writeReliability writes docs/reliability.md when `make test-faults` asks.
func writeReliability(t *testing.T) {
	file := os.Getenv("S4T_RELIABILITY")
	if file == "" {
		return
	}
	healsMu.Lock()
	defer healsMu.Unlock()
	var rows []string
	for fault, took := range heals {
		rows = append(rows, fmt.Sprintf("| %s | %.2f s |", fault, took.Seconds()))
	}
	sort.Strings(rows)
	text := fmt.Sprintf(`# What breaks, and how soon it is back

Written by `+"`make test-faults`"+` on %s. Each fault hits a cloud with two boards behind NATs, a layer-2 bridge and an
exposed sshd. The time runs from the moment the cause has gone until the bridge carries pings both ways and the public port
answers again; the test fails above %v. After each, nothing may be there twice or left over: devices, ports, listeners.

| fault | back after |
|---|---|
%s

A board whose link is cut is shown offline within 10 s.
`, time.Now().UTC().Format("2006-01-02"), healLimit, strings.Join(rows, "\n"))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}
