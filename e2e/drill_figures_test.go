package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// processFigures are those of one process.
type processFigures struct{ goroutines, resident float64 }

// figures asks each process.
func (d *drill) figures() map[string]processFigures {
	all := map[string]processFigures{}
	client := &http.Client{Transport: &http.Transport{DialContext: d.Lab.User.DialContext, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for _, p := range d.roster {
		res, err := client.Get("http://" + p.at.addr + ":9812/metrics")
		must(d.t, err)
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		must(d.t, err)
		var f processFigures
		for line := range strings.Lines(string(text)) {
			for name, to := range map[string]*float64{"go_goroutines ": &f.goroutines, "process_resident_memory_bytes ": &f.resident} {
				if v, ok := strings.CutPrefix(line, name); ok {
					*to, _ = strconv.ParseFloat(strings.TrimSpace(v), 64)
				}
			}
		}
		all[p.name] = f
	}
	return all
}

// calm fails unless each process has about as many goroutines and as much memory as
// before all faults.
func (d *drill) calm(before map[string]processFigures) {
	var now map[string]processFigures
	grown := ""
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) { // between two looks
		now, grown = d.figures(), ""
		for name, was := range before {
			if f := now[name]; f.goroutines > 1.3*was.goroutines+50 || f.resident > 1.5*was.resident+64<<20 {
				grown += fmt.Sprintf("%s has %.0f goroutines and %.0f MiB, before %.0f and %.0f; ", name, f.goroutines, f.resident/(1<<20), was.goroutines, was.resident/(1<<20))
			}
		}
		if grown == "" || time.Now().After(end) {
			break
		}
	}
	if grown != "" {
		d.isWrong("%s", grown)
	}
	for _, p := range d.roster {
		f, was := now[p.name], before[p.name]
		fmt.Printf("%s: %.0f goroutines (before: %.0f), %.0f MiB resident (%.0f)\n", p.name, f.goroutines, was.goroutines, f.resident/(1<<20), was.resident/(1<<20))
	}
}
