package lightningrod

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// health reads how the board is, from files of the kernel (proc(5), sysfs(5)). It
// belongs to one goroutine, but for uptimes.
type health struct {
	proc, sys, etc string // folders
	state          string // whose file system is looked at
	version        string
	started        time.Time
	statfs         func(path string) (used, total int64)
	now            func() time.Time

	told     s4t.Health    // what the cloud has
	toldAt   time.Time     // zero: it has nothing
	hold     time.Duration // for which the cloud needs to hear nothing that is as it was, in this session
	counted  time.Time     // when the counters below were read; zero: never
	received int64
	sent     int64
}

// newHealth reads below root, "/" on a board.
func newHealth(root, state, version string) *health {
	return &health{
		proc: filepath.Join(root, "proc"), sys: filepath.Join(root, "sys"), etc: filepath.Join(root, "etc"),
		state: state, version: version, started: time.Now(), now: time.Now, statfs: diskUse,
	}
}

// diskUse is what is used of the file system that a path is on, and all of it, in
// bytes; 0 where it cannot be told: as df(1) says.
func diskUse(path string) (used, total int64) {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return 0, 0
	}
	size := int64(s.Bsize)
	return (int64(s.Blocks) - int64(s.Bfree)) * size, int64(s.Blocks) * size
}

// uptimes are how long the board and its lightning-rod run; 0: it cannot be told.
func (h *health) uptimes() (board, agent time.Duration) {
	text, _ := os.ReadFile(filepath.Join(h.proc, "uptime"))
	first, _, _ := bytes.Cut(text, []byte(" "))
	seconds, _ := strconv.ParseFloat(string(first), 64)
	return time.Duration(seconds * float64(time.Second)), max(h.now().Sub(h.started), 1)
}

// sample is how the board is now.
func (h *health) sample() s4t.Health {
	s := s4t.Health{Version: h.version}
	board, agent := h.uptimes()
	s.Uptime, s.AgentUptime = int64(board/time.Second), int64(agent/time.Second)
	load, _ := os.ReadFile(filepath.Join(h.proc, "loadavg"))
	first, _, _ := bytes.Cut(load, []byte(" "))
	s.Load1, _ = strconv.ParseFloat(string(first), 64)
	s.MemoryUsed, s.MemoryTotal = h.memory()
	s.DiskUsed, s.DiskTotal = h.statfs(h.state)
	s.Temperature = h.temperature()
	h.network(&s)
	release, _ := os.ReadFile(filepath.Join(h.proc, "sys/kernel/osrelease"))
	s.Kernel = strings.TrimSpace(string(release))
	s.System = h.system()
	return s.Clamp()
}

// memory is what is used, and all, in bytes. Kernels before 3.14 do not say what is
// available: there it is what is free, and caches.
func (h *health) memory() (used, total int64) {
	var free, caches, available int64
	known := false
	h.lines(filepath.Join(h.proc, "meminfo"), func(line string) {
		key, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if len(f) == 0 {
			return
		}
		n, _ := strconv.ParseInt(f[0], 10, 52) // kB of 1024
		switch n *= 1024; key {
		case "MemTotal":
			total = n
		case "MemFree":
			free = n
		case "Buffers", "Cached":
			caches += n
		case "MemAvailable":
			available, known = n, true
		}
	})
	if !known {
		available = free + caches
	}
	return total - available, total
}

// network counts the bytes of all interfaces but lo, and their rates since the
// sample before. Counters that are smaller than before (an interface that went) give
// no rate.
func (h *health) network(s *s4t.Health) {
	h.lines(filepath.Join(h.proc, "net/dev"), func(line string) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || strings.TrimSpace(name) == "lo" || len(f) < 9 {
			return
		}
		rx, _ := strconv.ParseInt(f[0], 10, 64)
		tx, _ := strconv.ParseInt(f[8], 10, 64)
		s.ReceivedBytes += rx
		s.SentBytes += tx
	})
	now := h.now()
	if took := now.Sub(h.counted).Seconds(); !h.counted.IsZero() && took > 0 {
		s.ReceivedRate = float64(max(s.ReceivedBytes-h.received, 0)) / took
		s.SentRate = float64(max(s.SentBytes-h.sent, 0)) / took
	}
	h.counted, h.received, h.sent = now, s.ReceivedBytes, s.SentBytes
}

// temperature is that of the hottest thermal zone, in degC; nil where there is none.
func (h *health) temperature() (hottest *float64) {
	zones, _ := filepath.Glob(filepath.Join(h.sys, "class/thermal/thermal_zone*/temp"))
	for _, zone := range zones {
		text, err := os.ReadFile(zone)
		if err != nil {
			continue // a sensor that is asleep
		}
		if milli, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			if t := float64(milli) / 1000; hottest == nil || t > *hottest {
				hottest = &t
			}
		}
	}
	return hottest
}

// system is the name of the distribution.
func (h *health) system() (name string) {
	h.lines(filepath.Join(h.etc, "os-release"), func(line string) {
		if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			name = strings.Trim(v, `"'`)
		}
	})
	return name
}

// lines calls fn with each line of a file; none where it cannot be read. Files of
// the kernel are small; of others 64 KiB are read.
func (h *health) lines(path string, fn func(line string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for n := 0; s.Scan() && n < 64<<10; n += len(s.Bytes()) {
		fn(s.Text())
	}
}

// connecting is what a session begins with.
func (e *Engine) connecting(info s4t.BoardInfo) wire.BoardConnected {
	c := wire.BoardConnected{Instance: e.instance, Info: info}
	c.Uptime, _ = e.health.uptimes()
	return c
}
