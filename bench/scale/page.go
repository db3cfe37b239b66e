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
	p("One process with everything in it, SQLite, TLS; the boards run on the same %d cores (%s): real sessions and retries of the same", runtime.NumCPU(), kernel())
	p("build, without devices. \"Never\" is: not within %v. CPU is that of the cloud's process; RSS is what a board adds at rest. Goodput is", o.limit)
	p("how many boards a second come online between 5 and 95 %% of them, as a part of the best 5 s, with %s at once.\n", "all")
	p("| boards at once | build | all online after | dials a board | goodput | CPU a connect (boards' own) | RSS a board | CPU a board at rest | kill -9: ready / all back after |")
	p("|---|---|---|---|---|---|---|---|---|")
	for _, r := range all {
		p("| %d | %s | %s | %.2f | %.2f of %.0f/s | %.2f ms (%.2f ms) | %s | %s | %s / %s |", r.Boards, r.Build, after(r.Online), r.Tries, r.Goodput, r.Peak, r.Connect, r.FleetCPU,
			known(r.MemoryKiB, "KiB"), known(r.RestCPU, "µs/s"), after(r.Ready), after(r.Back))
	}
	return b.String()
}

// after prints a time.
func after(seconds float64) string {
	if seconds < 0 {
		return "never"
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
