package plugin

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// period is that of the scheduler's quota: the kernel's default.
const period = 100 * time.Millisecond

// minQuota is the least that the kernel takes (kernel/sched/core.c, min_cfs_quota_period).
const minQuota = time.Millisecond

// setWeight gives guests a quarter of the weight that lightning-rod and all others of
// the machine have: without a quota they get what is left over.
func (g *group) setWeight() {
	if f := g.v1[controllerCPU]; f != "" {
		_ = writeText(filepath.Join(f, "cpu.shares"), "256") // of 1024
	} else if g.in2[controllerCPU] {
		_ = writeText(filepath.Join(g.v2, "cpu.weight"), "25") // of 100
	}
}

// setLimits sets those limits for which there is a controller. free gives back some memory, where
// more is held than the new limit, and says whether it did; nil, where nothing is held yet.
func (g *group) setLimits(l Limits, free func() bool) error {
	return errors.Join(g.setCPU(l.CPU), g.setMemory(l.Memory, free), g.setProcesses(l.Processes))
}

// setCPU lets the group use so many processors; 0: as many as the outer one.
func (g *group) setCPU(processors float64) error {
	quota := int64(max(minQuota, time.Duration(processors*float64(period))) / time.Microsecond)
	if f := g.v1[controllerCPU]; f != "" {
		if processors == 0 {
			quota = -1
		}
		_ = writeText(filepath.Join(f, "cpu.cfs_period_us"), strconv.FormatInt(int64(period/time.Microsecond), 10))
		return writeText(filepath.Join(f, "cpu.cfs_quota_us"), strconv.FormatInt(quota, 10))
	}
	if g.in2[controllerCPU] {
		text := strconv.FormatInt(quota, 10)
		if processors == 0 {
			text = "max"
		}
		return writeText(filepath.Join(g.v2, "cpu.max"), fmt.Sprintf("%s %d", text, period/time.Microsecond))
	}
	return nil
}

// setMemory bounds memory and swap together.
func (g *group) setMemory(bytes int64, free func() bool) error {
	if f := g.v1[controllerMemory]; f != "" {
		text := strconv.FormatInt(bytes, 10)
		if bytes == 0 {
			text = "-1"
		}
		// Memory and swap together may never be less than memory; the file is not
		// there where the kernel does not count swap.
		both := filepath.Join(f, "memory.memsw.limit_in_bytes")
		_ = writeText(both, "-1")
		for {
			err := writeText(filepath.Join(f, "memory.limit_in_bytes"), text)
			if errors.Is(err, syscall.EBUSY) && free != nil && free() {
				continue
			}
			if err != nil {
				return err
			}
			break
		}
		if writeText(both, text) != nil {
			_ = writeText(filepath.Join(f, "memory.swappiness"), "0")
		}
		return nil
	}
	if g.in2[controllerMemory] {
		text, swap := strconv.FormatInt(bytes, 10), "0"
		if bytes == 0 {
			text, swap = "max", "max"
		}
		if free != nil && bytes != 0 {
			// memory.max would kill one after the other while the first is still dying;
			// memory.high takes back what it can, and kills nobody.
			high := filepath.Join(g.v2, "memory.high")
			_ = writeText(high, text)
			for {
				held, err := strconv.ParseInt(readText(filepath.Join(g.v2, "memory.current")), 10, 64)
				if err != nil || held <= bytes || !free() {
					break
				}
			}
			defer func() { _ = writeText(high, "max") }()
		}
		_ = writeText(filepath.Join(g.v2, "memory.swap.max"), swap) // not there without swap
		return writeText(filepath.Join(g.v2, "memory.max"), text)
	}
	return nil
}

// killWhole has the kernel kill all of the group where it kills one of it for want of
// memory: since 4.19, and v2 only.
func (g *group) killWhole() {
	if g.in2[controllerMemory] {
		_ = writeText(filepath.Join(g.v2, "memory.oom.group"), "1")
	}
}

// setProcesses bounds processes and threads.
func (g *group) setProcesses(n int) error {
	text := strconv.Itoa(n)
	if n == 0 {
		text = "max"
	}
	if f := g.v1[controllerPIDs]; f != "" {
		return writeText(filepath.Join(f, "pids.max"), text)
	}
	if g.in2[controllerPIDs] {
		return writeText(filepath.Join(g.v2, "pids.max"), text)
	}
	return nil
}

// cpu is the processor time that was used in the group, and whether it is counted.
func (g *group) cpu() (time.Duration, bool) {
	if f := g.v1[controllerCPUAcct]; f != "" {
		n, err := strconv.ParseInt(readText(filepath.Join(f, "cpuacct.usage")), 10, 64)
		return time.Duration(n), err == nil
	}
	if g.v2 != "" { // also without the controller of cpu
		if n, ok := field(filepath.Join(g.v2, "cpu.stat"), "usage_usec"); ok && (g.inner || g.in2[controllerCPU]) {
			return time.Duration(n) * time.Microsecond, true
		}
	}
	return 0, false
}

// memory is what the group holds now, in bytes, without files that the kernel
// keeps only in case they are read again.
func (g *group) memory() (int64, bool) {
	current, stat, cache := "", "", ""
	if f := g.v1[controllerMemory]; f != "" {
		current, stat, cache = filepath.Join(f, "memory.usage_in_bytes"), filepath.Join(f, "memory.stat"), "total_inactive_file"
	} else if g.in2[controllerMemory] {
		current, stat, cache = filepath.Join(g.v2, "memory.current"), filepath.Join(g.v2, "memory.stat"), "inactive_file"
	} else {
		return 0, false
	}
	n, err := strconv.ParseInt(readText(current), 10, 64)
	if err != nil {
		return 0, false
	}
	kept, _ := field(stat, cache)
	return max(0, n-kept), true
}

// ooms is how often the kernel killed a process of the group for want of memory.
func (g *group) ooms() int64 {
	if f := g.v1[controllerMemory]; f != "" {
		n, _ := field(filepath.Join(f, "memory.oom_control"), "oom_kill") // since 4.13
		return n
	}
	if g.in2[controllerMemory] {
		n, _ := field(filepath.Join(g.v2, "memory.events"), "oom_kill")
		return n
	}
	return 0
}

// field is the number behind a name in a flat keyed file of the kernel's.
func field(path, name string) (int64, bool) {
	for line := range strings.Lines(readText(path)) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == name {
			n, err := strconv.ParseInt(value, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
