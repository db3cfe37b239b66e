package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSSHOutlivesItsTunnelAgent: a session goes on where the cloud is killed, and where
// the board's network is away and its NAT has forgotten everything.
func TestSSHOutlivesItsTunnelAgent(t *testing.T) {
	t.Parallel()
	c := newCloud(t, 1)
	d := sshd(t, c.Boards[0])
	cmd := c.Lab.User.Command(t.Context(), filepath.Join(bin, "s4t"), "ssh", "board1", "--user", "root", "--identity", d.Key, "--ssh-option", "BatchMode=yes", "--", "cat")
	cmd.Env = append(os.Environ(), c.Env()...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	said := 0
	say := func() string {
		said++
		line := fmt.Sprintf("line %d", said)
		_, err := io.WriteString(in, line+"\n")
		must(t, err)
		return line
	}
	hear := func(want string) {
		t.Helper()
		select {
		case got := <-lines:
			if got != want {
				t.Fatalf("%q came, not %q", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q does not come", want)
		}
	}
	hear(say())

	c.Process.Kill()
	line := say() // into nothing
	must(t, c.Run())
	hear(line)
	hear(say())

	board := c.Lab.Boards()[0]
	must(t, board.Cut())
	line = say()
	must(t, board.Flush()) // the address that the cloud knows it by is gone
	within(t, time.Minute, "offline", func() error { return status(t, c, "board1", "offline") })
	must(t, board.Heal())
	hear(line)
	hear(say())

	must(t, in.Close())
	if line, more := <-lines; more {
		t.Errorf("%q came", line)
	}
	must(t, cmd.Wait())
}
