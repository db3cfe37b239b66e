package lightningrod

import (
	"strings"

	"github.com/stack4things/s4t/wire"
)

// report is the state the board has. settled is false while a port is on its
// way for the first time.
func (e *Engine) report(epoch int64) (r wire.BoardReport, settled bool) {
	ports, settled := e.ports.reports()
	problems := e.problems()
	e.mu.Lock()
	defer e.mu.Unlock()
	return wire.BoardReport{
		Board: e.id.Board, Epoch: epoch, Generation: e.applied, Ports: ports,
		Problems: clampLines(problems), Recovered: e.recovered,
	}, settled
}

// told notes that a report arrived.
func (e *Engine) told(r wire.BoardReport) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.recovered == r.Recovered {
		e.recovered = ""
	}
}

// problems lists what stands in the way, besides what is one port's own.
func (e *Engine) problems() []string {
	streams := e.streams.Status().Problem
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	if streams != "" && e.session != nil && e.desired.Streams != nil {
		out = append(out, streams)
	}
	if e.trouble != "" {
		out = append(out, e.trouble)
	}
	if e.saving != "" {
		out = append(out, e.saving)
	}
	if !e.caps.Networks && len(e.desired.Ports) > 0 {
		out = append(out, "virtual networks are not possible here: "+e.caps.Reason)
	}
	return append(out, e.desired.Notices...)
}

// clampLines holds the bounds of [wire.BoardReport].
func clampLines(lines []string) []string {
	lines = lines[:min(len(lines), 16)]
	for i, l := range lines {
		lines[i] = clampLine(l)
	}
	return lines
}

func clampLine(l string) string { return strings.ToValidUTF8(l[:min(len(l), 255)], "") }
