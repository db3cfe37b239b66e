package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A twin of the kernel's cgroup file systems: folders of files that only take what is written.
type twin struct {
	root  string
	files map[string][]string // hierarchy: the files of each folder
}

var (
	filesOfV1 = map[string][]string{
		"cpu,cpuacct": {"cgroup.procs", "cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpuacct.usage"},
		"memory":      {"cgroup.procs", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", "memory.oom_control", "memory.use_hierarchy"},
		"pids":        {"cgroup.procs", "pids.max"},
	}
	filesOfV2 = map[string][]string{
		"unified": {"cgroup.procs", "cgroup.controllers", "cgroup.subtree_control", "cgroup.kill", "cpu.max", "cpu.weight", "cpu.stat",
			"memory.max", "memory.swap.max", "memory.current", "memory.stat", "memory.events", "memory.oom.group", "pids.max"},
	}
	filesOfHybrid = map[string][]string{ // memory has not moved yet
		"memory":  filesOfV1["memory"],
		"unified": {"cgroup.procs", "cgroup.controllers", "cgroup.subtree_control", "cgroup.kill", "cpu.max", "cpu.weight", "cpu.stat", "pids.max"},
	}
)

// newTwin makes a machine that has those hierarchies, and finds them as one of the
// kernel's are found.
func newTwin(t *testing.T, files map[string][]string) *hierarchies {
	t.Helper()
	w := twin{root: t.TempDir(), files: files}
	var mountinfo strings.Builder
	for name := range files {
		if err := w.mkdir(filepath.Join(w.root, name)); err != nil {
			t.Fatal(err)
		}
		kind, options := "cgroup", "rw,"+name
		if name == "unified" {
			kind, options = "cgroup2", "rw,nsdelegate"
			var has []string
			for _, c := range []string{"cpu", "memory", "pids"} {
				if slices.ContainsFunc(files[name], func(f string) bool { return strings.HasPrefix(f, c+".") }) {
					has = append(has, c)
				}
			}
			if err := writeText(filepath.Join(w.root, name, "cgroup.controllers"), strings.Join(append(has, "io"), " ")); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintf(&mountinfo, "30 24 0:26 / %s rw,nosuid shared:9 - %s cgroup %s\n", filepath.Join(w.root, name), kind, options)
	}
	h := parseHierarchies(mountinfo.String())
	h.mkdir = w.mkdir
	return h
}

func (w twin) mkdir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	rel, err := filepath.Rel(w.root, path)
	if err != nil {
		return err
	}
	for _, f := range w.files[strings.Split(rel, "/")[0]] {
		if err := os.WriteFile(filepath.Join(path, f), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// written are the files of a group that are not empty.
func written(g *group) string {
	var lines []string
	for _, folder := range g.folders() {
		entries, _ := os.ReadDir(folder)
		for _, e := range entries {
			if text := readText(filepath.Join(folder, e.Name())); text != "" {
				lines = append(lines, e.Name()+" "+text)
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestLimitsOfGroups(t *testing.T) {
	limits := Limits{CPU: 0.25, Memory: 64 << 20, Processes: 64}
	for _, tt := range []struct {
		name         string
		files        map[string][]string
		all, one     string // what is written into the group of all, and of one
		none         string // into that of one, when there is no limit any more
		cpu, memory  string
		used, counts map[string]string
	}{
		{"v1", filesOfV1,
			"cpu.cfs_period_us 100000\ncpu.cfs_quota_us 25000\ncpu.shares 256\nmemory.limit_in_bytes 67108864\nmemory.memsw.limit_in_bytes 67108864\nmemory.use_hierarchy 1\npids.max 64",
			"cgroup.procs 77\ncgroup.procs 77\ncgroup.procs 77\ncpu.cfs_period_us 100000\ncpu.cfs_quota_us 25000\nmemory.limit_in_bytes 67108864\nmemory.memsw.limit_in_bytes 67108864\npids.max 64",
			"cgroup.procs 77\ncgroup.procs 77\ncgroup.procs 77\ncpu.cfs_period_us 100000\ncpu.cfs_quota_us -1\nmemory.limit_in_bytes -1\nmemory.memsw.limit_in_bytes -1\npids.max max",
			"cgroup v1", "cgroup v1",
			map[string]string{"cpuacct.usage": "2000000", "memory.usage_in_bytes": "5000", "memory.stat": "cache 9\ntotal_inactive_file 1000", "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1"}, nil},
		{"v2", filesOfV2,
			"cgroup.subtree_control *\ncpu.max 25000 100000\ncpu.weight 25\nmemory.max 67108864\nmemory.swap.max 0\npids.max 64",
			"cgroup.procs 77\ncpu.max 25000 100000\nmemory.max 67108864\nmemory.oom.group 1\nmemory.swap.max 0\npids.max 64",
			"cgroup.procs 77\ncpu.max max 100000\nmemory.max max\nmemory.oom.group 1\nmemory.swap.max max\npids.max max",
			"cgroup v2", "cgroup v2",
			map[string]string{"cpu.stat": "usage_usec 2000\nuser_usec 1", "memory.current": "5000", "memory.stat": "anon 9\ninactive_file 1000", "memory.events": "oom 3\noom_kill 1"}, nil},
		{"hybrid", filesOfHybrid,
			"cgroup.subtree_control *\ncpu.max 25000 100000\ncpu.weight 25\nmemory.limit_in_bytes 67108864\nmemory.memsw.limit_in_bytes 67108864\nmemory.use_hierarchy 1\npids.max 64",
			"cgroup.procs 77\ncgroup.procs 77\ncpu.max 25000 100000\nmemory.limit_in_bytes 67108864\nmemory.memsw.limit_in_bytes 67108864\npids.max 64",
			"cgroup.procs 77\ncgroup.procs 77\ncpu.max max 100000\nmemory.limit_in_bytes -1\nmemory.memsw.limit_in_bytes -1\npids.max max",
			"cgroup v2", "cgroup v1",
			map[string]string{"cpu.stat": "usage_usec 2000\nuser_usec 1", "memory.usage_in_bytes": "5000", "memory.stat": "total_inactive_file 1000", "memory.oom_control": "oom_kill 1"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newTwin(t, tt.files)
			all := h.newGroup("lightning-rod-x")
			all.setWeight()
			if err := all.setLimits(limits, nil); err != nil {
				t.Fatal(err)
			}
			if got := noControllers(written(all)); got != tt.all {
				t.Errorf("all:\n%s\nwant\n%s", got, tt.all)
			}
			e := all.enforces("own user")
			if e[enforceCPU] != tt.cpu || e[enforceMemory] != tt.memory || !strings.HasPrefix(e[enforceProcesses], "cgroup v") {
				t.Errorf("enforces %v", e)
			}
			one, err := all.newChild("guest.1")
			if err != nil {
				t.Fatal(err)
			}
			one.killWhole()
			if err := errors.Join(one.setLimits(limits, nil), one.add(77)); err != nil {
				t.Fatal(err)
			}
			if got := written(one); got != tt.one {
				t.Errorf("one:\n%s\nwant\n%s", got, tt.one)
			}
			if err := one.setLimits(Limits{}, nil); err != nil {
				t.Fatal(err)
			}
			if got := written(one); got != tt.none {
				t.Errorf("no limits:\n%s\nwant\n%s", got, tt.none)
			}
			if list := one.processes(); !slices.Equal(list, []int{77}) {
				t.Errorf("processes %v", list)
			}
			for file, text := range tt.used {
				for _, folder := range one.folders() {
					_ = writeText(filepath.Join(folder, file), text) // it is in one of them
				}
			}
			if cpu, ok := one.cpu(); !ok || cpu != 2*time.Millisecond {
				t.Errorf("it used %v, %v", cpu, ok)
			}
			if memory, ok := one.memory(); !ok || memory != 4000 {
				t.Errorf("it holds %d, %v", memory, ok)
			}
			if n := one.ooms(); n != 1 {
				t.Errorf("killed %d times", n)
			}
		})
	}
}

// noControllers replaces the list of controllers, which comes in any order.
func noControllers(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "cgroup.subtree_control +") {
			line = "cgroup.subtree_control *"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestLessThanTheKernelTakes(t *testing.T) {
	g := newTwin(t, filesOfV2).newGroup("x")
	if err := g.setCPU(0.001); err != nil {
		t.Fatal(err)
	}
	if got := readText(filepath.Join(g.v2, "cpu.max")); got != "1000 100000" {
		t.Error(got)
	}
}

func TestWhatIsNotThereIsSaid(t *testing.T) {
	refused := newTwin(t, filesOfV1)
	refused.mkdir = func(path string) error {
		return &os.PathError{Op: "mkdir", Path: "/sys/fs/cgroup/x", Err: syscall.EROFS}
	}
	for _, tt := range []struct {
		name, user             string
		h                      *hierarchies
		cpu, memory, processes string
	}{
		{"nothing is mounted", "own user", parseHierarchies(""),
			"no: no cgroup file system has it; cgroup2 should be mounted at /sys/fs/cgroup; niceness only",
			"rlimit: of each process by itself (cgroup: no cgroup file system has it; cgroup2 should be mounted at /sys/fs/cgroup)",
			"rlimit: of each user (cgroup: no cgroup file system has it; cgroup2 should be mounted at /sys/fs/cgroup)"},
		{"read only", "no: lightning-rod is not root", refused,
			"no: mkdir /sys/fs/cgroup/x: read-only file system; niceness only",
			"rlimit: of each process by itself (cgroup: mkdir /sys/fs/cgroup/x: read-only file system)",
			"no: mkdir /sys/fs/cgroup/x: read-only file system"},
		{"a kernel without the controller of memory", "own user", newTwin(t, map[string][]string{"unified": filesOfHybrid["unified"]}),
			"cgroup v2", "rlimit: of each process by itself (cgroup: the kernel has no such controller)", "cgroup v2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := tt.h.newGroup("x")
			e := g.enforces(tt.user)
			if e[enforceCPU] != tt.cpu || e[enforceMemory] != tt.memory || e[enforceProcesses] != tt.processes {
				t.Errorf("%q", e)
			}
			if err := g.setLimits(Limits{CPU: 1, Memory: 1, Processes: 1}, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseHierarchies(t *testing.T) {
	h := parseHierarchies(`24 30 0:22 / /proc rw,nosuid - proc proc rw
31 24 0:27 / /sys/fs/cgroup/cpu\040and\134more rw - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /other rw shared:3 master:4 - cgroup cgroup rw,cpu
33 24 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
cut - cgroup
34 24 0:30 / /sys/fs/cgroup/bad\0 rw - cgroup2 none rw`)
	if h.v1[controllerCPU] != `/sys/fs/cgroup/cpu and\more` || h.v1[controllerCPUAcct] != h.v1[controllerCPU] || h.v1[controllerMemory] != "" ||
		h.unified != `/sys/fs/cgroup/bad\0` || len(h.v2) != 0 {
		t.Errorf("%+v", h)
	}
}
