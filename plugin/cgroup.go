package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Controllers of cgroups, as the kernel calls them. A machine may have some in
// hierarchies of their own (v1) and others in the unified one (v2), so each is
// looked for by itself.
const (
	controllerCPU     = "cpu"
	controllerCPUAcct = "cpuacct" // v1 only: v2's cpu counts too
	controllerMemory  = "memory"
	controllerPIDs    = "pids"
)

var controllers = []string{controllerCPU, controllerCPUAcct, controllerMemory, controllerPIDs}

// hierarchies are the cgroup file systems that are mounted here.
type hierarchies struct {
	v1      map[string]string // controller: where it is mounted
	unified string            // where v2 is mounted; empty: nowhere
	v2      map[string]bool   // controllers of it
	mkdir   func(path string) error
}

// findHierarchies looks for them.
func findHierarchies() *hierarchies {
	mounts, _ := os.ReadFile("/proc/self/mountinfo") // unreadable: there are none
	return parseHierarchies(string(mounts))
}

// parseHierarchies finds them in a mountinfo (proc(5)). Of several mounts of one
// the first is taken.
func parseHierarchies(mountinfo string) *hierarchies {
	h := &hierarchies{v1: map[string]string{}, v2: map[string]bool{}, mkdir: func(path string) error { return os.Mkdir(path, 0o755) }}
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if !ok || len(where) < 5 || len(what) < 3 {
			continue
		}
		point := unescape(where[4])
		switch what[0] {
		case "cgroup2":
			if h.unified == "" {
				h.unified = point
				for _, c := range strings.Fields(readText(filepath.Join(point, "cgroup.controllers"))) {
					h.v2[c] = true
				}
			}
		case "cgroup":
			for _, option := range strings.Split(what[2], ",") {
				if _, known := h.v1[option]; !known {
					h.v1[option] = point
				}
			}
		}
	}
	return h
}

// unescape undoes the octal escapes of a mountinfo: "\040" is a space.
func unescape(s string) string {
	i := strings.IndexByte(s, '\\')
	if i < 0 || i+4 > len(s) {
		return s
	}
	n, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
	if err != nil {
		return s
	}
	return s[:i] + string([]byte{byte(n)}) + unescape(s[i+4:])
}

// group is a cgroup, in each hierarchy that is of use: a folder in every one of them.
type group struct {
	h     *hierarchies
	v1    map[string]string // controller: folder
	v2    string            // folder; empty: none
	in2   map[string]bool   // controllers that v2 has for this group
	why   map[string]string // controller: why it is not there
	inner bool              // it is within the group of all guests
}

// newGroup makes the group of all guests, below the root of each hierarchy: its
// name is found again there by the next lightning-rod, whoever started it.
func (h *hierarchies) newGroup(name string) *group {
	g := &group{h: h, v1: map[string]string{}, in2: map[string]bool{}, why: map[string]string{}}
	if h.unified != "" {
		for _, c := range controllers {
			if h.v2[c] {
				_ = writeText(filepath.Join(h.unified, "cgroup.subtree_control"), "+"+c) // it may be so already
			}
		}
	}
	g.make(func(root string) string { return filepath.Join(root, name) }, h.v1, h.unified, h.v2)
	if g.v2 != "" {
		for c := range g.in2 {
			if err := writeText(filepath.Join(g.v2, "cgroup.subtree_control"), "+"+c); err != nil {
				g.lose(c, err)
			}
		}
	}
	return g
}

// newChild makes a group within g.
func (g *group) newChild(name string) (*group, error) {
	c := &group{h: g.h, v1: map[string]string{}, in2: map[string]bool{}, why: map[string]string{}, inner: true}
	c.make(func(outer string) string { return filepath.Join(outer, name) }, g.v1, g.v2, g.in2)
	for controller, why := range c.why {
		if g.why[controller] == "" { // all guests have it, so this one should
			_ = c.remove()
			return nil, fmt.Errorf("cgroup of %s: %s", controller, why)
		}
	}
	return c, nil
}

// make makes the folders of a group in those of the outer one.
func (g *group) make(at func(outer string) string, v1 map[string]string, v2 string, in2 map[string]bool) {
	why2 := "no cgroup file system has it; cgroup2 should be mounted at /sys/fs/cgroup"
	if v2 != "" {
		if err := g.h.mkdir(at(v2)); err != nil && !errors.Is(err, os.ErrExist) {
			why2 = err.Error()
		} else {
			g.v2 = at(v2)
			why2 = "the kernel has no such controller"
		}
	}
	for _, c := range controllers {
		switch outer := v1[c]; {
		case outer != "":
			folder := at(outer)
			if err := g.h.mkdir(folder); err != nil && !errors.Is(err, os.ErrExist) {
				g.why[c] = err.Error()
				continue
			}
			g.v1[c] = folder
		case g.v2 != "" && (in2[c] || c == controllerCPUAcct && in2[controllerCPU]):
			if c != controllerCPUAcct {
				g.in2[c] = true
			}
		default:
			g.why[c] = why2
		}
	}
	// A v1 hierarchy that counts children only with this (before 5.11).
	if folder := g.v1[controllerMemory]; folder != "" && !g.inner {
		_ = writeText(filepath.Join(folder, "memory.use_hierarchy"), "1")
	}
}

// lose takes a controller away that could not be had after all.
func (g *group) lose(controller string, err error) {
	delete(g.in2, controller)
	delete(g.v1, controller)
	g.why[controller] = err.Error()
}

