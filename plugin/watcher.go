package plugin

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Where lightning-rod is killed, the kernel kills the first process of each guest with it
// (PR_SET_PDEATHSIG), and nobody what that has started. So a small process of lightning-rod's own,
// the watcher, waits for the end of lightning-rod and kills all that is in the cgroups. It is there from the first
// guest on; it costs some 1 MB besides what it shares with lightning-rod.

// startWatcher starts the watcher. Without one, what a guest has started lives until the next
// lightning-rod starts.
func (s *Sandbox) startWatcher() {
	if len(s.group.folders()) == 0 {
		return // it could not find them
	}
	cmd, conn, _, err := s.forkStub(stubSpec{Watch: s.cfg.Name}, nil, nil, nil)
	if err != nil {
		s.cfg.Log.Warn("where lightning-rod is killed, what plugins have started will live until it starts again", "err", err)
		if cmd != nil && cmd.Process != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		return
	}
	s.endWatcher = func() {
		_ = cmd.Process.Kill() // before conn is closed: there is nothing to do for it
		_ = cmd.Wait()
		conn.Close()
	}
}

// watch is the watcher: it waits until conn, to lightning-rod, is closed, and kills all that is in
// the groups then.
func watch(name string, conn *os.File) error {
	// A supervisor tells all that lightning-rod has left behind to end; it is about to.
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	h := findHierarchies()
	// They are open, so that they are these for ever: a lightning-rod that starts meanwhile removes
	// them, and makes others of the same names.
	folders := map[string]*os.File{}
	for _, root := range h.roots() {
		f, err := os.Open(filepath.Join(root, name))
		if err != nil {
			continue // it has none there
		}
		defer f.Close()
		folders[root] = f
	}
	if err := json.NewEncoder(conn).Encode(stubReport{}); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, conn) // nothing comes
	for _, root := range h.roots() {
		if f := folders[root]; f != nil {
			killWithin(f, root == h.unified)
		}
	}
	return nil
}

// killWithin kills all that is in the groups within one that is open.
func killWithin(outer *os.File, unified bool) {
	names, _ := outer.Readdirnames(-1) // it has been removed: none
	for _, name := range names {
		f, err := os.Open(filepath.Join(pathOf(outer), name))
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err == nil && info.IsDir() {
			_ = leftIn(pathOf(f), unified).kill() // what hangs in the kernel is told by the next start
		}
		f.Close()
	}
}

// pathOf is a path of an open folder, whatever has become of its name.
func pathOf(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
