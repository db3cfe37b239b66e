package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// report is everything that one run measured.
type report struct {
	Rounds, Seconds int
	Sizes           map[string]int64
	Workflow        *workflowResult
	Boards          *boardsResult
	Overlays        []overlayResult
	Paths           []pathResult
	Fairness        *fairnessResult
	Small           *smallResult
	Tunnels         []tunnelResult
}

// markdown is the text of docs/performance.md.
func (r report) markdown() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	p("# Performance\n")
	p("Written by `make bench` on %s at commit %s.", time.Now().UTC().Format("2006-01-02"), strings.TrimSpace(string(commit)))
	p("Machine: %s. Everything (boards, cloud, load) shares it, in network namespaces joined by veth pairs.", machine())
	p("Medians of %d rounds of %d s; each round measures the bare veth beside the overlay, so read ratios.\n", r.Rounds, r.Seconds)
	if r.Workflow != nil {
		p("## How long a user waits, and what it costs at rest\n")
		if r.Workflow.Err != nil {
			p("failed: %v\n", r.Workflow.Err)
		} else {
			p("| measure | figure | target |\n|---|---|---|")
			p("| request to first ping across a new bridge | %.0f ms | 300 ms |", median(r.Workflow.FirstPing))
			p("| `service expose` to first byte | %.0f ms | 100 ms |", median(r.Workflow.FirstByte))
			p("| lightning-rod at rest, resident | %.1f MiB | 12 MiB |", r.Workflow.BoardMiB)
			p("| iotronic with 2 boards, resident | %.1f MiB | |", r.Workflow.CloudMiB)
		}
		if r.Boards != nil && r.Boards.Err == nil {
			p("| iotronic with %d simulated boards, resident | %.1f MiB | |", r.Boards.Boards, r.Boards.CloudMiB)
			p("| the same %d boards back online after a restart of iotronic | %.1f s | |", r.Boards.Boards, r.Boards.BackSeconds)
		} else if r.Boards != nil {
			p("\n%d boards: failed: %v", r.Boards.Boards, r.Boards.Err)
		}
		for _, name := range []string{"iotronic", "lightning-rod", "s4t"} {
			p("| %s, stripped, this machine's architecture | %.1f MB | %s |", name, float64(r.Sizes[name])/1e6, map[string]string{"lightning-rod": "10 MB"}[name])
		}
		p("")
	}
	if len(r.Overlays) > 0 {
		p("## Virtual networks\n")
		p("Two boards, one cloud, MTU 1500. CPU is that of our three processes together. In the last row the network is in a Linux bridge of the cloud's host, and that is the other end instead of board 2.\n")
		p("| network | 1 stream fwd / rev, Gbit/s | 4 streams | x of bare veth | CPU s/GiB | 64-byte kpps | RTT idle p50 / p99, ms | RTT loaded | MiB board / cloud |\n|---|---|---|---|---|---|---|---|---|")
		for _, o := range r.Overlays {
			p("%s", o.row())
		}
		p("\n![throughput](performance.svg)\n")
	}
	if len(r.Paths) > 0 {
		p("## Long and lossy paths\n")
		p("One TCP stream from board 1 across the bridge (layer 2, wss), beside one bare TCP stream from board 1 to the cloud, Mbit/s. Board 1 reaches the cloud over a wire of ours that delays and drops packets of at most 1500 bytes one by one, both ways. Congestion control: %s.\n", r.Paths[0].Congestion)
		p("| path | round trip | loss each way | bare TCP | through the bridge | ratio |\n|---|---|---|---|---|---|")
		for _, path := range r.Paths {
			p("%s", path.row())
		}
		p("")
	}
	if r.Fairness != nil {
		p("## A board that stops\n")
		p("Ten boards on one bridge (layer 2, wss), and datagrams to all of them; one TCP stream between two of them, while a third runs and while its lightning-rod is stopped (SIGSTOP), in turn.\n")
		p("| it runs, Gbit/s | it is stopped, Gbit/s | change |\n|---|---|---|")
		p("%s\n", r.Fairness.row())
	}
	if r.Small != nil {
		p("## A small board: half a core, 64 MB\n")
		p("Its bridge is saturated both ways (layer 2, wss) while services are exposed and hidden, which the control channel carries.\n")
		p("| towards the other board, Gbit/s | peak resident memory, MiB | killed for memory | `service expose` to first byte, ms, p50 / p99 |\n|---|---|---|---|")
		p("%s\n", r.Small.row())
	}
	if len(r.Tunnels) > 0 {
		p("## Reverse tunnels: an exposed service\n")
		p("| tunnel | 1 stream up / down, Gbit/s | 4 streams | x of bare veth | CPU s/GiB | RTT of 64 B p50 / p99, µs | connections/s | KiB an idle connection, both ends |\n|---|---|---|---|---|---|---|---|")
		for _, t := range r.Tunnels {
			p("%s", t.row())
		}
	}
	return b.String()
}

// svg draws the one-stream throughput of each overlay as bars.
func (r report) svg() string {
	var b strings.Builder
	const left, width, bar = 130, 520, 26
	top := 1.0
	for _, o := range r.Overlays {
		top = max(top, median(o.Fwd1))
	}
	height := 50 + (bar+10)*len(r.Overlays)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13">`+"\n", left+width+90, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/><text x="12" y="24" font-size="15" font-weight="600" fill="#1f2933">One TCP stream between two boards, Gbit/s</text>`+"\n")
	for i, o := range r.Overlays {
		y := 42 + i*(bar+10)
		w := int(median(o.Fwd1) / top * width)
		colour := "#2f6fde"
		if o.TLS {
			colour = "#0c9a6f"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end" fill="#1f2933">%s</text><rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="%s"/><text x="%d" y="%d" fill="#1f2933">%.1f</text>`+"\n",
			left-10, y+bar-8, o.Name, left, y, max(w, 2), bar, colour, left+w+8, y+bar-8, median(o.Fwd1))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// write puts both files into dir.
func (r report) write(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "performance.svg"), []byte(r.svg()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "performance.md"), []byte(r.markdown()), 0o644)
}