// version is "cgroup v1" or "cgroup v2" for a controller that is there, else empty.
func (g *group) version(controller string) string {
	switch {
	case g.v1[controller] != "":
		return "cgroup v1"
	case g.in2[controller]:
		return "cgroup v2"
	}
	return ""
}

// enforces says by what cpu, memory and processes are kept; user is what is said of users.
func (g *group) enforces(user string) map[string]string {
	e := map[string]string{
		enforceCPU:       g.version(controllerCPU),
		enforceMemory:    g.version(controllerMemory),
		enforceProcesses: g.version(controllerPIDs),
	}
	if e[enforceCPU] == "" {
		e[enforceCPU] = "no: " + g.why[controllerCPU] + "; niceness only"
	}
	if e[enforceMemory] == "" {
		e[enforceMemory] = "rlimit: of each process by itself (cgroup: " + g.why[controllerMemory] + ")"
	}
	if e[enforceProcesses] == "" {
		e[enforceProcesses] = "no: " + g.why[controllerPIDs]
		if !strings.HasPrefix(user, "no: ") {
			e[enforceProcesses] = "rlimit: of each user (cgroup: " + g.why[controllerPIDs] + ")"
		}
	}
	return e
}

// folders are all of a group, without repetition.
func (g *group) folders() []string {
	var list []string
	seen := map[string]bool{}
	for _, c := range controllers {
		if f := g.v1[c]; f != "" && !seen[f] {
			list = append(list, f)
			seen[f] = true
		}
	}
	if g.v2 != "" {
		list = append(list, g.v2)
	}
	return list
}

// add moves a process with all its threads into the group.
func (g *group) add(pid int) error {
	for _, f := range g.folders() {
		if err := writeText(filepath.Join(f, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("join %s: %w", f, err)
		}
	}
	return nil
}

// processes are those in the group, and not in one within it.
func (g *group) processes() []int {
	var list []int
	seen := map[int]bool{}
	for _, f := range g.folders() {
		for _, p := range processesOf(f) {
			if !seen[p] {
				list = append(list, p)
				seen[p] = true
			}
		}
	}
	return list
}

func processesOf(folder string) []int {
	var list []int
	for _, field := range strings.Fields(readText(filepath.Join(folder, "cgroup.procs"))) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 { // 0: of another PID namespace
			list = append(list, pid)
		}
	}
	return list
}

// emptied is how long it may take until what was killed is gone. Only a process that
// hangs in the kernel takes longer.
const emptied = time.Minute

// kill kills all that is in the group and waits until it is empty.
func (g *group) kill() error {
	// cgroup.kill leaves a mark: what is cloned straight into the group afterwards is
	// killed at birth (findings/cgroup-kill-lasts.sh). So no group is used twice.
	if g.v2 == "" || writeText(filepath.Join(g.v2, "cgroup.kill"), "1") != nil {
		// None may be born while one after the other is killed.
		if f := g.v1[controllerPIDs]; f != "" {
			_ = writeText(filepath.Join(f, "pids.max"), "0")
		} else if g.in2[controllerPIDs] {
			_ = writeText(filepath.Join(g.v2, "pids.max"), "0")
		}
	}
	return killUntilGone(g.processes)
}

// killUntilGone kills what is listed until nothing is. v1 tells nobody when a group is
// empty, so it looks, ever more seldom.
func killUntilGone(processes func() []int) error {
	deadline := time.Now().Add(emptied)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		list := processes()
		if len(list) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v hang in the kernel and cannot be killed", list)
		}
		for _, pid := range list {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(wait)
	}
}

// remove removes the folders of an empty group.
func (g *group) remove() error {
	var errs []error
	for _, f := range g.folders() {
		errs = append(errs, removeFolder(f))
	}
	return errors.Join(errs...)
}

// removeFolder removes a folder of a hierarchy. The kernel may find one busy for a
// moment after its last process ended.
func removeFolder(folder string) error {
	deadline := time.Now().Add(emptied)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := syscall.Rmdir(folder)
		if err == nil || errors.Is(err, syscall.ENOENT) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("remove %s: %w", folder, err)
		}
		time.Sleep(wait)
	}
}

// clear kills and removes what an earlier lightning-rod has left of the group of that name.
func (h *hierarchies) clear(name string) error {
	var errs []error
	for _, root := range h.roots() {
		outer := filepath.Join(root, name)
		entries, err := os.ReadDir(outer)
		if err != nil {
			continue // none is there
		}
		for _, e := range entries {
			if e.IsDir() {
				errs = append(errs, clearFolder(filepath.Join(outer, e.Name()), root == h.unified))
			}
		}
		errs = append(errs, clearFolder(outer, root == h.unified))
	}
	return errors.Join(errs...)
}

// clearFolder kills what is in one folder and removes it.
func clearFolder(folder string, unified bool) error {
	if err := leftIn(folder, unified).kill(); err != nil {
		return err
	}
	return removeFolder(folder)
}

// leftIn is what one folder has of a group that somebody has left.
func leftIn(folder string, unified bool) *group {
	if unified {
		return &group{v2: folder}
	}
	return &group{v1: map[string]string{controllerPIDs: folder}}
}

// roots are where hierarchies are mounted, without repetition. First comes the one that can
// keep processes from being born.
func (h *hierarchies) roots() []string {
	var list []string
	for _, c := range slices.Backward(controllers) {
		if root := h.v1[c]; root != "" && !slices.Contains(list, root) {
			list = append(list, root)
		}
	}
	if h.unified != "" {
		list = append(list, h.unified)
	}
	return list
}

// readText reads a file of the kernel's, empty if there is none.
func readText(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

// writeText writes one that must be there already.
func writeText(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
