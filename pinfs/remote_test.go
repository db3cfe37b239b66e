package pinfs

import (
	"testing"

	"github.com/stack4things/s4t"
)

func far(pins ...Node) *boards {
	return newBoards(Board{Name: "a", Online: true, Pins: pins}, Board{Name: "b", Pins: pins})
}

// A board that never answers is given up; what else is used meanwhile goes on.
func TestBoardThatNeverAnswers(t *testing.T) {
	src := far(output("gpio/c/1", s4t.PinKeyDirection))
	dir, _ := mounted(t, src)
	p := src.pin("a", "gpio/c/1")
	p.do(func() { p.slow, p.hang = true, true })
	a, b := newAgent(t), newAgent(t)
	a.does("ok", "open", "v", dir+"/a/gpio/c/1/value", "O_RDWR")
	for _, line := range [][]string{{"read", "v"}, {"write", "v", "1"}} {
		a.begin(line...)
		p.begins(t)
		b.does("a b", "list", dir)
		b.does("ok", "open", "v", dir+"/b/gpio/c/1/value", "O_RDWR")
		b.does("1", "read", "v")
		b.does("ok", "close", "v")
		if got := a.result(); got != "EHOSTUNREACH" {
			t.Errorf("%s of a board that is away: %q", line[0], got)
		}
	}
}

// A reader that is killed while it waits for a far board is gone at once, and so
// is what it asked for.
func TestReaderKilled(t *testing.T) {
	src := far(input("gpio/c/1"))
	dir, _ := mounted(t, src)
	p := src.pin("a", "gpio/c/1")
	p.do(func() { p.slow, p.hang = true, true })
	a := newAgent(t)
	a.does("ok", "open", "v", dir+"/a/gpio/c/1/value", "O_RDONLY")
	a.begin("read", "v")
	p.begins(t)
	a.kill()
	eventually(t, "its file is closed", func() bool { return src.open() == 0 })
}

func TestRemoteTree(t *testing.T) {
	src := far(labelled(input("gpio/c/1"), "gate"))
	dir, _ := mounted(t, src)
	for command, want := range map[string]string{
		"cat $D/a/status $D/b/status": "online never\noffline never\n",
		"ls $D $D/a":                  dir + ":\na\nb\n\n" + dir + "/a:\nby-name\ngpio\nstatus\n",
		"cat $D/a/by-name/gate/value $D/b/gpio/c/1/value":         "1\n1\n",
		"cat $D/*/by-name/*/value | sort | uniq -c | tr -d ' '":   "21\n",
		"echo 1 2>/dev/null > $D/a/status || echo not a setting":  "not a setting\n",
		"cd $D/a/gpio/c/1 && cat value unit kind direction lease": "1\n\ndigital\nin\n",
	} {
		if got, err := sh(t, dir, command); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", command, got, err, want)
		}
	}
}
