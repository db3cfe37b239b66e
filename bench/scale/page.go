package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// markdown is the page.
func markdown(o options, builds []build, all []result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	this := builds[len(builds)-1]
	against := ""
	if len(builds) > 1 {
		against = ", against commit " + builds[0].commit
	}
	p("# How many boards one cloud takes\n")
	p("Written by `make bench-scale BASE=%s` on %s at commit %s%s.", o.base, time.Now().UTC().Format("2006-01-02"), this.commit, against)
	what := "One process with everything in it, SQLite"
	if o.agents > 0 {
		what = fmt.Sprintf("%d processes that are WAMP agents and one with the other roles, RabbitMQ, PostgreSQL (without fsync)", o.agents)
	}
	p("%s, TLS; the boards run on the same %d cores (%s): real sessions and retries of the same", what, runtime.NumCPU(), kernel())
	p("build, without devices. \"Never\" is: not within %v. CPU is that of iotronic's processes; RSS is what a board adds at rest. Goodput is", o.limit)
	p("how many boards a second come online between 5 and 95 %% of them, as a part of the best 5 s, with %s at once. A user asks 10 times a second.\n", "all")
	p("| boards at once | build | all online after | dials a board, begun in vain | goodput | a user meanwhile: p50 / p99, failed | CPU a connect (boards' own) | RSS a board | CPU a board at rest | an agent killed: elsewhere after | all killed: ready / all back after |")
	p("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range all {
		elsewhere := "-"
		if r.Elsewhere != 0 {
			elsewhere = after(r.Elsewhere)
		}
		p("| %d | %s | %s | %.2f, %d | %.2f of %.0f/s | %.0f / %.0f ms, %d | %.2f ms (%.2f ms) | %s | %s | %s | %s / %s |", r.Boards, r.Build, after(r.Online), r.Tries, r.Vain, r.Goodput, r.Peak, r.UserP50, r.UserP99, r.Failed,
			r.Connect, r.FleetCPU, known(r.MemoryKiB, "KiB"), known(r.RestCPU, "µs/s"), elsewhere, after(r.Ready), after(r.Back))
	}
	return b.String()
}

// after prints a time.
func after(seconds float64) string {
	switch {
	case seconds < 0:
		return "never"
	case seconds == 0:
		return "-"
	}
	return fmt.Sprintf("%.1f s", seconds)
}

// known prints what was measured.
func known(v float64, unit string) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

func kernel() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(text))
}
