//go:build linux

package fuse

import (
	"bufio"
	"io"
	"os/exec"
	"testing"
	"time"
)

// talk is a program that a test speaks with line by line.
type talk struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Scanner
	cmd *exec.Cmd
}

// talking starts a program that is killed when the test ends.
func talking(t testing.TB, cmd *exec.Cmd) *talk {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		kill.Stop()
	})
	return &talk{t: t, in: in, out: bufio.NewScanner(out), cmd: cmd}
}

func (k *talk) say(line string) {
	k.t.Helper()
	if _, err := io.WriteString(k.in, line+"\n"); err != nil {
		k.t.Fatal(err)
	}
}

// hear expects a line; one that does not come ends with the program.
func (k *talk) hear(want string) {
	k.t.Helper()
	got := "(nothing)"
	if k.out.Scan() {
		got = k.out.Text()
	}
	if got != want {
		k.t.Fatalf("it says %q, not %q", got, want)
	}
}

// poller waits for news of value in a way that its first line names, says it, reads, and
// waits again. It says "asleep" when nothing is new.
const poller = `
how = sys.argv[1]
fd = os.open("value", os.O_RDONLY)
def say(*a): print(*a, flush=True)
os.pread(fd, 100, 0)
def waits(wait):
    while True:
        if not wait(0): say("asleep")
        say(*wait(None))
        sys.stdin.readline()
        say(os.pread(fd, 100, 0).decode().strip())
if how == "poll":
    p = select.poll(); p.register(fd, select.POLLPRI | select.POLLERR)
    waits(lambda t: [e for _, e in p.poll(t)])
elif how == "pollin":
    p = select.poll(); p.register(fd, select.POLLIN)
    waits(lambda t: [e for _, e in p.poll(t)])
elif how == "select":
    def wait(t):
        r, w, x = select.select([fd], [], [fd], t)
        return [len(r) + len(x)] if r or x else []
    waits(wait)
elif how == "epoll":
    p = select.epoll(); p.register(fd, select.EPOLLPRI)
    waits(lambda t: [e for _, e in p.poll(t)])
elif how == "edge":
    p = select.epoll(); p.register(fd, select.EPOLLIN | select.EPOLLET)
    waits(lambda t: [e for _, e in p.poll(t)])
`

func TestPoll(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	for _, test := range []struct{ how, events string }{
		{"poll", "2"}, {"pollin", "1"}, {"select", "2"}, {"epoll", "2"}, {"edge", "1"},
	} {
		t.Run(test.how, func(t *testing.T) {
			tr.set("9")
			cmd := m.pythonCommand(t, poller)
			cmd.Args = append(cmd.Args, test.how)
			k := talking(t, cmd)
			for _, value := range []string{"1", "0", "1"} {
				k.hear("asleep")
				tr.set(value)
				k.hear(test.events)
				k.say("go on")
				k.hear(value)
			}
		})
	}
}

// Edge-triggered: what is not read is told once, and each new value once more.
func TestEdgeTriggeredPollTellsEachValueOnce(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	k := talking(t, m.pythonCommand(t, `
fd = os.open("value", os.O_RDONLY)
os.pread(fd, 100, 0)
p = select.epoll(); p.register(fd, select.EPOLLPRI | select.EPOLLET)
def say(*a): print(*a, flush=True)
say("ready", p.poll(0))
while sys.stdin.readline() != "":
    say(len(p.poll()), len(p.poll(0)))
`))
	k.hear("ready []")
	for range 3 {
		tr.set("1")
		k.say("wait")
		k.hear("1 0")
	}
}

func TestOnePollerDoesNotEatTheNewsOfAnother(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	var all []*talk
	for range 3 {
		cmd := m.pythonCommand(t, poller)
		cmd.Args = append(cmd.Args, "poll")
		all = append(all, talking(t, cmd))
	}
	for _, value := range []string{"1", "0", "1"} {
		for _, k := range all {
			k.hear("asleep")
		}
		tr.set(value)
		for _, k := range all { // the first has read before the second looks
			k.hear("2")
			k.say("go on")
			k.hear(value)
		}
	}
}

// Two who poll the same open file, as after fork(2), are both woken.
func TestTwoPollersOfOneOpenFile(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	k := talking(t, m.pythonCommand(t, `
fd = os.open("value", os.O_RDONLY)
os.pread(fd, 100, 0)
r, w = os.pipe()
for i in range(2):
    if os.fork() == 0:
        p = select.poll(); p.register(fd, select.POLLPRI)
        os.write(w, b"r")
        os.write(w, b"%d" % p.poll()[0][1])
        os._exit(0)
os.read(r, 1); os.read(r, 1)
print("ready", flush=True)
os.wait(); os.wait()
print(os.read(r, 2), flush=True)
`))
	k.hear("ready")
	tr.set("1")
	k.hear("b'22'")
}
