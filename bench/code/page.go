package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// intro is what stands above the table.
const intro = `# Performance: commands

Written by ` + "`make bench-commands`" + `, all programs on the machine it ran on, over its loopback interface. A row that was not measured then stays as it was: each says where, when and at which commit.
The load is that of the whole machine, the bench itself included: where it was well above the number of cores, others were at work too, and times are too long.

- **A command of a plugin** goes from a client of the REST API over one TLS connection to the cloud, over the board's control channel to lightning-rod, to the plugin's process and back, one after the other. It is
  recorded on the cloud's disk and in the board's journal before it begins, and again when it has ended.
- **The original** is its lightning-rod (release 0.5.0, Python, autobahn) as it is, with its sample plugin ` + "`echo`" + `. The caller is at the router itself, so that what its cloud does (API, message queue, conductor, agent) is not
  in it, nor any disk, nor TLS.
- **Simulated boards** are WAMP sessions over TLS in one process with the cloud, whose commands succeed at once (` + "`internal/cloudtest`" + `).
- **A bundle** is 50 MB of random bytes that the cloud has not sent before; its time is from the board's asking until all of it is in the board's file. The reverse tunnel is an exposed service's, the same bytes in one
  TCP connection to the board, from dialling to the last byte. Both go over TLS; they are measured in turn.
- **stress-ng** runs as a plugin within ` + "`lightning-rod profile set --cpu 25% --memory 64M`" + `; the processor time is of the cgroup of all guests, over windows of 10 s.
- **The journal** is of the board (` + "`make bench-journal`" + `). Flash is a disk that takes 5 ms for each sync.
- **Where the time goes** (profiles of iotronic and of the bench in one process, 2026-11-29). One command after the other costs iotronic some 4 ms of a processor: nearly half of it is the conductor's, most of
  that SQLite's two transactions, whose commits write and sync some 14 pages each; a quarter is HTTP/2 and the API; the rest wakes threads that slept. Many at a time share their transactions: a command
  costs 1.2 ms of a processor then, boards and their TLS included, so that two processors do some 1,600 a second.

| measure | target | measured | | on |
|---|---|---|---|---|
`

// page is the table, by the names of its rows.
type page struct {
	path string
	load string // of the machine, before anything of this was started
	rows []row
}

type row struct{ name, target, got, met, on string }

// order is that of the rows; what is not in it is not kept.
var order = []string{
	rowGo, rowCPU, rowShell, rowPython, rowOriginal, rowOne, rowMany, rowFleet, rowBundle, rowTunnel, rowBundleRatio,
	rowRest, rowWASI, rowGuest, rowShare, rowMemory, rowControl, rowFlashOne, rowFlashMany, rowDiskOne, rowDiskMany,
}

// newPage begins with what is on the page now.
func newPage(dir string) *page {
	p := &page{load: load(), path: filepath.Join(dir, "performance-commands.md")}
	text, _ := os.ReadFile(p.path)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) == 5 && slices.Contains(order, cells[0]) {
			p.rows = append(p.rows, row{cells[0], cells[1], cells[2], cells[3], cells[4]})
		}
	}
	return p
}

// verdict says whether a target is met.
func verdict(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}

// add puts a figure in the place of the one of that name, and shows it. met is empty
// where there is no target.
func (p *page) add(name, target, met, got string, args ...any) {
	r := row{name, target, fmt.Sprintf(got, args...), met, p.here()}
	fmt.Printf("%-90s %-16s %-40s %s\n", r.name, r.target, r.got, r.met)
	p.rows = append(slices.DeleteFunc(p.rows, func(old row) bool { return old.name == name }), r)
}

// write writes the page.
func (p *page) write() error {
	slices.SortFunc(p.rows, func(a, b row) int { return slices.Index(order, a.name) - slices.Index(order, b.name) })
	var b strings.Builder
	b.WriteString(intro)
	for _, r := range p.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.name, r.target, r.got, r.met, r.on)
	}
	return os.WriteFile(p.path, []byte(b.String()), 0o644)
}

// here describes where and when this is, and of what.
func (p *page) here() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "model name"); ok {
			model = strings.TrimSpace(strings.Trim(strings.SplitN(rest, "\n", 2)[0], "\t :"))
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	release, _, _ := strings.Cut(strings.TrimSpace(string(kernel)), "-")
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	return fmt.Sprintf("%s, %d cores, Linux %s, load %s at first, %s then; %s, %s", model, runtime.NumCPU(), release, p.load, load(),
		time.Now().UTC().Format("2006-01-02"), strings.TrimSpace(string(commit)))
}

// load is how many processes wanted to run, over the last minute (proc_loadavg(5)).
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	minute, _, _ := strings.Cut(string(text), " ")
	return minute
}
