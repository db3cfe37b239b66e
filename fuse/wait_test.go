//go:build linux

package fuse

import (
	"os/exec"
	"syscall"
	"testing"
)

// A pin of another board is waited for, and everybody else goes on meanwhile.
func TestReadAndWriteThatWait(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	k := talking(t, exec.Command("cat", m.dir+"/far"))
	<-tr.asked
	if got := m.sh(t, "cat value"); got != "0" {
		t.Errorf("beside it: %q", got)
	}
	tr.far <- "21.5\n"
	k.hear("21.5")

	k = talking(t, exec.Command("sh", "-c", "echo 1 > "+m.dir+"/far && echo done"))
	<-tr.asked
	if got := <-tr.far; got != "1\n" {
		t.Errorf("it writes %q", got)
	}
	k.hear("done")
}

func TestKillEndsAReadThatWaits(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	cmd := exec.Command("cat", m.dir+"/far")
	talking(t, cmd)
	<-tr.asked
	cmd.Process.Kill()
	<-tr.freed // the file is closed once the read is given up
}

func TestSignalInterruptsAReadThatWaits(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	k := talking(t, m.pythonCommand(t, `
import signal
class Enough(Exception): pass
def enough(*a): raise Enough
signal.signal(signal.SIGUSR1, enough)
fd = os.open("far", os.O_RDONLY)
try: os.read(fd, 10)
except Enough: print("interrupted", flush=True)
print(os.read(fd, 10), flush=True)
`))
	<-tr.asked
	k.cmd.Process.Signal(syscall.SIGUSR1)
	k.hear("interrupted")
	<-tr.asked
	tr.far <- "1\n"
	k.hear(`b'1\n'`)
}

// The end of the mount ends what waits.
func TestTheEndOfTheMountEndsAReadThatWaits(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	k := talking(t, m.pythonCommand(t, `
try: print(os.read(os.open("far", os.O_RDONLY), 10), flush=True)
except OSError as e: print(errno.errorcode[e.errno], flush=True)
`))
	<-tr.asked
	m.end()
	if err := m.wait(t); err != nil {
		t.Error(err)
	}
	k.hear("ECONNABORTED")
}
