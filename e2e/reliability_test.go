package e2e

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"time"
)

var (
	healsMu sync.Mutex // guards the maps below
	heals   = map[string]time.Duration{}
	figures = map[string]string{}
)

// healed notes a healing time for the table.
func healed(fault string, took time.Duration) {
	healsMu.Lock()
	defer healsMu.Unlock()
	heals[fault] = max(heals[fault], took)
}

// figure notes a line for the page: what was done, and what it cost.
func figure(what, cost string) {
	healsMu.Lock()
	defer healsMu.Unlock()
	figures[what] = cost
}

// writeReliability writes docs/reliability.md when `make test-faults` asks.
func writeReliability() error {
	file := os.Getenv("S4T_RELIABILITY")
	if file == "" {
		return nil
	}
	healsMu.Lock()
	defer healsMu.Unlock()
	var faults, costs []string
	for fault, took := range heals {
		faults = append(faults, fmt.Sprintf("| %s | %.2f s |", fault, took.Seconds()))
	}
	for what, cost := range figures {
		costs = append(costs, fmt.Sprintf("| %s | %s |", what, cost))
	}
	sort.Strings(faults)
	sort.Strings(costs)
	text := fmt.Sprintf(`# What breaks, and how soon it is back

Written by `+"`make test-faults`"+` on %s. Each fault hits a cloud with two boards behind NATs, a layer-2 bridge and an
exposed sshd. The time runs from the moment the cause has gone until the bridge carries pings both ways and the public port
answers again; the test fails above %v. After each, nothing may be there twice or left over: devices, ports, listeners.

| fault | back after |
|---|---|
%s

A board whose link is cut is shown offline within 10 s. A fault that nobody noticed is back after the time of one check.

Tested in other ways: clocks that jump by ten years either way (with injected clocks, in package conductor; a board follows the
cloud's time with its own monotonic clock, also where it says 1970), and random sequences of requests, kills and cuts against a
model, with real processes here and with many more steps in one process in internal/cloudtest.

## What abuse and many boards cost

Each row runs beside a bridge and a public port in use, all on one machine with %d cores; the abuser runs at the lowest
priority there, as if it had a machine of its own. A row fails where a ping of the bridge is lost, where iotronic takes
256 MiB more than before, or where a request, a stream through the public port or a board that comes back takes more than %v.

| what happened | what it cost |
|---|---|
%s
`, time.Now().UTC().Format("2006-01-02"), healLimit, strings.Join(faults, "\n"), runtime.NumCPU(), healLimit, strings.Join(costs, "\n"))
	return os.WriteFile(file, []byte(text), 0o644)
}
