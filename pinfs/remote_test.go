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

// Who polls is told that the board went away, and that it is back: once each, however
// often it polls.
func TestPollOfABoardThatGoesAway(t *testing.T) {
	src := far(input("gpio/c/1"))
	dir, s := mounted(t, src)
	p := src.pin("a", "gpio/c/1")
	online := func(is bool) {
		tree := src.Tree()
		src.show(Board{Name: "a", Online: is, Pins: tree.Boards[0].Pins}, tree.Boards[1])
	}
	a := newAgent(t)
	a.does("ok", "open", "v", dir+"/a/gpio/c/1/value", "O_RDONLY")
	a.does("1", "read", "v")
	for range 2 {
		a.begin("pri", "v", "30000")
		polled(t, s, 1)
		p.do(func() { p.err = s4t.Errorf(s4t.Offline, "read", "", "it is offline") })
		online(false)
		if got := a.result(); got != "PRI+ERR" {
			t.Errorf("the board went away: %q", got)
		}
		a.does("IN+PRI+ERR", "poll", "v", "0") // until it is read
		a.does("EHOSTUNREACH", "read", "v")
		a.does("nothing", "poll", "v", "0")
		a.does("EHOSTUNREACH", "read", "v")
		a.does("nothing", "poll", "v", "0")

		a.begin("pri", "v", "30000")
		polled(t, s, 1)
		p.do(func() { p.err = nil })
		online(true)
		if got := a.result(); got != "PRI" {
			t.Errorf("the board is back: %q", got)
		}
		a.does("1", "read", "v")
		a.does("nothing", "poll", "v", "0")
	}

	// It does not answer, and nobody says that it is away: what it told before is not
	// told again, what it tells then is.
	p.edge(2)
	p.do(func() { p.err = s4t.Errorf(s4t.Timeout, "read", "", "it does not answer") })
	a.does("PRI", "pri", "v", "0")
	a.does("EHOSTUNREACH", "read", "v")
	a.does("nothing", "poll", "v", "0")
	p.do(func() { p.err = nil })
	p.edge(3)
	a.does("PRI", "pri", "v", "30000")
	a.does("3", "read", "v")

	// A file that was opened while the board is away is read once, and waits then.
	a.does("ok", "open", "w", dir+"/b/gpio/c/1/value", "O_RDONLY")
	q := src.pin("b", "gpio/c/1")
	q.do(func() { q.err = s4t.Errorf(s4t.Offline, "read", "", "it is offline") })
	a.does("IN+PRI", "poll", "w", "0")
	a.does("EHOSTUNREACH", "read", "w")
	a.does("nothing", "poll", "w", "0")
}
