package pinfs

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// inotify sees what is done through the mount. It does not see samples, nor pins
// that come and go: poll(2) and a new listing are the way.
func TestInotify(t *testing.T) {
	inotifywait, err := exec.LookPath("inotifywait")
	if err != nil {
		skip(t, "inotifywait is not installed (inotify-tools)")
	}
	src := local(input("adc/usb/0"), output("gpio/c/1"))
	dir, _ := mounted(t, src)
	if out, err := sh(t, dir, "cat $D/adc/usb/0/value"); err != nil {
		t.Fatal(out, err)
	}
	cmd := exec.Command(inotifywait, "-m", "-r", "--format", "%e %w%f", dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	lines, ready := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(lines)
		for r := bufio.NewScanner(stdout); r.Scan(); {
			lines <- strings.ReplaceAll(r.Text(), dir, "")
		}
	}()
	go func() {
		for r := bufio.NewScanner(stderr); r.Scan(); {
			if strings.Contains(r.Text(), "established") {
				close(ready)
			}
		}
	}()
	wait(t, ready, "inotifywait watches")
	until := func(want string) (seen []string) {
		t.Helper()
		for end := time.After(limit); ; {
			select {
			case line, ok := <-lines:
				if !ok {
					t.Fatalf("inotifywait ended before %q: %q", want, seen)
				}
				if seen = append(seen, line); line == want {
					return seen
				}
			case <-end:
				t.Fatalf("no %q in %q", want, seen)
			}
		}
	}

	src.pin("", "gpio/c/1").edge(5)
	if out, err := sh(t, dir, "echo 1 > $D/gpio/c/1/value"); err != nil {
		t.Fatal(out, err)
	}
	if seen := until("CLOSE_WRITE,CLOSE /gpio/c/1/value"); strings.Contains(strings.Join(seen[:1], ""), "MODIFY") {
		t.Errorf("a sample was seen: %q", seen)
	}

	src.show(Board{Pins: []Node{output("gpio/c/1"), output("gpio/c/2")}})
	eventually(t, "the pins are there and gone", func() bool {
		out, err := sh(t, dir, "cat $D/gpio/c/2/value && ! ls $D/adc 2>/dev/null")
		return out == "1\n" && err == nil
	})
	if out, err := sh(t, dir, "cat $D/gpio/c/1/unit"); err != nil {
		t.Fatal(out, err)
	}
	seen := strings.Join(until("CLOSE_NOWRITE,CLOSE /gpio/c/1/unit"), " ")
	if strings.Contains(seen, "CREATE") || strings.Contains(seen, " DELETE ") {
		t.Errorf("that pins come and go was seen: %q", seen)
	}
}

func wait(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatal("not seen: " + what)
	}
}
